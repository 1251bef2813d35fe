package memory

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"testing"
)

const testCap = 64 << 20

// hold returns so many percent of the room of b, in use as far as the collector knows.
func hold(b *Budget, percent uint64) []byte {
	hog := make([]byte, b.share(percent))
	runtime.GC()
	return hog
}

// steps is who notes what was asked of it.
type steps struct {
	*Holder
	asked []Step
	then  func() // sheds
	has   int    // to shed
}

func join(b *Budget) *steps {
	s := &steps{then: func() {}}
	s.Holder = b.Join(func(step Step) {
		s.asked = append(s.asked, step)
		s.then()
	}, func() int { return s.has })
	return s
}

func (s *steps) want(t *testing.T, what string, want ...Step) {
	t.Helper()
	for range 10 {
		s.Relieve()
	}
	if !slices.Equal(s.asked, want) {
		t.Errorf("%s: %v was asked for, want %v", what, s.asked, want)
	}
	s.asked = nil
}

// TestInUseFromTheStart: what is in use is counted when the cap is made, not only once there
// is garbage.
func TestInUseFromTheStart(t *testing.T) {
	counted := func() uint64 {
		samples := []metrics.Sample{{Name: cyclesMetric}}
		metrics.Read(samples)
		return samples[0].Value.Uint64()
	}
	before := counted()
	b := NewBudget(testCap)
	defer b.Close()
	if counted() == before || InUse() == 0 {
		t.Errorf("nothing was counted; %d bytes in use", InUse())
	}
}

// TestShedding: what is in use beyond a mark is shed step by step until it is much less.
func TestShedding(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	b := NewBudget(testCap)
	if got := debug.SetMemoryLimit(-1); got > testCap {
		t.Errorf("the collector's limit is %d", got)
	}
	runtime.GC()
	h := join(b)
	h.want(t, "nothing is in use")
	hog := hold(b, shedMark-4)
	h.want(t, "less than the mark is in use")
	more := hold(b, 5)
	h.then = func() { more = nil }
	h.want(t, "less than the mark, but more than is enough", Easily, AQuarter, AThird, AHalf, All)
	if b.shedding.Load() || h.Called() {
		t.Error("there is nothing left to shed")
	}
	h.want(t, "what nobody sheds")
	h.then = func() { hog = nil }
	more = hold(b, shedAbove+1)
	h.want(t, "more came", Easily)
	if b.floor > b.share(shedMark) {
		t.Errorf("%d bytes are taken for what nobody can shed", b.floor)
	}
	runtime.KeepAlive(more)
	runtime.KeepAlive(hog)
	if InUse() < uint64(len(more)) {
		t.Errorf("%d bytes in use", InUse())
	}
	b.Close()
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("afterwards the limit is %d, was %d", got, before)
	}
}

func TestStepsTakeAQuarterEach(t *testing.T) {
	left := 400
	for step := Easily; step <= All; step++ {
		if of := step.Of(); of > 0 {
			left -= left / of
		}
		if want := 500 - 100*int(step); left != want {
			t.Errorf("%d of 400 are left after step %d, want %d", left, step, want)
		}
	}
}

// TestAllShedBeforeTheNextStep: whoever is there sheds before it is judged whether that was
// enough, and nobody is waited for who isn't.
func TestAllShedBeforeTheNextStep(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	first, second := join(b), join(b)
	second.has = 1
	first.want(t, "nothing is in use")
	second.want(t, "nothing is in use")
	hog := hold(b, shedMark+4)
	first.want(t, "it is the first", Easily)
	runtime.GC()
	first.want(t, "the other has not shed")
	if !second.Called() {
		t.Error("who has not shed is not called")
	}
	second.Relieve()
	first.Relieve()
	if want := []Step{Easily}; !slices.Equal(second.asked, want) || !slices.Equal(first.asked, []Step{AQuarter}) {
		t.Errorf("%v and %v were asked for", first.asked, second.asked)
	}
	first.asked, second.asked = nil, nil
	second.Away()
	first.want(t, "the other is away and behind")
	if first.Shedding() || !second.Shedding() {
		t.Error("it is waited for who has done what there is to do, or not for who has not")
	}
	more := hold(b, awayMark-shedMark)
	first.want(t, "much more is in use", AThird, AHalf, All)
	runtime.KeepAlive(hog)
	runtime.KeepAlive(more)
	second.then = func() { hog, more = nil, nil }
	second.want(t, "it is back", AQuarter)
	first.Relieve()
	if first.Shedding() || second.Shedding() {
		t.Error("it was enough")
	}
}

// TestWhatOthersHoldIsNoFloor: as long as somebody who is away has not shed all, what is in
// use is not taken for what nobody can shed. Who is back takes the steps that are left to him.
func TestWhatOthersHoldIsNoFloor(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	first, second := join(b), join(b)
	second.has = 1
	second.Relieve()
	second.Away()
	hog := hold(b, awayMark+4)
	first.want(t, "the other is away", Easily, AQuarter, AThird, AHalf, All)
	if b.floor != 0 {
		t.Errorf("%d bytes are taken for what nobody can shed", b.floor)
	}
	if first.Shedding() || !second.Shedding() {
		t.Error("it is waited for who has nothing left to shed, or not for who has")
	}
	runtime.GC()
	first.Relieve()
	if want := []Step{All}; !slices.Equal(first.asked, want) {
		t.Errorf("too much is in use yet: %v was asked for, want %v", first.asked, want)
	}
	first.asked = nil
	for range All {
		if b.floor != 0 {
			t.Errorf("%d bytes are taken for what nobody can shed", b.floor)
		}
		second.Relieve()
		first.Relieve()
	}
	first.want(t, "it has no other steps left, and the other's were its own")
	second.want(t, "it is back", Easily, AQuarter, AThird, AHalf, All)
	if b.floor < uint64(len(hog)) || b.shedding.Load() {
		t.Errorf("%d bytes are taken for what nobody can shed, of %d", b.floor, len(hog))
	}
	runtime.KeepAlive(hog)
}

// TestWhoHasLeftIsNotWaitedFor, neither for the end of a round nor to tell what nobody can
// shed.
func TestWhoHasLeftIsNotWaitedFor(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	first, second, third := join(b), join(b), join(b)
	second.Relieve()
	third.Relieve()
	third.Leave()
	hog := hold(b, shedMark+4)
	first.want(t, "the others are there", Easily)
	second.Leave()
	first.want(t, "the other has left", AQuarter, AThird, AHalf, All)
	if b.floor < uint64(len(hog)) {
		t.Errorf("%d bytes are taken for what nobody can shed, of %d", b.floor, len(hog))
	}
	more := hold(b, shedAbove+1)
	third.want(t, "it is back, and the first is there", Easily)
	runtime.KeepAlive(more)
	runtime.KeepAlive(hog)
}

// TestNearTheCap: where the process has nearly as much as it may, what is free goes back.
func TestNearTheCap(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	debug.FreeOSMemory()
	h := join(b)
	for range 10 { // the runtime may give it back by itself
		more := make([]byte, 8<<20)
		runtime.KeepAlive(more)
		runtime.GC()
		if b.look(); b.usage.free >= 4<<20 {
			break
		}
	}
	if b.usage.free < 4<<20 {
		t.Fatalf("%d bytes are free: there is nothing to give back", b.usage.free)
	}
	b.cap = b.usage.all // as if that were all
	h.Relieve()
	if b.look(); b.usage.free > 2<<20 {
		t.Errorf("%d bytes are free and the process's", b.usage.free)
	}
}

// TestTheCollectorHasRoom: the collector's limit stays above what nobody can shed. Below it,
// it would run all the time.
func TestTheCollectorHasRoom(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	h := join(b)
	hog := hold(b, 60)
	h.want(t, "nobody sheds", Easily, AQuarter, AThird, AHalf, All)
	if limit := uint64(debug.SetMemoryLimit(-1)); limit < uint64(len(hog))+b.share(limitAbove) {
		t.Errorf("the collector's limit is %d with %d in use", limit, len(hog))
	}
	runtime.KeepAlive(hog)
}

// TestWhatIsBesidesObjectsCounts: memory that the runtime takes for other than objects is
// part of the cap.
func TestWhatIsBesidesObjectsCounts(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	if b.usage.besides < 1<<20 {
		t.Errorf("the runtime takes %d bytes", b.usage.besides)
	}
	b.usage.besides = testCap / 2
	if got := b.mark(shedMark, shedAbove); got > testCap/2/100*shedMark+100 {
		t.Errorf("with half of the cap gone, %d bytes may be in use", got)
	}
	b.usage.besides = 2 * testCap
	if b.share(100) == 0 {
		t.Error("nothing may be in use")
	}
}

// TestCollectorHasSomethingToDo: however much is in use, the collector isn't waited for
// before anything came that it may free.
func TestCollectorHasSomethingToDo(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	h := join(b)
	hog := hold(b, waitMark+4)
	h.want(t, "nobody sheds", Easily, AQuarter, AThird, AHalf, All)
	cycles := func() uint64 {
		s := []metrics.Sample{{Name: cyclesMetric}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := cycles()
	for range 100 {
		h.Relieve()
	}
	if n := cycles() - before; n > 2 {
		t.Errorf("the collector ran %d times", n)
	}
	before = cycles()
	more := make([]byte, b.share(waitAbove)+1)
	h.Relieve()
	if cycles() == before {
		t.Error("the collector was not waited for")
	}
	runtime.KeepAlive(more)
	runtime.KeepAlive(hog)
}

// TestOthersShedFirst: what was told already goes before anything that is not, and again in
// each round, before the collector counts again.
func TestOthersShedFirst(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	calls := 0
	hog := hold(b, keptMark-6)
	kept := hold(b, shedMark-keptMark+10)
	b.OnShed(func() bool {
		calls++
		had := kept != nil
		kept = nil
		return had
	})
	h := join(b)
	h.want(t, "that is enough")
	if calls != 1 || b.Rounds() != 1 || h.Called() {
		t.Errorf("%d calls, %d rounds", calls, b.Rounds())
	}
	more := hold(b, shedMark-keptMark+10)
	h.then = func() { more = nil }
	h.want(t, "they have nothing left", Easily)
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
	runtime.KeepAlive(more)
	runtime.KeepAlive(kept)
	runtime.KeepAlive(hog)
}

// TestNobodyGoesFartherThanTheLargest: who holds the most and is back sheds what others have
// shed, and they wait; who holds little waits for nobody, and nobody for him.
func TestNobodyGoesFartherThanTheLargest(t *testing.T) {
	b := NewBudget(testCap)
	defer b.Close()
	first, largest, little := join(b), join(b), join(b)
	first.has, largest.has = 1, 2
	largest.Relieve()
	largest.Away()
	hog := hold(b, shedMark+4)
	first.want(t, "the largest is away", Easily)
	little.want(t, "it comes")
	largest.Relieve()
	little.Relieve()
	first.want(t, "the others have the first step behind them", AQuarter)
	little.Away()
	first.want(t, "the largest has not the second step behind it")
	largest.Relieve()
	if want := []Step{Easily, AQuarter}; !slices.Equal(largest.asked, want) {
		t.Errorf("of the largest %v was asked for, want %v", largest.asked, want)
	}
	largest.Away()
	first.want(t, "the largest has gone from the third step", AThird)
	largest.has = 0
	largest.Relieve()
	first.want(t, "it is the largest itself now", AHalf, All)
	little.want(t, "it comes, and is back", Easily, AQuarter)
	runtime.KeepAlive(hog)
}

func BenchmarkRelieve(b *testing.B) {
	budget := NewBudget(1 << 30)
	defer budget.Close()
	h := join(budget)
	for b.Loop() {
		h.Relieve()
	}
}
