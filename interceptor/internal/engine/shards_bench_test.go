package engine_test

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"capstan/bench/workload"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	capstanv1 "capstan/proto/capstan/v1"
)

// repeats is how often a pass goes over a workload, so that it takes a while.
const repeats = 10

// repeated yields the frames of w again and again, an hour apart.
func repeated(w *workload.Workload, yield func(*capture.Frame)) {
	for n := range repeats {
		for i := range w.Frames {
			f := w.Frames[i]
			f.Timestamp += int64(n) * int64(time.Hour)
			yield(&f)
		}
	}
}

// fromMemory feeds frames that stay where they are, so that no shard needs a copy.
func fromMemory(_ *testing.B, w *workload.Workload) func(*engine.Engine) {
	return func(e *engine.Engine) {
		e.Exchange(0)
		repeated(w, e.Frame)
	}
}

// fromFile feeds the frames of a file that was just written.
func fromFile(b *testing.B, w *workload.Workload) func(*engine.Engine) {
	file, err := os.Create(filepath.Join(b.TempDir(), "frames"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { file.Close() })
	out, err := capfile.NewWriter(file, "")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := out.AddInterface(capfile.Interface{LinkType: capture.LinkTypeEthernet}); err != nil {
		b.Fatal(err)
	}
	repeated(w, func(f *capture.Frame) { _ = out.WriteFrame(0, f) }) // Flush tells
	if err = out.Flush(); err != nil {
		b.Fatal(err)
	}
	return func(e *engine.Engine) {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		r, err := capfile.NewReader(file)
		if err != nil {
			b.Fatal(err)
		}
		r.Lend(e)
		var f capture.Frame
		for err = r.Next(&f); err == nil; err = r.Next(&f) {
			e.Frame(&f)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}

// shardsPass returns how long an engine with so many shards takes for what feed
// yields, and the processor time.
func shardsPass(b *testing.B, feed func(*engine.Engine), shards int, exchanges uint64) (passed, used time.Duration) {
	runtime.GC() // what the pass before has left
	var told uint64
	e := engine.New(engine.Config{
		Exchange: exchange.Config{BodyLimit: bodyLimit, Emit: func(*capstanv1.Exchange) { told++ }},
		Shards:   shards,
		Encode:   func(dst []byte, _ *capstanv1.Exchange) []byte { return append(dst, 0) },
		Write:    func([]byte) { told++ },
	})
	begin, busy := time.Now(), processorTime(b)
	feed(e)
	e.Finish()
	passed, used = time.Since(begin), processorTime(b)-busy
	if told != exchanges {
		b.Fatalf("%d shards tell %d exchanges, there are %d", shards, told, exchanges)
	}
	return passed, used
}

// BenchmarkShards feeds engines with one and with two shards the same frames, in
// turn: from memory, and from a file that the kernel has in its own. x-faster
// compares the passes that other programs have disturbed least, by the time that
// passed; x-processor, by the processor time, tells what dividing costs.
func BenchmarkShards(b *testing.B) {
	for _, from := range []struct {
		name string
		feed func(*testing.B, *workload.Workload) func(*engine.Engine)
	}{{"memory", fromMemory}, {"file", fromFile}} {
		for _, name := range workload.Names() {
			b.Run(from.name+"/"+name, func(b *testing.B) {
				w, err := workload.New(name)
				if err != nil {
					b.Fatal(err)
				}
				feed := from.feed(b, w)
				passed, used := [2]time.Duration{math.MaxInt64, math.MaxInt64}, [2]time.Duration{math.MaxInt64, math.MaxInt64}
				for b.Loop() {
					for i := range passed {
						p, u := shardsPass(b, feed, i+1, repeats*w.Exchanges)
						passed[i], used[i] = min(passed[i], p), min(used[i], u)
					}
				}
				b.ReportMetric(float64(passed[0].Nanoseconds())/float64(repeats*len(w.Frames)), "ns/packet")
				b.ReportMetric(float64(passed[0])/float64(passed[1]), "x-faster")
				b.ReportMetric(float64(used[1])/float64(used[0]), "x-processor")
			})
		}
	}
}
