package engine_test

import (
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

// byEngine returns how many complete exchanges the engine tells.
func byEngine(w *workload.Workload) (told uint64) {
	e := engine.New(engine.Config{Exchange: exchange.Config{BodyLimit: bodyLimit, Emit: func(x *capstanv1.Exchange) {
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
		if told := byEngine(w); told != w.Exchanges && (name != "http2" || told != 0) { // HTTP/2 isn't read
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

// pass runs a pipeline over a workload and returns the processor time that it
// took, its share of collecting garbage included.
func pass(b *testing.B, name string, pipeline func(*workload.Workload) uint64, w *workload.Workload) time.Duration {
	runtime.GC() // what others have left is theirs
	begin := processorTime(b)
	told := pipeline(w)
	used := processorTime(b) - begin
	if told != w.Exchanges {
		b.Fatalf("the %s tells %d exchanges, there are %d", name, told, w.Exchanges)
	}
	return used
}

// BenchmarkAgainstTextbook feeds the engine and the textbook pipeline the same
// frames from memory, in turn, on one processor. Rates are per second of
// processor time; x-textbook is how many times faster the engine is.
func BenchmarkAgainstTextbook(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, name := range workload.Names() {
		b.Run(name, func(b *testing.B) {
			w, err := workload.New(name)
			if err != nil {
				b.Fatal(err)
			}
			if byEngine(w) == 0 {
				b.Skip("the engine doesn't read it")
			}
			var ours, theirs time.Duration
			for b.Loop() {
				ours += pass(b, "engine", byEngine, w)
				theirs += pass(b, "textbook", byTextbook, w)
			}
			rate := func(n uint64, used time.Duration) float64 { return float64(n) * float64(b.N) / used.Seconds() }
			frames := uint64(len(w.Frames))
			b.ReportMetric(rate(frames, ours), "engine-packets/s")
			b.ReportMetric(rate(frames, theirs), "textbook-packets/s")
			b.ReportMetric(rate(w.Exchanges, ours), "engine-exchanges/s")
			b.ReportMetric(rate(w.Exchanges, theirs), "textbook-exchanges/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-textbook")
		})
	}
}
