// Package memory keeps the process below a cap.
//
// No room can tell what all of them hold together, and an estimate of what a
// parser's structures weigh is never as true as the garbage collector's own
// count. So the collector is asked: it keeps the process below a limit under the
// cap as long as what is in use allows for that, and whenever it finds more in
// use than a share of the cap, those who hold memory are told to shed.
//
// They do so in rounds. In each everybody sheds once, then the collector counts
// again: before, it would find what others have not shed yet. Rounds follow each
// other, and take more each time, until much less is in use than when they began;
// else the next one would come soon, and the collector would have little to do
// with much memory, again and again.
package memory

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// Marks, in percent of the room: of the cap without what the runtime takes besides
// objects. What is between them is for what comes in while somebody sheds, or the
// collector counts.
const (
	enoughMark = 36 // what is in use where rounds end
	shedMark   = 46 // and where they begin
	limitMark  = 67 // where the collector runs at the latest
	waitMark   = 72 // from where on, garbage included, it is waited for,
	newShare   = 2  // if so much came since it ran

	// Where much is in use that nobody sheds, the marks are at least so much above it.
	// The collector would run all the time otherwise.
	enoughAbove = 5
	shedAbove   = 10
	limitAbove  = 20
	waitAbove   = 25

	// leastRoom is what the room is taken for at least, in percent of the cap.
	leastRoom = 10
)

// gcPercent is what GOGC is by default: since there is a limit, the collector can
// run less often below it, which saves an engine with little in use, that
// allocates much, a sixth of its time.
const gcPercent = 400

// Budget watches over a cap on the memory that Go's runtime has from the system.
// Any goroutine may use it.
type Budget struct {
	cap      uint64
	previous int64 // the collector's limit before
	percent  int   // GOGC before

	// call is twice the number of the round, and one more while the collector is waited
	// for.
	call     atomic.Uint64
	shedding atomic.Bool // step is not 0

	mu      sync.Mutex
	samples []metrics.Sample
	usage   usage
	limit   uint64 // the collector's
	judged  uint64 // collection that was judged last
	floor   uint64 // in use after all was shed that could be; 0: it never had to be
	round   uint64
	step    Step // of the round; 0: enough was shed
	present int  // holders that are not away
	owing   int  // those of them that have not shed in this round
	others  []func()
}

// Step is how much is to be shed.
type Step uint8

// The steps follow each other while that is not enough.
const (
	// Easily sheds what costs the least.
	Easily Step = 1 + iota
	// AQuarter, and each step after it, sheds a quarter of the rest as it was before the
	// first of them.
	AQuarter
	AThird
	AHalf
	All
)

// Of returns of how many of the rest one is to be shed; 0: none.
func (s Step) Of() int {
	if s < AQuarter {
		return 0
	}
	return int(All-s) + 1
}

// Holder is somebody who holds memory. It belongs to one goroutine.
type Holder struct {
	budget *Budget
	shed   func(Step)
	round  uint64 // in which it shed last
	away   bool
}

// NewBudget makes limit, in bytes, the cap of the process, until Close.
func NewBudget(limit uint64) *Budget {
	b := &Budget{cap: limit, samples: newSamples()}
	b.percent = debug.SetGCPercent(gcPercent)
	if os.Getenv("GOGC") != "" {
		debug.SetGCPercent(b.percent)
	}
	b.previous = debug.SetMemoryLimit(-1)
	runtime.GC() // nobody knows what is in use before the first time
	b.look()
	b.setLimit()
	return b
}

// Close lifts the cap.
func (b *Budget) Close() {
	debug.SetMemoryLimit(b.previous)
	debug.SetGCPercent(b.percent)
}

// Limit returns the cap in bytes.
func (b *Budget) Limit() uint64 { return b.cap }

// Shedding reports whether there are rounds: who brings work to holders should wait until
// they are done with what they have. It costs about nothing.
func (b *Budget) Shedding() bool { return b.shedding.Load() }

// OnShed has shed called once in each round, for those who hold memory and don't
// look. It must not use b.
func (b *Budget) OnShed(shed func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.others = append(b.others, shed)
}

// Join has Relieve call shed in each round. It must not use the holder.
func (b *Budget) Join(shed func(Step)) *Holder {
	return &Holder{budget: b, shed: shed, away: true}
}

// Called reports whether Relieve should be called before more memory is taken: a further
// round has begun, or somebody waits for the collector. It costs about nothing.
func (h *Holder) Called() bool { return h.budget.call.Load() != 2*h.round }

// Relieve sheds what has to be by now. It takes about a microsecond, but for the times
// when it sheds, or has to wait for the collector.
func (h *Holder) Relieve() {
	if step := h.poll(); step > 0 {
		h.shed(step)
		h.paid()
	}
}

// Away tells that the holder takes no memory until it calls Relieve again. It sheds none
// either, and nobody waits for it.
func (h *Holder) Away() {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.away {
		return
	}
	h.away = true
	b.present--
	if h.round != b.round && b.owing > 0 {
		if b.owing--; b.owing == 0 && b.present > 0 {
			b.settle()
		}
	}
}

// poll looks at the memory in use, and returns what h has to shed.
func (h *Holder) poll() Step {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.away {
		h.away = false
		b.present++
		if h.round != b.round && b.step > 0 {
			b.owing++
		}
	}
	b.look()
	switch u := &b.usage; {
	case u.objects > b.mark(waitMark, waitAbove) && u.objects > u.live+b.share(newShare):
		// Others use the processors that the collector needs, or have not shed.
		b.collect()
		b.judge()
	case b.owing == 0 && u.collections > b.judged:
		b.judge()
	}
	if h.round == b.round {
		return 0
	}
	h.round = b.round
	return b.step
}

// paid tells that h has shed.
func (h *Holder) paid() {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.round != b.round || b.owing == 0 {
		return // there is another round, or enough was shed without
	}
	if b.owing--; b.owing == 0 {
		b.settle()
	}
}

// settle ends a round in which all holders have shed. The others do, and the collector is
// waited for: what was shed is memory again before more is taken.
func (b *Budget) settle() {
	for _, shed := range b.others {
		shed()
	}
	b.collect()
	b.judge()
}

// judge judges what the last collection has found in use.
func (b *Budget) judge() {
	live := b.usage.live
	b.judged = b.usage.collections
	b.floor = min(b.floor, live)
	switch {
	case b.step == 0 && live <= b.mark(shedMark, shedAbove):
	case b.step > 0 && live <= b.mark(enoughMark, enoughAbove):
		b.end()
	case b.step == All && b.owing == 0:
		b.floor = live
		b.end()
	default:
		b.begin()
	}
	b.setLimit()
}

// begin begins a round.
func (b *Budget) begin() {
	b.step = min(b.step+1, All)
	b.round++
	b.owing = b.present
	b.call.Store(2 * b.round)
	b.shedding.Store(true)
}

// end ends the rounds.
func (b *Budget) end() {
	b.step, b.owing = 0, 0
	b.shedding.Store(false)
}

// collect has the collector run, and waits for it.
func (b *Budget) collect() {
	b.call.Add(1)
	runtime.GC()
	b.call.Add(^uint64(0))
	b.look()
}

// share returns some percent of the room.
func (b *Budget) share(percent uint64) uint64 {
	return max(b.cap-min(b.usage.besides, b.cap), b.cap/100*leastRoom) / 100 * percent
}

// mark returns a mark in bytes of objects.
func (b *Budget) mark(percent, above uint64) uint64 {
	return max(b.share(percent), b.floor+b.share(above))
}

// setLimit has the collector's limit follow what the marks are made of.
func (b *Budget) setLimit() {
	limit := b.usage.besides + b.mark(limitMark, limitAbove)
	if d := int64(limit - b.limit); max(d, -d) > int64(b.cap/100) {
		b.limit = limit
		debug.SetMemoryLimit(int64(limit))
	}
}
