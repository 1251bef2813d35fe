package reassembly

// holeEnd returns the offset where the hole at h.offset ends, or -1 if there is
// none, or none whose end is known well enough to be declared while the
// connection lives.
func (h *half) holeEnd() int64 {
	switch {
	case len(h.pieces) > 0:
		return h.pieces[0].off
	case h.ended:
		return -1
	case h.finSeen:
		return h.finOff
	}
	// Nothing was seen behind the hole. One segment alone, which may be stray,
	// must not move the stream: both ends have to agree.
	return h.unseen(min(h.ackOff, h.sentOff))
}

// unseen returns the end of the bytes that were sent and not captured, given
// that the sequence numbers up to end were used; -1 if there are none. Where
// the other direction has ended the last number is a FIN that was not captured
// either, and so it may be when there is only one.
func (h *half) unseen(end int64) int64 {
	if h.peer().finSeen {
		end--
	}
	if end-h.offset <= 1 {
		return -1
	}
	return end
}

// endUnseen reports whether the one sequence number behind what is known of h seems to
// be that of a FIN, as unseen tells.
func (h *half) endUnseen() bool {
	return h.synced && !h.finSeen && h.peer().ended && min(h.ackOff, h.sentOff) == h.offset+1
}

// settle brings deadline and fast path of h in line with its state. It has to
// follow whatever changes h outside the fast path.
func (a *Assembler) settle(h *half) {
	if !h.synced {
		return
	}
	h.plain = !h.soft && !h.conn.Unseen.Has(h.dir) && len(h.pieces) == 0 && (!h.finSeen || h.ended) && h.ackOff <= h.offset && h.sentOff <= h.offset && h.urgent < 0 && !h.rivalled && !h.uncounted && !h.reopens && !h.reset
	switch end := h.holeEnd(); {
	case h.reset:
		a.schedule(h, false, h.resetAt+int64(a.cfg.AckTolerance))
	case end < 0:
		h.asked = false
		a.unschedule(h)
	case h.waits():
		a.schedule(h, false, a.waitEnd(h))
	default:
		awaited, deadline := a.holeDeadline(h, end)
		a.schedule(h, awaited, deadline)
	}
}

// holeDeadline tells when the hole of h that ends at end is given up, and whether it is
// awaited until then.
func (a *Assembler) holeDeadline(h *half, end int64) (awaited bool, deadline int64) {
	if h.openedAt == 0 {
		h.openedAt = a.now
		if len(h.pieces) > 0 {
			h.openedAt = h.pieces[0].since
		}
	}
	if h.held {
		return false, h.openedAt + int64(a.cfg.EmbryonicTimeout)
	}
	deadline = h.openedAt + int64(a.cfg.HoleTimeout)
	if h.asked {
		// The holes behind it, too: what the peer has beyond it will be told once it is filled.
		deadline += a.patience()
	}
	if h.ackOff < end || h.ackOff == 0 && h.afloat {
		return h.asked, deadline
	}
	if h.ackedAt == 0 {
		h.ackedAt = a.now
		if len(h.pieces) > 0 {
			h.ackedAt = max(h.pieces[0].since, h.roseAt) // also while another hole was before it
		}
	}
	return false, min(deadline, h.ackedAt+int64(a.cfg.AckTolerance))
}

// patience is how much longer a hole in awaited may stay open than another one.
func (a *Assembler) patience() int64 { return int64(max(a.cfg.RetransmitTimeout-a.cfg.HoleTimeout, 0)) }

// oldestHole returns the direction whose hole is given up first where there is no
// room, or nil if there is none. That a hole may stay open for longer is no claim to
// the room: else who asks for what is never sent would have all of it.
func (a *Assembler) oldestHole() *half {
	switch {
	case len(a.awaited) > 0 && (len(a.holes) == 0 || a.awaited[0].deadline-a.patience() <= a.holes[0].deadline):
		return a.awaited[0]
	case len(a.holes) > 0:
		return a.holes[0]
	}
	return nil
}

// holed reports whether c has a hole that may be due.
func (c *connection) holed() bool {
	return c.half[0].pending != nil && c.half[0].slot != 0 || c.half[1].pending != nil && c.half[1].slot != 0
}

// declareDue declares the holes of c whose time is over.
func (a *Assembler) declareDue(c *connection) {
	for h := a.nextDue(c); h != nil; h = a.nextDue(c) {
		a.declare(h)
	}
}

// nextDue returns a direction of c with a hole whose time is over, or nil if there is
// none. One that waits for the other comes last: what it waits for may be behind the
// other's hole.
func (a *Assembler) nextDue(c *connection) (due *half) {
	for d := range c.half {
		h := &c.half[d]
		if !c.closed && h.pending != nil && h.slot != 0 && h.deadline <= a.now && (due == nil || due.waits()) {
			due = h
		}
	}
	return due
}

// declare gives up the hole of h and goes on behind it. The payload of a SYN
// that was never answered has no hole before it; it is dropped. Nor has what came
// before a SYN that never came: the stream begins with it.
func (a *Assembler) declare(h *half) {
	c := h.conn
	a.attach(c)
	if h.reset {
		a.finishReset(h)
	} else if h.held {
		a.refuse(h, DropSYN)
	} else if h.afloat {
		a.land(h)
	} else if h.waits() {
		a.waitNoMore(h)
	} else if end := h.holeEnd(); end >= 0 {
		a.lose(h, end)
		a.drain(h)
	}
	if !c.closed {
		a.settle(h)
		a.endReset(c)
	}
	if !c.closed {
		a.release(c)
	}
}

// lose hands over the hole up to end as a gap.
func (a *Assembler) lose(h *half, end int64) {
	time := h.conn.lastTime
	if len(h.pieces) > 0 {
		time = h.pieces[0].time
	} else if h.finSeen {
		time = h.finTime
	}
	a.gap(h, Gap{Time: time, Acked: -1, Len: end - h.offset})
}
