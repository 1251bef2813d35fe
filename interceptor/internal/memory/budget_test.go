package memory

import (
	"runtime"
	"runtime/debug"
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
// more comes to it.
func TestSheddingInVain(t *testing.T) {
	b := NewBudget(64 << 20)
	defer b.Close()
	hog := make([]byte, 29<<20)
	runtime.GC()
	for range 10 {
		b.Collect(b.Poll().Round)
	}
	if n := b.Poll(); n != (Need{Round: 2, Hard: true}) {
		t.Errorf("29 MiB of 64 stay in use: %+v", n)
	}
	more := make([]byte, 5<<20)
	runtime.GC()
	if n := b.Poll(); n != (Need{Round: 3}) {
		t.Errorf("5 MiB more are in use: %+v", n)
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
