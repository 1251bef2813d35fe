package reassembly

import "capstan/pkg/packet"

// reset takes a segment with RST; c is nil if the tuple is not known.
//
// It closes the connection if its sequence number is exactly the next one (RFC
// 5961 §3.2), where a capture with losses knows the next one in several ways:
// the next byte expected here, the byte the peer has acknowledged, or the one
// behind all that was seen. A reset that refuses a SYN has to acknowledge that
// SYN instead (RFC 9293 §3.10.7.3). Any other is ignored: a stack answers it
// with a challenge ACK and goes on.
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
	valid := false
	if h.synced {
		p := h.pos(s.Seq)
		next := h.offset
		if h.ended {
			next++
		}
		tail := h.tail()
		valid = p == next || p == tail || h.finSeen && p == tail+1 || h.ackOff > h.offset && p == h.ackOff ||
			h.soft && h.virgin() && p == 1
	}
	if !valid && s.Flags.Has(packet.FlagACK) && !c.InitialSeqKnown[h.dir] && c.InitialSeqKnown[o.dir] {
		p := o.pos(s.Ack)
		valid = p == o.offset || p == o.tail()
	}
	if !valid {
		a.stats.IgnoredRST++
		a.release(c)
		return
	}
	a.touch(c)
	c.lastTime = time
	c.closedDir = h.dir
	a.close(c, time, CloseRST)
	_, i := a.conns.find(&s.Key)
	a.conns.tuples.at(i).resetAt(s)
}

// close tells the handler of c the rest and forgets c, but for its tuple after
// FIN and RST. The client's direction goes first. The reason told is CloseFIN
// if that rest ends with both FINs: then the connection was over, whatever made
// the assembler look.
func (a *Assembler) close(c *connection, time int64, r CloseReason) {
	c.closed = true
	a.attach(c)
	first := &c.half[0]
	if c.ClientKnown {
		first = &c.half[c.Client]
	}
	for a.flushNext(first) || a.flushNext(first.peer()) {
	}
	c.hurried = true
	a.flush(first)
	a.flush(first.peer())
	c.EndUnseen = first.endUnseen() || first.peer().endUnseen()
	told := r
	if c.half[0].ended && c.half[1].ended {
		told = CloseFIN
	}
	a.dispose(c, time, r, told)
}

// dispose forgets c, of which nothing is left to be told but told, the reason, as
// close does.
func (a *Assembler) dispose(c *connection, time int64, r, told CloseReason) {
	c.closed = true
	if c.Handler != nil {
		c.Handler.Close(time, told)
		c.Handler = nil
	}
	a.stats.Closed[told]++
	a.enlist(c, listNone)
	for d := range c.half {
		h := &c.half[d]
		if h.pending == nil {
			continue
		}
		a.unschedule(h)
		if h.ended {
			h.next-- // so that a SYN can be compared with the start of this stream
		}
		a.detach(h)
	}
	if r == CloseFIN || r == CloseRST {
		a.linger(c, r)
	} else {
		a.conns.forget(c)
	}
	if len(a.free) < maxFree {
		a.free = append(a.free, c)
	}
}

// maxFree bounds the connection structs kept for reuse.
const maxFree = 4096

// flush hands over all that waits in h, with the gaps between, and the gap at
// the end that the peer's ACK proves.
func (a *Assembler) flush(h *half) {
	if h.waits() {
		a.drain(h)
	}
	for a.flushNext(h) {
	}
}

// flushNext gives up the next hole of h and hands over what is behind it, but for what
// still waits for the other direction. It reports whether there was one.
func (a *Assembler) flushNext(h *half) bool {
	if h.held {
		a.refuse(h, DropSYN)
	}
	if h.afloat {
		a.land(h)
	}
	if !h.synced || h.waits() {
		return false
	}
	end := h.holeEnd()
	if end < 0 && !h.finSeen {
		end = h.unseen(h.ackOff)
	}
	if end < 0 {
		return false
	}
	a.lose(h, end)
	a.drain(h)
	return true
}
