package reassembly

import (
	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// Segment takes the next segment of the source, captured at time (nanoseconds).
// s and its payload are not kept.
//
// A segment in order, and a bare ACK that tells nothing new, take the way
// through here, SYNs and FINs in order that of usual; everything else is
// irregular's.
//
// Next: Handler.Data.
func (a *Assembler) Segment(s *packet.Segment, time int64) {
	at := a.clock.Tick(time)
	if at.Due {
		a.AdvanceTo(at)
	}
	a.SegmentAt(s, time, at)
}

// SegmentAt is Segment at an instant of a clock that is not the assembler's own,
// and whoever calls it calls AdvanceTo.
func (a *Assembler) SegmentAt(s *packet.Segment, time int64, at Instant) {
	a.enter(s, at)
	c, closed := a.conns.find(&s.Key)
	if c != nil && s.Flags&control == packet.FlagACK && s.Missing == 0 && !a.silent(c) {
		h, o := &c.half[s.Dir&1], &c.half[s.Dir&1^1]
		if h.plain && o.plain && s.Seq == h.next && int32(s.Ack-o.next) <= 0 && (len(s.Payload) == 0 || !h.over()) &&
			(c.established || a.greeted(c, h, o, s)) {
			a.touch(c)
			c.lastTime = time
			if len(s.Payload) > 0 {
				a.history.note(h, s, time)
				a.deliver(c, h, s.Payload, time, o.acked(s.Ack))
			}
			return
		}
	}
	if closed != 0 && a.late(closed, s, time) {
		return
	}
	if !a.usual(c, s, time) {
		a.irregular(c, s, time)
	}
}

// control are the flags that make a difference to what a segment is.
const control = packet.FlagSYN | packet.FlagFIN | packet.FlagRST | packet.FlagACK | packet.FlagURG

// enter counts a segment.
func (a *Assembler) enter(s *packet.Segment, at Instant) {
	a.now, a.number, a.history.now = at.Now, at.Number, uint32(at.Number)
	a.stats.Segments++
	a.stats.PayloadBytes += uint64(len(s.Payload))
	a.stats.MissingBytes += uint64(s.Missing)
}

// greeted takes a segment in order of a connection that isn't established, which
// it may be with that: it reports whether there is no more to it.
func (a *Assembler) greeted(c *connection, h, o *half, s *packet.Segment) bool {
	if h.pending != nil || o.pending != nil || s.Ack != o.next {
		return false
	}
	a.saw(c, h, len(s.Payload) > 0)
	return true
}

// saw notes that a segment of h was seen, with data or what else shows that the
// handshake is over if the other end was seen, too.
func (a *Assembler) saw(c *connection, h *half, data bool) {
	c.Unseen.set(h.dir, false)
	if !c.established && (data || !c.Unseen.Has(h.dir.Reverse())) {
		c.established = true
		a.enlist(c, listEstablished)
	}
}

// deliver hands over the next bytes of h, a direction of c.
func (a *Assembler) deliver(c *connection, h *half, b []byte, time, acked int64) {
	if h.pending != nil && h.urgent >= 0 {
		if i := h.urgent - h.offset; i < int64(len(b)) {
			a.deliverAround(c, h, b, int(i), time, acked)
			return
		}
	}
	if c.Handler == nil {
		a.open(c, h.dir, b)
	}
	a.stats.DeliveredBytes += uint64(len(b))
	offset := h.offset - int64(h.oob)
	h.advance(int64(len(b)))
	c.Handler.Data(h.dir, Chunk{Time: time, Offset: offset, Acked: acked, Bytes: b})
}

// deliverAround is deliver for bytes of which the i-th is urgent and taken out.
func (a *Assembler) deliverAround(c *connection, h *half, b []byte, i int, time, acked int64) {
	h.urgent = -1
	if i > 0 {
		a.deliver(c, h, b[:i], time, acked)
	}
	h.advance(1)
	h.oob++
	a.drop(DropUrgent, 1)
	if i+1 < len(b) {
		a.deliver(c, h, b[i+1:], time, acked)
	}
}

// gap hands over a gap of g.Len bytes at the place reached.
func (a *Assembler) gap(h *half, g Gap) {
	c := h.conn
	if c.Handler == nil {
		a.open(c, h.dir, nil)
	}
	a.stats.Gaps++
	a.stats.GapBytes += uint64(g.Len)
	g.Offset = h.offset - int64(h.oob)
	h.advance(g.Len)
	c.Handler.Gap(h.dir, g)
}

// advance moves on by n bytes, which ends the hole there was.
func (h *half) advance(n int64) {
	h.next += uint32(n)
	h.offset += n
	if h.pending != nil {
		h.openedAt, h.ackedAt, h.missed = 0, 0, false
		if h.urgent < h.offset {
			h.urgent = -1
		}
	}
}

// open makes the handler of c, which begins with the bytes first of direction d or, where
// there are none, a gap, and tells it what it has missed.
func (a *Assembler) open(c *connection, d flow.Direction, first []byte) {
	c.Handler = a.newHandler(&c.Conn, d, first)
	if c.Handler == nil {
		c.Handler = discard{}
	}
	a.stats.Handlers++
	for d := range c.half {
		a.tellEnd(&c.half[d])
	}
}
