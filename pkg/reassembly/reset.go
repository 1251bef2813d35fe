package reassembly

import "capstan/pkg/packet"

// reset takes a segment with RST; c is nil if the tuple is not known.
//
// It closes the connection if its sequence number is exactly the next one, as
// resets tells. Any other is ignored: a stack answers it with a challenge ACK
// and goes on. One that was captured before what its sender had sent, or
// acknowledged, until then waits for that, AckTolerance at most.
func (a *Assembler) reset(c *connection, s *packet.Segment, time int64) {
	if c == nil {
		a.stats.IgnoredRST++
		a.stats.StraySegments++
		a.drop(DropStray, len(s.Payload))
		return
	}
	a.drop(DropRST, len(s.Payload))
	a.attach(c)
	h := &c.half[s.Dir&1]
	o := h.peer()
	a.history.note(h, s, time)
	switch {
	case c.resetBy() != nil:
	case h.resets(s):
		a.touch(c)
		c.lastTime = time
		h.reset, h.resetSeq, h.resetTime, h.resetAt = true, s.Seq, time, a.now
		if c.established && o.synced && s.Flags.Has(packet.FlagACK) && s.Ack-o.next < maxReordered {
			a.acknowledge(o, s.Ack)
		}
		a.settle(h)
		a.settle(o)
		a.endReset(c)
	default:
		a.stats.IgnoredRST++
	}
	if !c.closed {
		a.release(c)
	}
}

// resets reports whether s, which has RST, is not to be ignored: its sequence number is
// exactly the next one of h (RFC 5961 §3.2), where a capture with losses knows the next
// one in several ways: the next byte expected here, the byte the peer has acknowledged, or
// the one behind all that was seen. A reset that refuses a SYN has to acknowledge that SYN
// instead (RFC 9293 §3.10.7.3).
func (h *half) resets(s *packet.Segment) bool {
	if h.synced {
		p := h.pos(s.Seq)
		next := h.offset
		if h.ended {
			next++
		}
		tail := h.tail()
		if p == next || p == tail || h.finSeen && p == tail+1 || h.ackOff > h.offset && p == h.ackOff ||
			h.soft && h.virgin() && p == 1 {
			return true
		}
	}
	o := h.peer()
	if !s.Flags.Has(packet.FlagACK) || h.conn.InitialSeqKnown[h.dir] || !h.conn.InitialSeqKnown[o.dir] {
		return false
	}
	p := o.pos(s.Ack)
	return p == o.offset || p == o.tail()
}

// resetBy returns the direction that has reset c, if that still waits for what came before.
func (c *connection) resetBy() *half {
	for d := range c.half {
		if h := &c.half[d]; h.pending != nil && h.reset {
			return h
		}
	}
	return nil
}

// resetBefore reports whether s came after the reset of h, which waits: it starts another
// connection, or has data that h had not sent, or not acknowledged, by then.
func (h *half) resetBefore(s *packet.Segment) bool {
	from := &h.conn.half[s.Dir&1]
	switch {
	case s.Flags.Has(packet.FlagSYN):
		return !from.synced || from.pos(s.Seq) != -1
	case len(s.Payload)+s.Missing == 0:
		return false
	case from == h:
		return int32(s.Seq-h.resetSeq) >= 0
	case from.pending == nil:
		return from.pos(s.Seq) >= from.offset
	default:
		return from.pos(s.Seq) >= max(from.offset, from.ackOff)
	}
}

// endReset closes c if it was reset and nothing that came before is to be waited for.
func (a *Assembler) endReset(c *connection) {
	h := c.resetBy()
	if h != nil && (!c.established || a.cfg.AckTolerance == 0 || !h.lacks() && !h.peer().lacks()) {
		a.finishReset(h)
	}
}

// lacks reports whether some of h is missing, or waits.
func (h *half) lacks() bool {
	return len(h.pieces) > 0 || h.ackOff > h.offset || h.finSeen && !h.ended
}

// finishReset closes the connection that h has reset.
func (a *Assembler) finishReset(h *half) {
	c, seq := h.conn, h.resetSeq
	c.closedDir = h.dir
	a.close(c, h.resetTime, CloseRST)
	_, i := a.conns.find(&c.Key)
	a.conns.tuples.at(i).resetAt(c.closedDir, seq)
}
