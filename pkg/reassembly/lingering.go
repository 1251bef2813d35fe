package reassembly

import (
	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// linger makes a tuple of c, which r has closed.
func (a *Assembler) linger(c *connection, r CloseReason) {
	t := a.conns.tuples.at(a.conns.linger(c))
	t.key, t.queued, t.last, t.closedBy, t.closedDir = c.Key, a.now, a.now, r, c.closedDir
	for d := range c.half {
		h := &c.half[d]
		t.half[d], t.synced[d] = closedHalf{h.next - uint32(h.offset), h.next, h.recent}, h.synced
	}
}

// resetAt notes the number of the reset, of direction d, that has closed t. It may be ahead
// of what was seen, if its sender's data was lost, or is still to come: such is late, too.
func (t *tuple) resetAt(d flow.Direction, seq uint32) {
	if ahead := int32(seq - t.half[d].next); !t.synced[d] || ahead > 0 && ahead <= maxReordered {
		t.half[d].next = seq
	}
}

// late takes a segment of a tuple, and reports whether it belongs to that: if not,
// the tuple is forgotten.
func (a *Assembler) late(i uint32, s *packet.Segment, time int64) bool {
	t := a.conns.tuples.at(i)
	switch {
	case t.last+int64(a.cfg.Linger) <= a.now:
	case t.mayRepeat(s) && a.history.copied(t.half[s.Dir&1].recent, s, time, int64(a.cfg.CopyWindow)):
		a.copied(s)
		return true
	case !t.reopenedBy(s):
		a.stats.LateSegments++
		if noted(s) {
			t.last = a.now // more may follow: a retransmission waits longer each time
		}
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

// forgetTuples forgets those that have lingered for that time, nanoseconds. One that
// had segments meanwhile lingers once more.
func (a *Assembler) forgetTuples(time int64) {
	q := &a.conns.tuples
	for i := q.oldest(); i != 0; i = q.oldest() {
		switch t := q.at(i); {
		case t.queued+time > a.now:
			return
		case t.last+time > a.now:
			a.conns.requeue(i, a.now)
		default:
			a.conns.forgetTuple(i)
		}
	}
}
