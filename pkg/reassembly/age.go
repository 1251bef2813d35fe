package reassembly

import (
	"cmp"
	"slices"
	"time"
)

// ageList holds connections of one kind in the order of their last activity,
// oldest first, so that timeouts never need a scan. The order is kept to within
// grain, which saves moving a busy connection on each segment.
type ageList struct {
	first, last *connection
	count       int
	timeout     int64
	grain       int64
}

// listKind names an ageList of an assembler.
type listKind uint8

const (
	listNone        listKind = iota
	listEmbryonic            // only the first steps of a handshake were seen
	listEstablished          // more was seen
	numLists
)

// maxGrain bounds how late a timeout may be noticed.
const maxGrain = 250e6

func newAgeList(timeout time.Duration) ageList {
	return ageList{timeout: int64(timeout), grain: min(int64(timeout)/64, maxGrain)}
}

// append puts c at the young end.
func (l *ageList) append(c *connection, now int64) {
	c.settled = now + l.grain
	c.prev, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.count++
}

func (l *ageList) remove(c *connection) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
	l.count--
}

// enlist takes c out of the list that it is in, and puts it into another one.
func (a *Assembler) enlist(c *connection, k listKind) {
	if c.list != listNone {
		a.lists[c.list].remove(c)
	}
	if c.list = k; k != listNone {
		a.lists[k].append(c, a.now)
	}
}

// touch notes activity of c.
func (a *Assembler) touch(c *connection) {
	c.Touched = a.now
	if a.now > c.settled {
		a.enlist(c, c.list)
	}
}

// silent reports whether c has been silent too long.
func (a *Assembler) silent(c *connection) bool {
	return c.Touched+a.lists[c.list].timeout <= a.now
}

// sweepInterval is how often connections to close are looked for. Nanoseconds.
const sweepInterval = 250e6

// AdvanceTo declares the holes and closes the connections whose time is over.
// What is done to one connection depends on no other, and connections are dealt
// with in the order in which they came; so if the connections of a source are
// divided among assemblers that are advanced to the same instants, their
// handlers are told the same, and Turn tells the order.
func (a *Assembler) AdvanceTo(at Instant) {
	a.now, a.number = at.Now, at.Number
	a.due = a.holes.due(a.now, 0, a.due[:0])
	a.due = a.awaited.due(a.now, 0, a.due)
	if a.now >= a.nextSweep {
		a.nextSweep = a.now + sweepInterval
		for k := listEmbryonic; k < numLists; k++ {
			// Listed since settled less the grain, which is at most last.
			l := &a.lists[k]
			for c := l.first; c != nil && c.settled-l.grain+l.timeout <= a.now; c = c.next {
				if a.silent(c) {
					a.due = append(a.due, c)
				}
			}
		}
		a.forgetTuples(int64(a.cfg.Linger))
	}
	if len(a.due) == 0 {
		return
	}
	a.each(func(c *connection) {
		a.declareDue(c)
		if !c.closed && a.silent(c) {
			a.expire(c)
		}
	})
}

// each calls f for the connections in a.due, once each, in the order in which
// they came.
func (a *Assembler) each(f func(*connection)) {
	slices.SortFunc(a.due, func(x, y *connection) int { return cmp.Compare(x.born, y.born) })
	for _, c := range slices.Compact(a.due) {
		a.turn = c.born
		f(c)
	}
	a.turn = 0
	clear(a.due)
}

// Turn returns, while AdvanceTo, Advance or CloseAll call a handler, the number
// of the instant at which its connection came; else 0.
func (a *Assembler) Turn() uint64 { return a.turn }

// expire ends a connection that is due.
func (a *Assembler) expire(c *connection) { a.close(c, c.lastTime, CloseTimeout) }

// evict makes room for one connection. Tuples that linger go first, since they
// only serve to recognise late segments. A flood of SYNs may take up to half of
// the table; beyond that it pays for itself. Else the least recently active
// connection goes.
func (a *Assembler) evict() {
	if i := a.conns.tuples.oldest(); i != 0 {
		a.stats.EvictedTuples++
		a.conns.forgetTuple(i)
		return
	}
	embryonic := &a.lists[listEmbryonic]
	c, e := a.lists[listEstablished].first, embryonic.first
	if c == nil || e != nil && (embryonic.count > a.cfg.MaxConnections/2 || e.Touched < c.Touched) {
		c = e
	}
	a.close(c, c.lastTime, CloseEvicted)
}
