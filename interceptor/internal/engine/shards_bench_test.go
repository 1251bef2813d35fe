package engine_test

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"capstan/bench/workload"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/memory"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
	capstanv1 "capstan/proto/capstan/v1"
)

// repeats is how often a pass goes over a workload, so that it takes a while.
const repeats = 10

// repeated yields frames again and again, an hour apart.
func repeated(frames []capture.Frame, yield func(*capture.Frame)) {
	var f capture.Frame // one for all, as sources have
	for n := range repeats {
		for i := range frames {
			f = frames[i]
			f.Timestamp += int64(n) * int64(time.Hour)
			yield(&f)
		}
	}
}

// fromMemory feeds frames that stay where they are, so that no shard needs a copy.
func fromMemory(w *workload.Workload) func(*engine.Engine) {
	return func(e *engine.Engine) {
		e.Exchange(0)
		repeated(w.Frames, e.Frame)
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
	repeated(w.Frames, func(f *capture.Frame) { _ = out.WriteFrame(0, f) }) // Flush tells
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

// pass is what became of the frames of a workload, gone over once.
type pass struct {
	passed, used time.Duration // by the clock; of processors
}

// keepLess keeps the least of each.
func (p *pass) keepLess(o pass) {
	if p.passed == 0 {
		*p = o
	}
	p.passed, p.used = min(p.passed, o.passed), min(p.used, o.used)
}

// measure returns what run, which returns the exchanges that it was told, takes.
func measure(b *testing.B, exchanges uint64, run func() (told uint64)) pass {
	runtime.GC() // what the pass before has left
	begin, busy := time.Now(), processorTime(b)
	told := run()
	p := pass{time.Since(begin), processorTime(b) - busy}
	if told != exchanges {
		b.Fatalf("%d exchanges are told, there are %d", told, exchanges)
	}
	return p
}

// feedShards feeds an engine with so many shards.
func feedShards(feed func(*engine.Engine), shards int) (told uint64) {
	e := engine.New(engine.Config{
		Exchange: exchange.Config{Keep: exchange.NewKeep(bodyLimit, nil, nil), Emit: func(*capstanv1.Exchange) { told++ }},
		Shards:   shards,
		Encode:   func(dst []byte, _ *capstanv1.Exchange) []byte { return append(dst, 0) },
		Write:    func([]byte) { told++ },
	})
	feed(e)
	e.Finish()
	return told
}

// feedParts feeds each part to an engine of its own, all at once, as the shards of
// a capture server that divides.
func feedParts(parts [][]capture.Frame) (told uint64) {
	var sum atomic.Uint64
	var engines sync.WaitGroup
	for _, frames := range parts {
		engines.Go(func() {
			sum.Add(feedShards(func(e *engine.Engine) { repeated(frames, e.Frame) }, 1))
		})
	}
	engines.Wait()
	return sum.Load()
}

// divide divides frames among shards as a capture server does, which sends those of
// each one behind the other.
func divide(b *testing.B, frames []capture.Frame, shards int) [][]capture.Frame {
	parts, data := make([][]capture.Frame, shards), make([][]byte, shards)
	decoder := packet.NewDecoder(packet.Config{})
	var s packet.Segment
	for i := range frames {
		if o := decoder.Decode(&frames[i], &s); o != packet.OutcomeTCP {
			b.Fatalf("frame %d: %s", i, o)
		}
		n := s.Key.Hash() % uint64(shards)
		parts[n], data[n] = append(parts[n], frames[i]), append(data[n], frames[i].Data...)
	}
	for n, part := range parts {
		rest := data[n]
		for i := range part {
			f := &part[i]
			f.Data, rest = rest[:len(f.Data):len(f.Data)], rest[len(f.Data):]
		}
	}
	return parts
}

// runs are what BenchmarkShards compares: one shard and two, with the same frames.
type runs [2]func() (told uint64)

// undivided runs engines that have all frames.
func undivided(feed func(*engine.Engine)) runs {
	return runs{func() uint64 { return feedShards(feed, 1) }, func() uint64 { return feedShards(feed, 2) }}
}

// divided runs two engines that have some of the frames each, against one with all.
func divided(b *testing.B, w *workload.Workload) runs {
	parts := divide(b, w.Frames, 2)
	longest := max(len(parts[0]), len(parts[1]))
	// b.Loop forgets what was reported before.
	b.Cleanup(func() { b.ReportMetric(float64(len(w.Frames))/float64(longest), "x-even") })
	return runs{func() uint64 { return feedParts([][]capture.Frame{w.Frames}) }, func() uint64 { return feedParts(parts) }}
}

// BenchmarkShards compares one shard with two that have the same frames, in turn:
// from memory; from a file that the kernel has in its own; and divided beforehand
// among two engines, as a server's kernel does. x-faster compares the passes that
// other programs have disturbed least, by the time that passed; x-processor, by the
// processor time, tells what dividing costs. x-even is what x-faster would be at
// most: the hash gives one shard somewhat more connections than the other.
//
// Garbage is collected as seldom as the interceptor does it: collecting goes on beside
// one shard at no cost of time, while two have no processor to spare for it.
func BenchmarkShards(b *testing.B) {
	defer memory.NewBudget(1 << 30).Close()
	for _, from := range []struct {
		name string
		runs func(*testing.B, *workload.Workload) runs
	}{
		{"memory", func(_ *testing.B, w *workload.Workload) runs { return undivided(fromMemory(w)) }},
		{"file", func(b *testing.B, w *workload.Workload) runs { return undivided(fromFile(b, w)) }},
		{"divided", divided},
	} {
		for _, name := range workload.Names() {
			b.Run(from.name+"/"+name, func(b *testing.B) {
				w, err := workload.New(name)
				if err != nil {
					b.Fatal(err)
				}
				compareRuns(b, w, from.runs(b, w))
			})
		}
	}
}

func compareRuns(b *testing.B, w *workload.Workload, runs runs) {
	var best [2]pass
	for b.Loop() {
		for i, run := range runs {
			best[i].keepLess(measure(b, repeats*w.Exchanges, run))
		}
	}
	b.ReportMetric(float64(best[0].passed.Nanoseconds())/float64(repeats*len(w.Frames)), "ns/packet")
	b.ReportMetric(float64(best[0].passed)/float64(best[1].passed), "x-faster")
	b.ReportMetric(float64(best[1].used)/float64(best[0].used), "x-processor")
}
