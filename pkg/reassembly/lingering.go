package reassembly

import (
	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// tuple is what is kept of a connection that is closed, for its late segments. There
// may be very many, so it has what these take and no pointer.
type tuple struct {
	key        flow.Key
	half       [2]closedHalf
	prev, next uint32 // in the list
	last       int64  // assembler time of the last segment
	synced     [2]bool
	closedBy   CloseReason
	closedDir  flow.Direction // of the segment that closed it
}

// closedHalf is one direction of a tuple.
type closedHalf struct {
	first  uint32 // sequence number of stream offset 0
	next   uint32 // that of what would have come
	recent uint32 // as in half
}

// tuples holds tuples by number, from 1 on, and in the order of their last
// segments.
type tuples struct {
	blocks [][]tuple // number 0 is the list's ends: its next is the oldest, its prev the youngest
	free   uint32    // the first of those not in use, by next
	count  int
}

// tupleBlock is how many tuples are allocated at a time: a power of two.
const tupleBlock = 64

func (l *tuples) at(i uint32) *tuple { return &l.blocks[i/tupleBlock][i%tupleBlock] }

// oldest returns the number of the tuple that was silent for longest, 0 if there is
// none.
func (l *tuples) oldest() uint32 {
	if l.count == 0 {
		return 0
	}
	return l.at(0).next
}

// add returns the number of a tuple that is the youngest of the list and has nothing
// else in it.
func (l *tuples) add() uint32 {
	if len(l.blocks) == 0 || l.free == 0 && l.count+1 == len(l.blocks)*tupleBlock {
		l.blocks = append(l.blocks, make([]tuple, tupleBlock))
	}
	i := l.free
	if i == 0 {
		i = uint32(l.count + 1) // the first never used, as none is free
	} else {
		l.free = l.at(i).next
	}
	*l.at(i) = tuple{}
	l.append(i)
	l.count++
	return i
}

// remove frees number i.
func (l *tuples) remove(i uint32) {
	l.unlink(i)
	l.at(i).next = l.free
	l.free = i
	l.count--
}

// append makes i the youngest.
func (l *tuples) append(i uint32) {
	ends, t := l.at(0), l.at(i)
	t.prev, t.next = ends.prev, 0
	l.at(ends.prev).next = i
	ends.prev = i
}

func (l *tuples) unlink(i uint32) {
	t := l.at(i)
	l.at(t.prev).next, l.at(t.next).prev = t.next, t.prev
}

// linger makes a tuple of c, which r has closed.
func (a *Assembler) linger(c *connection, r CloseReason) {
	t := a.conns.tuples.at(a.conns.linger(c))
	t.key, t.last, t.closedBy, t.closedDir = c.Key, a.now, r, c.closedDir
	for d := range c.half {
		h := &c.half[d]
		t.half[d], t.synced[d] = closedHalf{h.next - uint32(h.offset), h.next, h.recent}, h.synced
	}
}

// late takes a segment of a tuple, and reports whether it belongs to that: if not,
// the tuple is forgotten.
func (a *Assembler) late(i uint32, s *packet.Segment, time int64) bool {
	l := &a.conns.tuples
	t := l.at(i)
	switch {
	case t.last+int64(a.cfg.Linger) <= a.now:
	case t.mayRepeat(s) && a.history.copied(t.half[s.Dir&1].recent, s, time, int64(a.cfg.CopyWindow)):
		a.copied(s)
		return true
	case !t.reopenedBy(s):
		a.stats.LateSegments++
		t.last = a.now // more may follow: a retransmission waits longer each time
		l.unlink(i)
		l.append(i)
		a.drop(DropAfterClose, len(s.Payload))
		return true
	}
	a.conns.forgetTuple(i)
	return false
}

// mayRepeat is half.mayRepeat.
func (t *tuple) mayRepeat(s *packet.Segment) bool {
	d := s.Dir & 1
	return noted(s) && (s.Flags&(packet.FlagSYN|packet.FlagRST|packet.FlagFIN) != 0 || !t.synced[d] || int32(s.Seq-t.half[d].next) < 0)
}

// reopenedBy reports whether s starts a new connection on the tuple.
func (t *tuple) reopenedBy(s *packet.Segment) bool {
	d := s.Dir & 1
	h := &t.half[d]
	switch {
	case s.Flags.Has(packet.FlagRST):
		return false
	case s.Flags.Has(packet.FlagSYN):
		return !t.synced[d] || h.first != s.Seq+1
	}
	// An end that has reset a connection sends no data on it: the reset was
	// forged, and the data shows that the connection goes on.
	return t.closedBy == CloseRST && t.closedDir == d && len(s.Payload) > 0 && int32(s.Seq-h.next) >= 0
}

// forgetTuples forgets those that have lingered for that time, nanoseconds.
func (a *Assembler) forgetTuples(time int64) {
	l := &a.conns.tuples
	for i := l.oldest(); i != 0 && l.at(i).last+time <= a.now; i = l.oldest() {
		a.conns.forgetTuple(i)
	}
}
