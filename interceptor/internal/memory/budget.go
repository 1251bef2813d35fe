// Package memory keeps the process below a cap.
//
// No room can tell what all of them hold together, and an estimate of what a
// parser's structures weigh is never as true as the garbage collector's own
// count. So the collector is asked: it keeps the process below a limit under the
// cap as long as what is in use allows for that, and whenever it finds more in
// use than a share of the cap, those who hold memory are told to shed.
//
// They do so in rounds. In each everybody sheds once, then the collector counts
// again: before, it would find what others have not shed yet. The first round is that
// of those who only keep what was told already, and is the last if that is enough.
// Rounds follow each other, and take more each time, until much less is in use than
// when they began; else the next one would come soon, and the collector would have
// little to do with much memory, again and again.
//
// Nobody is waited for who is away, as the source of a silent host is. So each has
// steps of his own, and takes those that are left to him when he is back. But nobody
// goes farther than who holds the most, who may be the one that is away: unless much
// more is in use, others wait for him. Only when all have shed all at once, what is in
// use then is what nobody can shed.
package memory

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
)

// Marks, in percent of the room: of the cap without what the runtime takes besides
// objects. What is between them is for what comes in while somebody sheds, or the
// collector counts.
const (
	enoughMark = 36 // what is in use where rounds end
	keptMark   = 41 // and where none follows the first
	shedMark   = 46 // and where they begin
	awayMark   = 56 // from where on nobody is waited for who is away
	limitMark  = 67 // where the collector runs at the latest
	waitMark   = 72 // from where on, garbage included, it is waited for,
	newShare   = 2  // if so much came since it ran

	// nearMark, in percent of the cap, is what the process may have, with what the runtime
	// keeps for objects to come. The collector is waited for beyond it, too, and what is
	// free then goes back to the system.
	nearMark = 93

	// Where much is in use that nobody sheds, the marks are at least so much above it.
	// The collector would run all the time otherwise.
	enoughAbove = 5
	keptAbove   = 7
	shedAbove   = 10
	awayAbove   = 15
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
	shedding atomic.Bool // too much is in use

	mu      sync.Mutex
	samples []metrics.Sample
	usage   usage
	limit   uint64 // the collector's
	judged  uint64 // collection that was judged last
	floor   uint64 // in use after all was shed that could be; 0: it never had to be
	round   uint64
	last    bool      // all who are there shed all in this round
	owing   int       // so many have not shed in it; 0: there is no round
	holders []*Holder // but for those who hold nothing
	others  []func() (some bool)
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
	size   func() int
	round  uint64 // that it knows of

	// Guarded by the budget's lock.
	holds int  // by size, when it was there
	done  Step // since the rounds began
	owes  bool // it has not shed in this round
	away  bool
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

// Rounds returns how many rounds of shedding there were.
func (b *Budget) Rounds() uint64 { return b.call.Load() / 2 }

// OnShed has shed called once in each round, and first, for those who don't look and hold
// what was told already. It reports whether there was any, and must not use b.
func (b *Budget) OnShed(shed func() (some bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.others = append(b.others, shed)
}

// Join has Relieve call shed in each round, and size: how much there is to shed, as all
// holders count it. Neither must use the holder.
func (b *Budget) Join(shed func(Step), size func() int) *Holder {
	return &Holder{budget: b, shed: shed, size: size, away: true}
}

// Called reports whether Relieve should be called before more memory is taken: a further
// round has begun, or somebody waits for the collector. It costs about nothing.
func (h *Holder) Called() bool { return h.budget.call.Load() != 2*h.round }

// Shedding reports whether the holder, away or not, has something left to shed of what has to
// be: who brings work to it should wait until it is done with what it has. It costs about
// nothing while there is memory. Any goroutine may ask.
func (h *Holder) Shedding() bool {
	b := h.budget
	if !b.shedding.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shedding.Load() && (h.owes || h.mayShed() && (h.away || b.owing > 0))
}

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
	h.holds, h.away = h.size(), true
	b.pay(h)
}

// Leave is Away for one who has no memory any more.
func (h *Holder) Leave() {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	h.away = true
	b.holders = slices.DeleteFunc(b.holders, func(other *Holder) bool { return other == h })
	b.pay(h)
}

// poll looks at the memory in use, and returns what h has to shed.
func (h *Holder) poll() Step {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	h.holds = h.size()
	if h.away {
		b.welcome(h)
	}
	b.look()
	switch {
	case b.mustWait():
		// Others use the processors that the collector needs, or have not shed.
		b.collect()
		b.judge(false)
	case b.owing == 0 && b.usage.collections > b.judged:
		b.judge(false)
	}
	known := h.round == b.round
	if h.round = b.round; known || !h.owes {
		return 0
	}
	h.done = min(h.done+1, All)
	return h.done
}

// welcome takes back h, who was away. What it has not shed of what others have is its next.
func (b *Budget) welcome(h *Holder) {
	h.away = false
	if !slices.Contains(b.holders, h) {
		h.done = 0
		b.holders = append(b.holders, h)
	}
	switch {
	case !b.shedding.Load() || !h.mayShed():
	case b.owing == 0:
		if !b.largestIsBehind() {
			b.begin()
		}
	case h.round != b.round && h.mayGoOn(b.largest()):
		h.owes = true
		b.owing++
	}
}

// mustWait reports whether the collector is to be waited for: there is much, of which it
// can free some.
func (b *Budget) mustWait() bool {
	u := &b.usage
	return u.objects > b.mark(waitMark, waitAbove) && u.objects > u.live+b.share(newShare) ||
		u.isNear(b.cap) && u.objects+u.free > u.live+2*b.share(newShare)
}

// paid tells that h has shed.
func (h *Holder) paid() {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.round == b.round { // else there is another, in which it has not
		b.pay(h)
	}
}

// pay has h owe nothing in this round.
func (b *Budget) pay(h *Holder) {
	if !h.owes {
		return
	}
	h.owes = false
	if b.owing--; b.owing == 0 {
		b.settle()
	}
}

// settle ends a round in which all holders have shed. The others do, and the collector is
// waited for: what was shed is memory again before more is taken.
func (b *Budget) settle() {
	b.shedOthers()
	b.collect()
	b.judge(true)
}

// judge judges what the last collection has found in use; over tells that a round is over.
func (b *Budget) judge(over bool) {
	live := b.usage.live
	b.judged = b.usage.collections
	b.floor = min(b.floor, live)
	switch {
	case b.shedding.Load() && live <= b.mark(enoughMark, enoughAbove):
		b.end()
	case over && b.last && !slices.ContainsFunc(b.holders, (*Holder).mayShed):
		b.floor = live
		b.end()
	case over && b.last: // nothing more until somebody is back, or much is in use again
	case b.owing == 0 && !over && live <= b.mark(shedMark, shedAbove):
	case b.shedding.Load() && b.largestIsBehind() && live <= b.mark(awayMark, awayAbove):
	case !b.shedding.Load() && b.keptSuffices():
	default:
		b.begin()
	}
	b.setLimit()
}

// keptSuffices has those shed who hold what was told already, and reports whether that is
// enough: nobody has to tell less for it then.
func (b *Budget) keptSuffices() bool {
	if !b.shedOthers() {
		return false
	}
	b.round++
	b.call.Store(2 * b.round)
	b.collect()
	b.judged = b.usage.collections
	return b.usage.live <= b.mark(keptMark, keptAbove)
}

// shedOthers has those shed who don't look, and reports whether they had anything.
func (b *Budget) shedOthers() (some bool) {
	for _, shed := range b.others {
		some = shed() || some
	}
	return some
}

// largest returns who holds the most; nil if nobody holds anything.
func (b *Budget) largest() *Holder {
	if len(b.holders) == 0 {
		return nil
	}
	return slices.MaxFunc(b.holders, func(x, y *Holder) int { return cmp.Compare(x.holds, y.holds) })
}

// largestIsBehind reports whether who holds the most is away, and others have shed more.
func (b *Budget) largestIsBehind() bool {
	l := b.largest()
	return l != nil && l.away && slices.ContainsFunc(b.holders, func(h *Holder) bool { return !h.away && h.done > l.done })
}

// mayGoOn reports whether h goes no farther than who holds the most, if that one is there.
func (h *Holder) mayGoOn(largest *Holder) bool { return largest.away || h.done <= largest.done }

// mayShed reports whether h has not shed all since the rounds began.
func (h *Holder) mayShed() bool { return h.done < All }

// begin begins a round for all who are there, but for those who are ahead of who holds the
// most. If nobody is there, it is over before it begins.
func (b *Budget) begin() {
	b.last, b.owing = true, 0
	largest := b.largest()
	for _, h := range b.holders {
		if h.owes = !h.away && h.mayGoOn(largest); h.owes {
			b.owing++
			b.last = b.last && h.done+1 >= All
		}
	}
	b.round++
	b.call.Store(2 * b.round)
	b.shedding.Store(true)
}

// end ends the rounds.
func (b *Budget) end() {
	b.last, b.owing = false, 0
	for _, h := range b.holders {
		h.done, h.owes = 0, false
	}
	b.shedding.Store(false)
}

// collect has the collector run, and waits for it.
func (b *Budget) collect() {
	b.call.Add(1)
	if b.usage.isNear(b.cap) {
		debug.FreeOSMemory() // which collects first
	} else {
		runtime.GC()
	}
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
