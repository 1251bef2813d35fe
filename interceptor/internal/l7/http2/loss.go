package http2

// gap takes n missing bytes: exact if they are of one frame.
func (h *half) gap(n int64) {
	h.c.shared.Stats.GapBytes += uint64(n)
	if h.state == stateResync {
		if start := h.search.closedBy(n); start >= 0 {
			h.found(start, 0)
		}
	}
	switch {
	case h.state == stateDead:
	case h.state == stateResync:
		h.search.reset()
	case h.state != statePayload || n < int64(h.left) && h.want > 0:
		// In a frame's header, or in what tells how much padding there is.
		h.lost()
	case n <= int64(h.left):
		h.skip(uint32(n))
	default:
		h.skip(h.left)
		h.lost()
	}
}

// skip passes over n missing bytes of the payload.
func (h *half) skip(n uint32) {
	content := uint32(0)
	if h.want == 0 {
		content = min(n, h.contentLeft())
	}
	h.left -= n
	switch h.frame.kind {
	case frameData:
		if h.stream == nil { // its fixed part is missing
			h.stream = h.dataStream()
		}
		h.stream.missData(h, int64(content), h.want == 0)
	case frameHeaders, framePushPromise, frameContinuation:
		if content > 0 || h.want > 0 {
			h.loseBlock()
		}
	default:
		h.proven = false
	}
	h.want = 0
	if h.left == 0 {
		h.endFrame()
	}
}

// lost gives up the place: what is in progress ends, and the next frame has to
// be found.
func (h *half) lost() {
	h.c.shared.Stats.Resyncs++
	h.abandonBlock()
	h.hpack.Forget()
	h.stream = nil
	h.proven = false
	h.give(stateResync)
	h.c.damage(h)
}

// give drops what is buffered and goes to state s.
func (h *half) give(s state) {
	switch {
	case s != stateResync:
		h.search = nil
	case h.state != stateResync:
		h.search = &search{later: true}
	default:
		h.search.reset()
	}
	h.releaseBlock()
	h.state, h.have, h.want, h.left = s, 0, 0, 0
}
