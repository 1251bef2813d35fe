package reassembly

import (
	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// Assembler reassembles all TCP connections of one source. It is not safe for
// concurrent use.
type Assembler struct {
	cfg        Config // with defaults
	newHandler NewHandler

	conns       table
	lists       [numLists]ageList
	free        []*connection
	chunk       []connection // never used yet
	freePending []*pending

	history history
	holes   deadlines // but those in awaited
	awaited deadlines // holes that the peer's ACKs stand before
	buffers buffers
	charge  int // of all queues

	clock     Clock // for Segment and Advance
	now       int64
	number    uint64 // of the instant
	turn      uint64 // as in Turn
	nextSweep int64
	due       []*connection // scratch
	fit       []piece       // scratch
	stats     Stats
}

// NewHandler returns who takes what connection c carries, nil if that is of no interest.
// It is called right before the first Data or Gap of c, so that a connection without any
// costs no handler; c is the same, and kept up to date, until Close returns. first are the
// bytes of direction d that Data hands over then, nil before a Gap.
type NewHandler func(c *Conn, d flow.Direction, first []byte) Handler

// New returns an assembler that hands each connection to a handler of newHandler's.
func New(cfg Config, newHandler NewHandler) *Assembler {
	cfg = cfg.withDefaults()
	return &Assembler{
		cfg:        cfg,
		newHandler: newHandler,
		conns:      newTable(),
		history:    newHistory(cfg.History),
		lists: [numLists]ageList{
			listEmbryonic:   newAgeList(cfg.EmbryonicTimeout),
			listEstablished: newAgeList(cfg.IdleTimeout),
		},
		buffers: buffers{limit: cfg.MaxQueuedTotal / 8},
	}
}

// Advance tells the packet time when no segment does: it closes connections
// and declares holes whose time is over.
func (a *Assembler) Advance(now int64) {
	a.nextSweep = 0
	a.AdvanceTo(a.clock.Tick(now))
}

// CloseAll closes every connection, those known for longest first. Use
// CloseEndOfCapture when the source ended and CloseSourceLost when it failed.
// The assembler is as new afterwards, but for its counters.
func (a *Assembler) CloseAll(time int64, r CloseReason) {
	a.due = a.due[:0]
	for _, k := range []listKind{listEstablished, listEmbryonic} {
		for c := a.lists[k].first; c != nil; c = c.next {
			a.due = append(a.due, c)
		}
	}
	a.each(func(c *connection) { a.close(c, time, r) })
	a.due = nil          // as large as the table was
	a.conns = newTable() // all that is left are tuples
}

// Stats returns the counters as they stand.
func (a *Assembler) Stats() Stats {
	s := a.stats
	s.Active = a.lists[listEmbryonic].count + a.lists[listEstablished].count
	s.Lingering, s.Remembered, s.Beyond, s.Charge = a.conns.tuples.count, a.history.count(), a.history.beyond, a.charge
	return s
}

// irregular takes a segment that is not simply the next of an established
// connection; c is nil if the tuple is not known.
func (a *Assembler) irregular(c *connection, s *packet.Segment, time int64) {
	if c != nil && c.holed() {
		a.declareDue(c) // before the segment, since it may fill what is lost by now
		if h := c.resetBy(); h != nil && h.resetBefore(s) {
			a.finishReset(h)
		}
		if c.closed {
			if _, i := a.conns.find(&s.Key); a.late(i, s, time) {
				return
			}
			c = nil
		}
	}
	switch {
	case c == nil:
	case a.silent(c):
		a.expire(c)
		c = nil
	case c.half[s.Dir&1].mayRepeat(s) && a.history.copied(c.half[s.Dir&1].recent, s, time, int64(a.cfg.CopyWindow)):
		a.copied(s)
		return
	}
	if s.Flags.Has(packet.FlagRST) {
		a.reset(c, s, time)
		return
	}
	if c == nil {
		if s.Flags.Has(packet.FlagFIN) && len(s.Payload)+s.Missing == 0 {
			// Dropped because the end of a connection nobody saw is no
			// connection: it would be counted, and live until its timeout.
			a.stats.StraySegments++
			return
		}
		c = a.admit(s, time)
	}
	a.attach(c)
	c = a.reopened(c, s, time)
	if s.Flags.Has(packet.FlagSYN) {
		next := a.syn(c, s, time)
		if next == nil {
			a.release(c)
			return
		}
		c = next
	}
	a.touch(c)
	c.lastTime = time
	a.follow(c, s, time)
	if !c.closed {
		a.release(c)
	}
}

// admit makes a connection of the tuple of s.
func (a *Assembler) admit(s *packet.Segment, time int64) *connection {
	if a.conns.count() >= a.cfg.MaxConnections {
		a.evict()
	}
	c := a.connection()
	c.Key, c.Start, c.born = s.Key, time, a.number
	c.Midstream = !s.Flags.Has(packet.FlagSYN)
	c.Touched, c.lastTime = a.now, time
	a.conns.insert(c, &s.Key)
	a.enlist(c, listEmbryonic)
	a.stats.Opened++
	return c
}

// follow takes the numbers and the payload of a segment that belongs to c.
func (a *Assembler) follow(c *connection, s *packet.Segment, time int64) {
	h := &c.half[s.Dir&1]
	o := h.peer()
	syn, ack, empty := s.Flags.Has(packet.FlagSYN), s.Flags.Has(packet.FlagACK), len(s.Payload)+s.Missing == 0
	start := a.locate(h, s, time)
	var in arrival // field by field, as in identity.set
	in.payload, in.missing, in.fin, in.time = s.Payload, s.Missing, s.Flags.Has(packet.FlagFIN) && !syn, time
	in.urgent, in.acked = a.urgent(s, start), a.heed(o, s)
	if syn && !ack {
		a.hold(h, &in)
	} else {
		a.receive(h, start, &in)
	}
	if c.closed {
		return // the FIN of both directions was reached
	}
	if syn && (empty || !ack) {
		c.Unseen.set(h.dir, false)
	} else {
		a.saw(c, h, !empty)
	}
	a.settle(h)
	a.settle(o)
	a.limit(c, h)
	if !c.closed && c.holed() {
		a.declareDue(c)
		a.endReset(c)
	}
}

// locate returns the stream offset of the first byte of s, which h sends, and adds s to the
// history.
func (a *Assembler) locate(h *half, s *packet.Segment, time int64) int64 {
	syn, fin, empty := s.Flags.Has(packet.FlagSYN), s.Flags.Has(packet.FlagFIN), len(s.Payload)+s.Missing == 0
	seq := s.Seq
	if syn {
		seq++
	}
	switch {
	case !h.synced:
		h.sync(seq)
		h.soft = empty && !syn && !fin
		h.afloat = !empty && !syn && h.conn.InitialSeqKnown[h.dir.Reverse()]
	case h.afloat && !empty && h.next-seq < maxReordered:
		h.shift(seq)
	case h.uncounted && !empty && !syn:
		h.recount(seq)
	}
	start := h.pos(seq)
	if !empty || syn || fin {
		a.remember(h, s, start, time)
	}
	return start
}

// heed takes what s acknowledges of h, and returns up to which offset; -1 if that is not known.
func (a *Assembler) heed(h *half, s *packet.Segment) int64 {
	if !s.Flags.Has(packet.FlagACK) || h.conn.challenged(s) {
		return -1
	}
	h.conn.choose(s)
	if h.synced {
		a.acknowledge(h, s.Ack)
	} else {
		h.sync(s.Ack)
	}
	return h.acked(s.Ack)
}

// limit gives up holes until what waits is within its bounds: that of h, which is of c, and
// that of all.
func (a *Assembler) limit(c *connection, h *half) {
	for !c.closed && h.pending != nil && (h.charge > a.cfg.MaxHoleBytes || len(h.pieces) > maxPieces) {
		a.stats.StreamShed++
		a.declare(h)
	}
	for a.charge > a.cfg.MaxQueuedTotal {
		oldest := a.oldestHole()
		if oldest == nil {
			return
		}
		a.stats.Shed++
		a.declare(oldest)
	}
}

// remember compares a segment at offset start with what was seen of it before,
// and adds it to the history.
func (a *Assembler) remember(h *half, s *packet.Segment, start, time int64) {
	if start < h.offset && a.history.differs(h, s) {
		a.conflict(h) // and not remembered: the first bytes stay
		return
	}
	a.history.note(h, s, time)
}

// urgent returns the offset of the byte that a segment at offset start wants
// taken out of the stream, -1 if there is none. The pointer is taken to point
// behind the byte, as all sockets do, and not at it, as RFC 1122 had it (RFC
// 6093 §3.1).
func (a *Assembler) urgent(s *packet.Segment, start int64) int64 {
	if !s.Flags.Has(packet.FlagURG) || s.Urgent == 0 {
		return -1
	}
	a.stats.UrgentSegments++
	if !a.cfg.UrgentOutOfBand {
		return -1
	}
	return start + int64(s.Urgent) - 1
}

// conflict notes that bytes of h came again and were others.
func (a *Assembler) conflict(h *half) {
	a.stats.Conflicts++
	h.conn.Conflict.set(h.dir, true)
}

// copied counts a segment that was captured before.
func (a *Assembler) copied(s *packet.Segment) {
	a.stats.Copies++
	a.stats.CopyBytes += uint64(len(s.Payload))
}

// drop counts n bytes of payload dropped.
func (a *Assembler) drop(r DropReason, n int) { a.stats.DroppedBytes[r] += uint64(n) }
