package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	capstanv1 "capstan/proto/capstan/v1"

	"google.golang.org/protobuf/proto"
)

// readFrames returns the frames of a capture file, each with memory of its own.
func readFrames(t *testing.T, file string) (frames []capture.Frame) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := capfile.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var f capture.Frame
	for r.Next(&f) == nil {
		own := f
		own.Data = bytes.Clone(f.Data)
		frames = append(frames, own)
	}
	return frames
}

// told returns what an engine tells of the streams of HTTP/2 in frames, by
// connection and stream.
func told(frames []capture.Frame) map[string]*capstanv1.Exchange {
	streams := make(map[string]*capstanv1.Exchange)
	e := New(Config{Exchange: exchange.Config{Keep: exchange.NewKeep(100, nil, nil), Emit: func(x *capstanv1.Exchange) {
		if x.StreamId != 0 {
			streams[fmt.Sprintf("%d %d", x.Client.Port+x.Server.Port, x.StreamId)] = proto.CloneOf(x)
		}
	}}})
	for i := range frames {
		e.Frame(&frames[i])
	}
	e.Finish()
	return streams
}

// facts are what a record says, each with how often.
func facts(x *capstanv1.Exchange) map[string]int {
	f := make(map[string]int)
	add := func(what, value string) {
		if value != "" {
			f[what+" "+value]++
		}
	}
	fields := func(what string, hs []*capstanv1.Header) {
		for _, h := range hs {
			if !h.NameUnknown && !h.ValueUnknown {
				add(what, h.Name+"="+h.Value)
			}
		}
	}
	q, s := x.GetRequest(), x.GetResponse()
	add("method", q.GetMethod())
	add("path", q.GetTarget())
	add("scheme", q.GetScheme())
	add("authority", q.GetAuthority())
	if s.GetStatus() != 0 {
		add("status", fmt.Sprint(s.GetStatus()))
	}
	fields("request", q.GetHeaders())
	fields("request trailer", q.GetTrailers())
	fields("response", s.GetHeaders())
	fields("response trailer", s.GetTrailers())
	return f
}

// cutTo returns the frames as a snap length leaves them.
func cutTo(frames []capture.Frame, length int) []capture.Frame {
	cut := slices.Clone(frames)
	for i := range cut {
		cut[i].Data = cut[i].Data[:min(len(cut[i].Data), length)]
	}
	return cut
}

// TestLateAndLossyCaptures cuts the head off each capture of HTTP/2, drops frames at
// random, and cuts all of them: what is told of a stream is what is told of it with all
// frames, or less.
func TestLateAndLossyCaptures(t *testing.T) {
	dir := capturesDir(t)
	known, all := 0, 0
	for _, row := range captureIndex(t, dir) {
		if row.category != "http2" && row.category != "grpc" {
			continue
		}
		frames := readFrames(t, filepath.Join(dir, row.file))
		truth := told(frames)
		check := func(how string, some []capture.Frame) {
			for key, x := range told(some) {
				whole := truth[key]
				if whole == nil && row.file == "suricata-verify/http2-errorcode.pcap" {
					continue // seen in full this is a tunnel of CONNECT, which is not looked into
				}
				if whole == nil {
					t.Errorf("%s %s: stream %s is told, which there is not: %v", row.file, how, key, x)
					continue
				}
				if slices.Contains(whole.Flaws, capstanv1.Flaw_FLAW_RESET) {
					continue // what came after the reset is told only to who missed that
				}
				left := facts(whole)
				for _, n := range left {
					all += n
				}
				for fact, n := range facts(x) {
					known += n
					if left[fact] < n {
						t.Errorf("%s %s, stream %s: %q is wrong: %v", row.file, how, key, fact, x)
					}
				}
			}
		}
		for skip := 1; skip < len(frames); skip++ {
			check(fmt.Sprintf("without the first %d frames", skip), frames[skip:])
		}
		r := rand.New(rand.NewPCG(1, uint64(len(frames))))
		for range 40 {
			var some []capture.Frame
			for _, f := range frames {
				if r.IntN(10) > 0 {
					some = append(some, f)
				}
			}
			check("with losses", some)
		}
		for _, length := range []int{96, 200, 500, 1000} {
			check(fmt.Sprintf("cut to %d bytes", length), cutTo(frames, length))
		}
	}
	t.Logf("%.1f %% of %d facts of the streams told are known; none is wrong", 100*float64(known)/float64(all), all)
}
