package reassembly

// Data may be captured before the data of the other direction that it answers. It waits
// for that, as long as a missing byte may after an ACK of it, so that handlers are told
// in the order in which the ends themselves can have seen things.

// early reports whether data of h that acknowledges so much of the other direction, as in
// Chunk, was captured before that.
func (a *Assembler) early(h *half, acked int64) bool {
	o := h.peer()
	return acked > o.offset-int64(o.oob) && !(o.pending != nil && o.missed) && !h.conn.hurried && a.cfg.AckTolerance > 0
}

// waits reports whether the next bytes of h are there and wait for some of the other
// direction.
func (h *half) waits() bool {
	return len(h.pieces) > 0 && h.pieces[0].off == h.offset && !h.held && !h.afloat
}

// waitEnd returns until when the next bytes of h wait: as long as a hole of the other
// direction may be filled that its peer has acknowledged, if that is known meanwhile,
// since what they wait for may be behind it.
func (a *Assembler) waitEnd(h *half) int64 {
	since, tolerance := h.pieces[0].since, int64(a.cfg.AckTolerance)
	end := since + tolerance
	if o := h.peer(); o.slot != 0 && o.ackedAt > 0 && !o.waits() {
		end = max(end, min(o.deadline, since+2*tolerance))
	}
	return end
}

// waitNoMore hands over what waits in h: what it waits for is missing.
func (a *Assembler) waitNoMore(h *half) {
	h.peer().missed = true
	a.drain(h)
}
