//go:build linux

package sink_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"capstan/bench/internal/sink"
	"capstan/bench/internal/traffic"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// testFrames returns n test frames of the given size, sent an hour ago but for
// those that a test stamps anew.
func testFrames(t *testing.T, n, size int) [][]byte {
	t.Helper()
	g, err := traffic.New(traffic.Plan{Size: traffic.Fixed(size), Count: uint64(n)})
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	var f traffic.Frame
	for g.Next(&f) {
		f.Stamp(time.Now().Add(-time.Hour).UnixNano())
		frames = append(frames, slices.Clone(f.Data))
	}
	return frames
}

// packet is a frame as a server numbers it.
type packet struct {
	number uint32
	frame  []byte
}

// fault is what a server does wrong, and what a sink has to say about it.
type fault struct {
	name   string
	server func(frames [][]byte) []packet
	want   sink.Result // of the counts
}

const faultFrames = 1000

// numbered numbers frames as an honest server does.
func numbered(frames [][]byte) []packet {
	packets := make([]packet, len(frames))
	for i, f := range frames {
		packets[i] = packet{uint32(i + 1), f}
	}
	return packets
}

// without leaves every hundredth out.
func without[T any](list []T) []T {
	var rest []T
	for i, x := range list {
		if i%100 != 99 {
			rest = append(rest, x)
		}
	}
	return rest
}

func damaged(frames [][]byte, at, offset int) [][]byte {
	frames[at] = slices.Clone(frames[at])
	frames[at][offset] ^= 0x10
	return frames
}

// faults: frames are 100 bytes long, the mark starts at 42.
func faults() []fault {
	return []fault{
		{"none", numbered, sink.Result{Frames: 1000, Unique: 1000}},
		{"drops every hundredth and says so", func(f [][]byte) []packet { return without(numbered(f)) },
			// A hole at the end is none yet: nothing follows it.
			sink.Result{Frames: 990, Unique: 990, Holes: 9}},
		{"drops every hundredth in secret", func(f [][]byte) []packet { return numbered(without(f)) },
			sink.Result{Frames: 990, Unique: 990}},
		{"damages a byte of the pattern", func(f [][]byte) []packet { return numbered(damaged(f, 500, 99)) },
			sink.Result{Frames: 1000, Unique: 999, Corrupt: 1}},
		{"damages a number", func(f [][]byte) []packet { return numbered(damaged(f, 500, 51)) },
			sink.Result{Frames: 1000, Unique: 999, Corrupt: 1}},
		{"damages a header", func(f [][]byte) []packet { return numbered(damaged(f, 500, 34)) },
			sink.Result{Frames: 1000, Unique: 999, Corrupt: 1}},
		{"cuts a frame and hides it", func(f [][]byte) []packet { f[500] = f[500][:99]; return numbered(f) },
			sink.Result{Frames: 1000, Unique: 999, Corrupt: 1}},
		{"swaps two", func(f [][]byte) []packet { f[500], f[501] = f[501], f[500]; return numbered(f) },
			sink.Result{Frames: 1000, Unique: 1000, Late: 1}},
		{"sends one twice", func(f [][]byte) []packet { return numbered(slices.Insert(f, 501, f[500])) },
			sink.Result{Frames: 1001, Unique: 1000, Duplicates: 1}},
		{"sends one again much later", func(f [][]byte) []packet { return numbered(append(f, f[3])) },
			sink.Result{Frames: 1001, Unique: 1000, Duplicates: 1}},
		{"invents one", func(f [][]byte) []packet { return numbered(slices.Insert(f, 501, make([]byte, 60))) },
			sink.Result{Frames: 1001, Unique: 1000, Foreign: 1}},
	}
}

// counts are the fields of a result that faults change.
func counts(r sink.Result) sink.Result {
	return sink.Result{
		Frames: r.Frames, Unique: r.Unique, Duplicates: r.Duplicates, Unclear: r.Unclear, Corrupt: r.Corrupt,
		Foreign: r.Foreign, Late: r.Late, Truncated: r.Truncated, Holes: r.Holes,
	}
}

// script lets a server send packets on the data connection.
func script(packets []packet) []rpcaptest.Step {
	var data []byte
	for _, p := range packets {
		data = rpcaptest.AppendPacket(data, rpcap.PacketHeader{Number: p.number}, p.frame)
	}
	return slices.Concat(
		[]rpcaptest.Step{rpcaptest.Authenticate(), rpcaptest.Open("eth0"), rpcaptest.ExpectType(rpcap.TypeStartCapRequest),
			rpcaptest.StartData(0), rpcaptest.SendData(data)},
		ending(), []rpcaptest.Step{rpcaptest.CloseData(), rpcaptest.ExpectEnd()})
}

func ending() []rpcaptest.Step {
	return []rpcaptest.Step{
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.StatsReply{Received: 7, InterfaceDropped: 5, KernelDropped: 3, Sent: 4}),
		rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.Send(&rpcap.EndCapReply{}),
	}
}

// capture runs a sink against a server until it is quiet.
func capture(t *testing.T, server *rpcaptest.Server, c sink.Config) sink.Result {
	t.Helper()
	c.URL = server.URL()
	c.URL.Device = "eth0"
	s, err := sink.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Settle(context.Background(), 100*time.Millisecond) {
		t.Error("it never got quiet")
	}
	return s.End(context.Background())
}

func TestFaultsAreFound(t *testing.T) {
	serverTLS, pool, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range []struct {
		name   string
		server rpcaptest.Config
		sink   sink.Config
	}{
		{"tcp", rpcaptest.Config{}, sink.Config{}},
		{"unix", rpcaptest.Config{Network: "unix"}, sink.Config{}},
		{"tls", rpcaptest.Config{TLS: serverTLS}, sink.Config{TLS: &tls.Config{RootCAs: pool}}},
		{"udp", rpcaptest.Config{}, sink.Config{Datagrams: true}},
	} {
		for _, f := range faults() {
			t.Run(transport.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				packets := f.server(testFrames(t, faultFrames, 100))
				steps := script(packets)
				if transport.sink.Datagrams {
					steps = datagramScript(packets)
				}
				got := capture(t, rpcaptest.Start(t, transport.server, steps...), transport.sink)
				if counts(got) != f.want || got.Error != "" || got.LinkType != "EN10MB" || !got.Verified {
					t.Errorf("found %+v\nwant  %+v", got, f.want)
				}
				if want := (sink.ServerCounts{Received: 7, InterfaceDropped: 5, KernelDropped: 3, Sent: 4}); got.Server == nil || *got.Server != want {
					t.Errorf("the server's counters are %+v, %s", got.Server, got.StatsError)
				}
				if min := time.Hour; got.Latency.P50 < min || got.Latency.Max > min+time.Minute || got.Latency.Count != got.Unique+got.Duplicates {
					t.Errorf("latency %+v, want an hour", got.Latency)
				}
			})
		}
	}
}

// datagramScript lets a server send packets as datagrams.
func datagramScript(packets []packet) []rpcaptest.Step {
	send := rpcaptest.Do("datagrams", func(s *rpcaptest.Session) error {
		h, body := rpcap.Header{}, []byte(nil)
		head := make([]byte, rpcap.HeaderLen)
		_, err := io.ReadFull(s.Control, head)
		if err == nil {
			h = rpcap.ParseHeader(head)
			body = make([]byte, h.Len)
			_, err = io.ReadFull(s.Control, body)
		}
		var start rpcap.StartCapRequest
		if err == nil {
			err = rpcap.Decode(h, body, &start)
		}
		if err != nil || h.Type != rpcap.TypeStartCapRequest || start.Flags&rpcap.StartCapDatagram == 0 {
			return fmt.Errorf("no request for datagrams: %+v %+v, %w", h, start, err)
		}
		if _, err := s.Control.Write(rpcap.Append(nil, &rpcap.StartCapReply{})); err != nil {
			return err
		}
		to := *s.Control.RemoteAddr().(*net.TCPAddr)
		to.Port = int(start.DataPort)
		conn, err := net.Dial("udp", to.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("no packet")); err != nil { // is skipped
			return err
		}
		for _, p := range packets {
			if _, err := conn.Write(rpcaptest.AppendPacket(nil, rpcap.PacketHeader{Number: p.number}, p.frame)); err != nil {
				return err
			}
		}
		return nil
	})
	return slices.Concat([]rpcaptest.Step{rpcaptest.Authenticate(), rpcaptest.Open("eth0"), send}, ending(), []rpcaptest.Step{rpcaptest.ExpectEnd()})
}

func TestDatagramsNeedTCP(t *testing.T) {
	u := rpcap.URL{Scheme: rpcap.SchemeUnix, SocketPath: "/nowhere"}
	if _, err := sink.Open(context.Background(), sink.Config{URL: u, Datagrams: true}); err == nil {
		t.Error("datagrams over a unix socket were accepted")
	}
}

// A server that ends by itself, or refuses to tell its counters, is reported.
func TestServerThatEnds(t *testing.T) {
	frames := testFrames(t, 10, 100)
	steps := script(numbered(frames))[:5] // up to the data
	server := rpcaptest.Start(t, rpcaptest.Config{}, append(steps, rpcaptest.CloseData(), rpcaptest.CloseControl())...)
	got := capture(t, server, sink.Config{})
	if got.Unique != 10 || got.Error == "" || got.Server != nil || got.StatsError == "" {
		t.Errorf("result %+v", got)
	}
}

func TestUnverified(t *testing.T) {
	frames := damaged(testFrames(t, 10, 100), 5, 70)
	got := capture(t, rpcaptest.Start(t, rpcaptest.Config{}, script(numbered(frames))...), sink.Config{Verify: sink.VerifyNone})
	if got.Frames != 10 || got.Corrupt != 0 || got.Unique != 0 || got.Verified {
		t.Errorf("result %+v", got)
	}
}

// Settle ends with its context while frames go on.
func TestSettleIsBounded(t *testing.T) {
	stop := make(chan struct{})
	frames := testFrames(t, 1, 100)
	busy := rpcaptest.Do("send until told", func(s *rpcaptest.Session) error {
		for n := uint32(1); ; n++ {
			select {
			case <-stop:
				return nil
			case <-time.After(2 * time.Millisecond):
			}
			if _, err := s.Data.Write(rpcaptest.AppendPacket(nil, rpcap.PacketHeader{Number: n}, frames[0])); err != nil {
				return err
			}
		}
	})
	steps := append(append(script(nil)[:4:4], busy), script(nil)[5:]...)
	server := rpcaptest.Start(t, rpcaptest.Config{}, steps...)
	u := server.URL()
	u.Device = "eth0"
	s, err := sink.Open(context.Background(), sink.Config{URL: u})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if s.Settle(ctx, 100*time.Millisecond) {
		t.Error("it settled while frames came")
	}
	close(stop)
	if !s.Settle(context.Background(), 100*time.Millisecond) {
		t.Error("it didn't settle")
	}
	if r := s.End(context.Background()); r.Error != "" || r.Duplicates != r.Frames-1 {
		t.Errorf("result %+v", r)
	}
}
