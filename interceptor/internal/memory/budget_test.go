package memory

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

// TestShedding: what is in use beyond the share asks for a round, that it goes on
// for a hard one, and less for none; a round is collected for once.
func TestShedding(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	b := NewBudget(64 << 20)
	if got := debug.SetMemoryLimit(-1); got > 64<<20 {
		t.Errorf("the collector's limit is %d", got)
	}
	runtime.GC()
	if n := b.Poll(); n != (Need{}) {
		t.Fatalf("nothing is in use: %+v", n)
	}
	hog := make([]byte, 40<<20)
	runtime.GC()
	if n := b.Poll(); n != (Need{Round: 1}) {
		t.Errorf("40 MiB of 64 are in use: %+v", n)
	}
	if !b.Calls(0) || b.Calls(1) {
		t.Error("whoever has not shed yet is to be called, and nobody else")
	}
	if n := b.Poll(); n != (Need{Round: 1}) {
		t.Errorf("judged twice by one collection: %+v", n)
	}
	b.Collect(1)
	n := b.Poll()
	if n != (Need{Round: 2, Hard: true}) {
		t.Errorf("it was not enough: %+v", n)
	}
	runtime.KeepAlive(hog)
	hog = nil
	b.Collect(2)
	if n = b.Poll(); n.Round != 2 {
		t.Errorf("it was enough: %+v", n)
	}
	hog = make([]byte, 40<<20)
	runtime.GC()
	if n = b.Poll(); n != (Need{Round: 3}) {
		t.Errorf("the next time begins as the first: %+v", n)
	}
	runtime.KeepAlive(hog)
	if InUse() < 40<<20 {
		t.Errorf("%d bytes in use", InUse())
	}
	b.Close()
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("afterwards the limit is %d, was %d", got, before)
	}
}

// TestSheddingInVain: what nobody can shed is not asked for again and again, only when
// more comes to it, or when something went, so that the rest may go, too.
func TestSheddingInVain(t *testing.T) {
	for _, tt := range []struct{ inUse, more int }{{33, 5}, {41, 3}} { // MiB
		b := NewBudget(64 << 20)
		hog, spare := make([]byte, (tt.inUse-5)<<20), make([]byte, 5<<20)
		runtime.GC()
		settled := func(want uint64) {
			t.Helper()
			for range 10 {
				b.Collect(b.Poll().Round)
			}
			if n := b.Poll(); n != (Need{Round: want, Hard: true}) {
				t.Errorf("%d MiB of 64: %+v, want round %d", tt.inUse, n, want)
			}
		}
		settled(4)
		more := make([]byte, tt.more<<20)
		runtime.GC()
		settled(8)
		runtime.KeepAlive(more)
		runtime.KeepAlive(spare)
		more, spare = nil, nil
		runtime.GC()
		settled(12)
		runtime.KeepAlive(hog)
		b.Close()
	}
}

// TestCollectorHasSomethingToDo: however much is in use, the collector isn't waited for
// before anything came that it may free.
func TestCollectorHasSomethingToDo(t *testing.T) {
	b := NewBudget(64 << 20)
	defer b.Close()
	hog := make([]byte, 50<<20)
	runtime.GC()
	cycles := func() uint64 {
		s := []metrics.Sample{{Name: cyclesMetric}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := cycles()
	for range 100 {
		b.Poll()
	}
	if n := cycles() - before; n > 10 {
		t.Errorf("the collector ran %d times", n)
	}
	before = cycles()
	more := make([]byte, 3<<20)
	b.Poll()
	if cycles() == before {
		t.Error("the collector was not waited for")
	}
	runtime.KeepAlive(more)
	runtime.KeepAlive(hog)
}

func BenchmarkPoll(b *testing.B) {
	budget := NewBudget(1 << 30)
	defer budget.Close()
	for b.Loop() {
		budget.Poll()
	}
}

// TestOthersShed: once in each round, before the collector counts again.
func TestOthersShed(t *testing.T) {
	b := NewBudget(64 << 20)
	defer b.Close()
	hog := make([]byte, 40<<20)
	calls := 0
	b.OnShed(func() { calls++; hog = nil })
	runtime.GC()
	need := b.Poll()
	b.Collect(need.Round)
	b.Collect(need.Round)
	if need.Round != 1 || calls != 1 {
		t.Errorf("%d calls in round %d", calls, need.Round)
	}
	if n := b.Poll(); n != need {
		t.Errorf("it was enough: %+v", n)
	}
	runtime.KeepAlive(hog)
}
