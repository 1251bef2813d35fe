// Package memory keeps the process below a cap.
//
// No room can tell what all of them hold together, and an estimate of what a
// parser's structures weigh is never as true as the garbage collector's own
// count. So the collector is asked: it keeps the process below a limit under the
// cap as long as what is in use allows for that, and whenever it finds more in
// use than a share of the cap, the engines are told to shed.
package memory

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// Shares of the cap, in percent. What is between them is room for what comes
// in while the collector is counting.
const (
	limitShare = 65 // where the collector runs at the latest
	shedShare  = 40 // from where on too much is in use
	waitShare  = 68 // from where on, garbage included, the collector is waited for
	newShare   = 2  // if so much came since it ran

	// So many hard rounds, by the last of which all engines have shed, that free less than
	// vainShare are in vain: what is in use is nobody's to shed, such as buffers. There is no
	// further one until more is in use, by moreShare, or, from scarceShare on, by newShare, or
	// shedding may help again, since less is, by moreShare; or alwaysShare is in use.
	vainRounds  = 3
	vainShare   = 1
	moreShare   = 5
	scarceShare = 60
	alwaysShare = 72
)

// gcPercent is what GOGC is by default: since there is a limit, the collector can
// run less often below it, which saves an engine with little in use, that
// allocates much, a sixth of its time.
const gcPercent = 400

// Budget watches over a cap on the memory that Go's runtime has from the system.
// Any goroutine may use it.
type Budget struct {
	limit    uint64
	previous int64 // the limit before
	percent  int   // GOGC before

	// call is twice the number of the round, and one more while the collector is waited
	// for.
	call atomic.Uint64

	mu        sync.Mutex
	samples   []metrics.Sample
	next      uint64 // collection from which on to judge again
	need      Need
	collected uint64 // round
	pressed   bool   // something was shed, and since then nothing was found to be enough
	hard      int    // hard rounds in a row that freed nothing
	found     uint64 // in use when these began
	vain      uint64 // in use after hard rounds that were in vain; 0 if there were none
	others    []func()
}

// Need is what has to be shed.
type Need struct {
	// Round counts the times that something had to be: whoever holds memory
	// sheds once in each.
	Round uint64
	// Hard tells that the last round, without it, was not enough.
	Hard bool
}

// The metrics asked for.
const (
	cyclesMetric = "/gc/cycles/total:gc-cycles"
	liveMetric   = "/gc/heap/live:bytes"
	heapMetric   = "/memory/classes/heap/objects:bytes"
)

// NewBudget makes limit, in bytes, the cap of the process, until Close.
func NewBudget(limit uint64) *Budget {
	b := &Budget{limit: limit, samples: []metrics.Sample{{Name: cyclesMetric}, {Name: liveMetric}, {Name: heapMetric}}}
	b.previous = debug.SetMemoryLimit(int64(limit / 100 * limitShare))
	b.percent = debug.SetGCPercent(gcPercent)
	if os.Getenv("GOGC") != "" {
		debug.SetGCPercent(b.percent)
	}
	return b
}

// Close lifts the cap.
func (b *Budget) Close() {
	debug.SetMemoryLimit(b.previous)
	debug.SetGCPercent(b.percent)
}

// Limit returns the cap in bytes.
func (b *Budget) Limit() uint64 { return b.limit }

// Poll returns what has to be shed by now. It takes about a microsecond, but
// for the times when it has to wait for the collector.
func (b *Budget) Poll() Need {
	b.mu.Lock()
	defer b.mu.Unlock()
	metrics.Read(b.samples)
	live, heap := b.samples[1].Value.Uint64(), b.samples[2].Value.Uint64()
	if heap > b.limit/100*waitShare && heap > live+b.limit/100*newShare {
		// Others use the processors that the collector needs.
		b.collect()
		metrics.Read(b.samples)
	}
	cycles := b.samples[0].Value.Uint64()
	live = b.samples[1].Value.Uint64()
	if cycles < b.next {
		return b.need
	}
	b.next = cycles + 1
	if b.isTooMuch(live) {
		b.need.Hard, b.pressed = b.pressed, true
		b.need.Round++
		if b.need.Hard {
			b.hard++
		}
		if b.hard <= 1 {
			b.found = live
		}
		b.call.Store(2 * b.need.Round)
	}
	return b.need
}

// Calls reports whether Poll should be called before more memory is taken: somebody
// else's call has found that there is a further round than this one, or waits for the
// collector. It costs about nothing.
func (b *Budget) Calls(round uint64) bool { return b.call.Load() != 2*round }

// collect has the collector run, and waits for it.
func (b *Budget) collect() {
	b.call.Add(1)
	runtime.GC()
	b.call.Add(^uint64(0))
}

// isTooMuch judges what is in use.
func (b *Budget) isTooMuch(live uint64) bool {
	percent := b.limit / 100
	if live <= percent*shedShare {
		b.pressed, b.hard, b.vain = false, 0, 0
		return false
	}
	always := live > percent*alwaysShare
	switch {
	case live+percent*vainShare <= b.found:
		b.hard = 0
	case b.hard >= vainRounds:
		b.pressed, b.hard, b.vain = always, 0, live
	}
	if live+percent*moreShare < b.vain {
		b.vain = 0
	}
	more := percent * moreShare
	if live > percent*scarceShare {
		more = percent * newShare
	}
	return b.vain == 0 || live > b.vain+more || always
}

// OnShed has shed called once in each round, for those who hold memory and don't
// poll. It must not use b.
func (b *Budget) OnShed(shed func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.others = append(b.others, shed)
}

// Collect has the others shed, then the collector run, and waits for it, once in a
// round: what was shed is memory again before more is taken, and the next judgement
// knows it.
func (b *Budget) Collect(round uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.collected == round {
		return
	}
	b.collected = round
	for _, shed := range b.others {
		shed()
	}
	b.collect()
}

// InUse returns the bytes that the last collection found in use.
func InUse() uint64 {
	s := []metrics.Sample{{Name: liveMetric}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
