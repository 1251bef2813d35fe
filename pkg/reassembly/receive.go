package reassembly

// maxJump is the longest hole that data alone can open: the largest window of
// TCP (RFC 7323 §2.3).
const maxJump = 1 << 30

// arrival is what a segment brings for its direction.
type arrival struct {
	payload []byte
	missing int // bytes after payload that a snap length cut off
	fin     bool
	time    int64
	acked   int64 // as in Chunk
	urgent  int64 // offset of the byte to be taken out, -1 if there is none
}

// receive takes payload and FIN of a segment whose first byte has the offset
// start.
func (a *Assembler) receive(h *half, start int64, in *arrival) {
	total := int64(len(in.payload) + in.missing)
	if total == 0 && !in.fin {
		if start > h.offset && start-h.offset <= maxJump && !h.ended {
			h.sentOff = max(h.sentOff, start)
		}
		return
	}
	if start-h.offset > maxJump && h.ackOff < start || total > maxJump {
		a.drop(DropOutOfWindow, len(in.payload))
		h.afloat = h.afloat && len(h.pieces) > 0
		return
	}
	if h.soft {
		h.soft = false
		if start == 1 && h.virgin() {
			h.next++ // the first segment was a keep-alive probe
			start = 0
		}
	}
	if h.held {
		a.judge(h, start)
	}
	if end := start + total; in.fin && !h.finSeen && end >= h.tail() {
		h.finSeen, h.finOff, h.finTime = true, end, in.time
	}
	if in.urgent >= h.offset {
		h.urgent = in.urgent
	}
	a.place(h, start, in)
	a.drain(h)
}

// place delivers or queues what is new of the payload.
func (a *Assembler) place(h *half, start int64, in *arrival) {
	a.cutEnd(h, start, in)
	left := len(in.payload)
	start = a.cutFront(h, start, in)
	if len(in.payload)+in.missing == 0 {
		if left > 0 {
			a.stats.Duplicates++
		}
		return
	}
	end := start + int64(len(in.payload)+in.missing)
	if start > h.offset || h.afloat || a.early(h, in.acked) || len(h.pieces) > 0 && end > h.pieces[0].off {
		if start > h.offset && !h.waits() {
			a.stats.OutOfOrder++
		}
		a.enqueue(h, start, in)
		return
	}
	if len(in.payload) > 0 {
		a.deliver(h.conn, h, in.payload, in.time, in.acked)
	}
	if in.missing > 0 {
		a.gap(h, Gap{Time: in.time, Acked: in.acked, Len: int64(in.missing)})
	}
}

// cutEnd cuts what lies beyond the FIN.
func (a *Assembler) cutEnd(h *half, start int64, in *arrival) {
	over := start + int64(len(in.payload)+in.missing) - h.finOff
	if !h.finSeen || over <= 0 {
		return
	}
	m := int(min(over, int64(in.missing)))
	in.missing -= m
	n := int(min(over-int64(m), int64(len(in.payload))))
	in.payload = in.payload[:len(in.payload)-n]
	a.drop(DropAfterFIN, n)
}

// cutFront cuts what was delivered before, or lies before the first byte known,
// and returns where what is left starts.
func (a *Assembler) cutFront(h *half, start int64, in *arrival) int64 {
	old := h.offset - start
	if old <= 0 {
		return start
	}
	n := min(old, int64(len(in.payload)))
	before := min(n, max(-start, 0))
	a.drop(DropBeforeStart, int(before))
	a.stats.DuplicateBytes += uint64(n - before)
	in.payload = in.payload[n:]
	in.missing -= int(min(old-n, int64(in.missing)))
	return h.offset
}

// acknowledge takes an acknowledgement number that the peer of h sent.
func (a *Assembler) acknowledge(h *half, ack uint32) {
	p := h.pos(ack)
	switch {
	case h.held:
		a.judge(h, p)
	case h.afloat && p <= 0:
		// As far as any ACK tells where a stream begins that has no SYN.
		h.shift(ack)
		a.land(h)
		return
	}
	if p <= h.offset {
		// The peer lacks what is missing here, or its ACK of that is on its way.
		h.asked = h.asked || p == h.offset && (len(h.pieces) > 0 || h.finSeen && !h.ended)
		return
	}
	if h.soft && h.virgin() && p == 1 {
		// What told where h stands was a keep-alive probe: one byte too low.
		h.next++
		h.soft = false
		return
	}
	if h.finSeen {
		p = min(p, h.finOff)
	}
	if p > h.ackOff {
		h.ackOff, h.roseAt = p, a.now
	}
}

// tellEnd tells the handler, if there is one, that h has ended, if it has.
func (a *Assembler) tellEnd(h *half) {
	if h.over() && !h.told && h.conn.Handler != nil {
		h.told = true
		h.conn.Handler.End(h.dir, h.finTime)
	}
}

// drain hands over the queued pieces that are next, and the FIN if it is; then those of
// the peer that have waited for these, and so on.
func (a *Assembler) drain(h *half) {
	o := h.peer()
	a.hand(h)
	for o.pending != nil && o.waits() && a.hand(o) { // nil: that was the end
		h, o = o, h
	}
}

// hand is drain for one direction. It reports whether there was anything to hand over.
func (a *Assembler) hand(h *half) bool {
	if h.afloat || h.held {
		return false
	}
	i := 0
	for ; i < len(h.pieces) && h.pieces[i].off == h.offset && !a.early(h, h.pieces[i].acked); i++ {
		p := &h.pieces[i]
		if p.buf == nil {
			a.gap(h, Gap{Time: p.time, Acked: p.acked, Len: int64(p.n)})
			continue
		}
		a.stats.QueuedBytes -= p.n
		a.deliver(h.conn, h, p.buf, p.time, p.acked)
	}
	if i > 0 {
		a.dequeue(h, i)
	}
	if h.finSeen && !h.ended && h.offset == h.finOff {
		a.reachEnd(h)
	}
	return i > 0
}

// reachEnd takes the FIN of h, which is next. The second one of a connection
// closes it.
func (a *Assembler) reachEnd(h *half) {
	h.ended = true
	h.next++
	a.tellEnd(h)
	if c, o := h.conn, h.peer(); o.over() && !c.closed {
		a.close(c, max(h.finTime, o.finTime), CloseFIN)
	}
}
