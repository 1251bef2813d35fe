package reassembly

// close tells the handler of c the rest and forgets c, but for its tuple after
// FIN and RST. The client's direction goes first. The reason told is CloseFIN
// if that rest ends with both FINs: then the connection was over, whatever made
// the assembler look.
func (a *Assembler) close(c *connection, time int64, r CloseReason) {
	c.closed = true
	a.attach(c)
	told := r
	by := c.resetBy()
	if by != nil {
		told, time = CloseRST, by.resetTime
	}
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
