package http1

// resync passes over bytes until a start line shows at the start of a segment.
// A line that a segment starts and does not finish is kept for the next one.
func (h *half) resync(b []byte, boundary bool) int {
	held := len(h.buf)
	if held == 0 && !boundary && !h.tryHere {
		return h.skip(len(b))
	}
	h.tryHere = false
	if held == 0 && (b[0] == '\r' || b[0] == '\n') {
		h.skip(1)
		h.tryHere = h.state == stateResync
		return 1
	}
	src := b
	if held > 0 {
		// Copied because the line began in an earlier segment.
		h.buf = append(h.buf, b[:min(len(b), maxDetectLen)]...)
		src = h.buf
	} else {
		h.mark()
	}
	switch ok, needMore := h.detect(src); {
	case ok:
		h.buf = h.buf[:held]
		h.c.shared.Stats.SkippedBytes -= uint64(held)
		h.c.shared.Stats.HeadBytes += uint64(held)
		h.state = stateHead
		h.unparsed = 0
		return 0
	case needMore:
		if held == 0 {
			h.buf = append(h.buf, b...)
		}
		return h.skip(len(b))
	default:
		h.give(stateResync)
		if held > 0 {
			return 0 // b itself starts a segment
		}
		return h.skip(len(b))
	}
}

// believe takes what a segment started with and no other will finish for a
// request, if it looks like one so far.
func (h *half) believe() {
	if h.state != stateResync || !h.request || !LooksLikeCutRequest(h.buf, false) {
		return
	}
	h.c.shared.Stats.SkippedBytes -= uint64(len(h.buf))
	h.c.shared.Stats.HeadBytes += uint64(len(h.buf))
	h.state = stateHead
	h.unparsed = 0
}

// detect tells whether b starts like a message of this direction. While the
// roles are not known either will do, and settles them.
func (h *half) detect(b []byte) (ok, needMore bool) {
	if h.c.rolesKnown {
		if h.request {
			return LooksLikeRequest(b, true)
		}
		return LooksLikeResponse(b)
	}
	ok, needMore = LooksLikeRequest(b, true)
	if ok {
		h.c.setClient(h.dir)
		return true, false
	}
	ok, more := LooksLikeResponse(b)
	if ok {
		h.c.setClient(h.dir.Reverse())
	}
	return ok, needMore || more
}

// skip passes over n bytes. Bytes that are not HTTP make it stop looking after
// a while: the connection has changed to something else.
func (h *half) skip(n int) int {
	h.c.shared.Stats.SkippedBytes += uint64(n)
	if h.garbage {
		h.unparsed += int64(n)
		if h.unparsed > h.c.shared.cfg.MaxUnparsed {
			h.c.shared.Stats.GivenUp++
			h.give(stateDead)
		}
	}
	return n
}
