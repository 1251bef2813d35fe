package http2

import capstanv1 "capstan/proto/capstan/v1"

// gap takes n missing bytes: exact if they are of one frame.
func (h *half) gap(n int64) {
	h.c.shared.Stats.GapBytes += uint64(n)
	if h.state == stateResync {
		if place := h.search.closedBy(n); place >= 0 {
			h.found(place, 0)
		}
	}
	h.miss(n)
}

// miss passes over n missing bytes.
func (h *half) miss(n int64) {
	switch {
	case h.state >= stateResync: // what is held tells itself where bytes are missing
	case h.state == stateHeader:
		h.lostFrom(h.offset - int64(h.have))
	case h.state != statePayload || n < int64(h.left) && h.want > 0:
		h.lost() // in the preface, or in what tells how much padding there is
	case n <= int64(h.left):
		h.skip(uint32(n))
	default:
		next := h.offset + int64(h.left)
		if h.skip(h.left); h.state != stateResync {
			h.lostFrom(next)
		}
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
		h.c.pushOff = h.c.pushOff && h.frame.kind != frameSettings
	}
	if h.state != statePayload {
		return // what came before the missing bytes was no frame
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
	h.forget()
	h.stream = nil
	h.proven = false
	if h.c.roleOf(h.dir) != roleServer {
		h.c.allOpened, h.c.pushOff = false, false // or it may be so
	}
	h.guess(false)
	h.give(stateResync)
	h.c.damage(h)
}

// guess tells whether what follows is certain: what looks like frames may be a body
// that was made to look so, until frames have followed each other for longer than the
// one may be that it is in.
func (h *half) guess(on bool) {
	h.guessed = on
	h.sureAt = h.offset + frameHeaderLen + int64(h.likelyMaxFrame())
	h.hpack.Doubt(on)
}

// mark marks s as one that h has told something of.
func (h *half) mark(s *stream) {
	s.answered = s.answered || h.dir != h.c.client
	if h.guessed {
		s.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
}

// disbelieve drops what was told as the request of s by guess, since now comes another.
func (c *Conn) disbelieve(s *stream) {
	c.shared.Stats.Doubtful++
	c.shared.Stats.HeldContent -= len(s.reqBody.Content)
	c.shared.buffers.give(s.reqBody.Content)
	s.req, s.reqBody = capstanv1.HttpRequest{}, capstanv1.Body{}
	s.request = side{damaged: true, doubt: true}
	s.flaws.Add(capstanv1.Flaw_FLAW_GAP)
	if s.call == nil {
		return
	}
	s.call = nil // unless the response says so, too
	if c.responseCall(s, joined(s.resp.Headers, "content-type"), false); s.call != nil {
		s.call.Response.Lost()
	}
}

// doubtful reports whether s is a request that was told by guess, and to which its server
// has said nothing, though it is heard: nobody may have made it.
func (c *Conn) doubtful(s *stream) bool {
	return s.flaws.Has(capstanv1.Flaw_FLAW_PLACE_GUESSED) && !s.answered && c.half[c.client.Reverse()].offset > 0
}

// give drops what is buffered and goes to state s.
func (h *half) give(s state) {
	switch {
	case s != stateResync:
		h.leaveSearch()
	case h.state != stateResync:
		h.search = &search{later: true}
	default:
		h.search.reset()
	}
	h.releaseBlock()
	h.state, h.have, h.want, h.left = s, 0, 0, 0
}
