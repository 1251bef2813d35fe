package reassembly

// Data may be captured before the data of the other direction that it answers. It waits
// for that, as long as a missing byte may after an ACK of it, so that handlers are told
// in the order in which the ends themselves can have seen things.

// early reports whether data of h that acknowledges so much of the other direction, as in
// Chunk, was captured before that.
func (a *Assembler) early(h *half, acked int64) bool {
	o := h.peer()
	return acked > o.offset-int64(o.oob) && !(o.pending != nil && o.missed) && !h.conn.closed && a.cfg.AckTolerance > 0
}

// waits reports whether the next bytes of h are there and wait for some of the other
// direction.
func (h *half) waits() bool {
	return len(h.pieces) > 0 && h.pieces[0].off == h.offset && !h.held && !h.afloat
}

// waitNoMore hands over what waits in h: what it waits for is missing.
func (a *Assembler) waitNoMore(h *half) {
	h.peer().missed = true
	a.drain(h)
}
