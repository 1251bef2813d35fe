package engine_test

import (
	"math"
	"runtime"
	"syscall"
	"testing"
	"time"

	"capstan/bench/textbook"
	"capstan/bench/workload"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/exchange"
	capstanv1 "capstan/proto/capstan/v1"
)

// bodyLimit is what both keep of a body, and the interceptor's default.
const bodyLimit = 4096

// keep is made once, as a process does.
var keep = exchange.NewKeep(bodyLimit, nil, nil)

// byEngine returns how many complete exchanges the engine tells.
func byEngine(w *workload.Workload) (told uint64) {
	e := engine.New(engine.Config{Exchange: exchange.Config{Keep: keep, Emit: func(x *capstanv1.Exchange) {
		if x.Complete {
			told++
		}
	}}})
	for i := range w.Frames {
		e.Frame(&w.Frames[i])
	}
	e.Finish()
	return told
}

// byTextbook returns how many exchanges the textbook pipeline tells.
func byTextbook(w *workload.Workload) (told uint64) {
	p := textbook.New(func(*textbook.Exchange) { told++ })
	for i := range w.Frames {
		p.Frame(&w.Frames[i])
	}
	p.Finish()
	return told
}

// TestWorkloadsAreTold holds that a benchmark measures the whole work.
func TestWorkloadsAreTold(t *testing.T) {
	for _, name := range workload.Names() {
		w, err := workload.New(name)
		if err != nil {
			t.Fatal(err)
		}
		if told := byEngine(w); told != w.Exchanges {
			t.Errorf("%s: %d exchanges, there are %d", name, told, w.Exchanges)
		}
	}
}

// processorTime is what this process has used so far: other programs on the
// machine don't count.
func processorTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// cost is what one of the two has used.
type cost struct {
	name   string
	run    func(*workload.Workload) uint64
	used   time.Duration // of the processor, the share of collecting garbage included
	allocs uint64
}

// pass runs over the workload once.
func (c *cost) pass(b *testing.B, w *workload.Workload) {
	runtime.GC() // what the other has left is its own
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := processorTime(b)
	told := c.run(w)
	c.used += processorTime(b) - begin
	runtime.ReadMemStats(&after)
	c.allocs += after.Mallocs - before.Mallocs
	if told != w.Exchanges {
		b.Fatalf("the %s tells %d exchanges, there are %d", c.name, told, w.Exchanges)
	}
}

func (c *cost) report(b *testing.B, w *workload.Workload) {
	frames, exchanges := float64(b.N*len(w.Frames)), float64(b.N)*float64(w.Exchanges)
	b.ReportMetric(frames/c.used.Seconds(), c.name+"-packets/s")
	b.ReportMetric(exchanges/c.used.Seconds(), c.name+"-exchanges/s")
	b.ReportMetric(float64(c.allocs)/exchanges, c.name+"-allocs/exchange")
}

// BenchmarkAgainstTextbook feeds the engine and the textbook pipeline the same
// frames from memory, in turn, on one processor. Rates are per second of
// processor time; x-textbook is how many times faster the engine is.
func BenchmarkAgainstTextbook(b *testing.B) {
	for _, name := range workload.Names() {
		b.Run(name, func(b *testing.B) {
			// Here, since testing sets it anew for each of these.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			w, err := workload.New(name)
			if err != nil {
				b.Fatal(err)
			}
			ours, theirs := cost{name: "engine", run: byEngine}, cost{name: "textbook", run: byTextbook}
			for b.Loop() {
				ours.pass(b, w)
				theirs.pass(b, w)
			}
			ours.report(b, w)
			theirs.report(b, w)
			b.ReportMetric(theirs.used.Seconds()/ours.used.Seconds(), "x-textbook")
		})
	}
}

// BenchmarkWorkload feeds the engine alone, for profiles. The fastest pass is the
// one that other programs have disturbed least.
func BenchmarkWorkload(b *testing.B) {
	for _, name := range workload.Names() {
		b.Run(name, func(b *testing.B) {
			w, err := workload.New(name)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			fastest := time.Duration(math.MaxInt64)
			for b.Loop() {
				begin := processorTime(b)
				if told := byEngine(w); told != w.Exchanges {
					b.Fatalf("%d exchanges, there are %d", told, w.Exchanges)
				}
				fastest = min(fastest, processorTime(b)-begin)
			}
			b.ReportMetric(float64(fastest.Nanoseconds())/float64(len(w.Frames)), "fastest-ns/packet")
			b.ReportMetric(float64(fastest.Nanoseconds())/float64(w.Exchanges), "fastest-ns/exchange")
		})
	}
}
