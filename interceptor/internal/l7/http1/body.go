package http1

import (
	"math"

	capstanv1 "capstan/proto/capstan/v1"
)

// bodyRecord returns where the body in progress is recorded.
func (h *half) bodyRecord() *capstanv1.Body {
	if h.request {
		return &h.x.reqBody
	}
	return &h.a.body
}

// startBody goes to the body that a header section announced.
func (h *half) startBody(kind bodyKind) {
	h.beginCall()
	h.keep = true
	switch kind {
	case bodyNone:
		h.endMessage(true)
	case bodyLength:
		h.state, h.remaining = stateBody, h.frame.length
	case bodyChunked:
		h.state, h.chunk = stateChunkSize, chunkLine{}
	case bodyUntilClose:
		h.state, h.remaining = stateUntilClose, math.MaxInt64
	case bodyUnknown:
		h.lost(capstanv1.Flaw_FLAW_MALFORMED)
		// What follows may be the next message, if there is no body.
		h.tryHere = true
	}
}

// body takes bytes of a body.
func (h *half) body(b []byte, boundary bool) int {
	switch {
	case !boundary:
	case h.headAfterAll(b):
		h.endMessage(true)
		return 0
	case h.unsent(b):
		h.ambiguous()
		h.endMessage(false)
		return 0
	}
	if int64(len(b)) > h.remaining {
		b = b[:h.remaining]
	}
	h.msgLast = max(h.msgLast, h.time)
	h.c.shared.Stats.BodyBytes += uint64(len(b))
	r := h.bodyRecord()
	r.Size += uint64(len(b))
	if h.keep {
		h.keepContent(r, b)
	}
	if m := h.messages(); m != nil {
		m.Data(b)
	}
	if h.state != stateUntilClose {
		h.offset += int64(len(b)) // endMessage notes where the message ends
		h.advance(int64(len(b)))
		h.offset -= int64(len(b))
	}
	return len(b)
}

// headAfterAll reports whether b, the start of a segment, is the next response
// where the body of one should start whose request wasn't seen, or is not certain: that was
// HEAD, or CONNECT. A body that the end of the stream ends could start like that; but then
// nobody sends a request when he has received just the head.
func (h *half) headAfterAll(b []byte) bool {
	switch {
	case h.request:
		return false
	case h.state == stateBody && h.remaining == h.frame.length:
	case h.state == stateUntilClose && h.a.body.Size == 0 && len(h.c.pending) > 0 && h.c.pending[0].acked == h.offset:
	default:
		return false
	}
	c, x := h.c, h.c.group
	uncertain := x.unproven || x == c.probable
	if x.rec.Request != nil && !uncertain {
		return false
	}
	ok, _ := LooksLikeResponse(b)
	if ok && uncertain {
		c.pipelined, c.probable = true, nil
		c.refute(c)
		c.split(c, x)
	}
	return ok
}

// unsent reports whether b, the start of a segment, is the next request where the body of
// one should start: its client was told by the response not to send it, as with Expect
// (RFC 9110 §10.1.1), or never meant to.
func (h *half) unsent(b []byte) bool {
	if !h.request || h.x.reqBody.Size > 0 || !h.refused() {
		return false
	}
	ok, _ := LooksLikeRequest(b, true)
	return ok
}

// refused reports whether the client may have received the whole response to the request in
// progress; waiting for 100 (Continue), more than that, though nothing was seen.
func (h *half) refused() bool {
	a, server := h.x.answer, h.c.serverHalf()
	switch {
	case a == nil:
		return h.acked > h.msgAcked+continueLen && h.x.expects()
	case a.done:
		return h.acked >= a.end
	}
	return a.final && server.state == stateSeek && h.acked >= server.offset
}

// mayBeRefused reports whether the client may have received the response to the request in
// progress, or will, before it sends the body.
func (h *half) mayBeRefused() bool {
	if a := h.x.answer; a != nil {
		return a.final
	}
	return h.x.expects()
}

// keepContent copies b, since the record outlives the frame, up to the limit.
func (h *half) keepContent(r *capstanv1.Body, b []byte) {
	limit := h.c.shared.rec.BodyLimit()
	room := max(limit-len(r.Content), 0) // the limit may have become less
	if len(b) >= room {
		b = b[:room]
		h.keep = false
	}
	if cap(r.Content) == 0 && len(b) > 0 {
		// remaining still counts b.
		first := min(h.remaining, int64(room), firstBodyLen)
		if h.state != stateBody {
			first = 0
		}
		r.Content = make([]byte, 0, max(int(first), len(b)))
	}
	if need := len(r.Content) + len(b); need > cap(r.Content) {
		// No larger than the limit, so that it can be kept for the next one.
		grown := make([]byte, len(r.Content), min(max(need, 2*cap(r.Content)), max(limit, need)))
		copy(grown, r.Content)
		r.Content = grown
	}
	r.Content = append(r.Content, b...)
	h.c.shared.Stats.HeldContent += len(b)
}

// advance counts n bytes of a body or chunk of known length as done.
func (h *half) advance(n int64) {
	h.remaining -= n
	if h.remaining > 0 {
		return
	}
	if h.state == stateChunkData {
		h.state = stateChunkEnd
		return
	}
	h.endMessage(true)
}

// missBody records n missing bytes of the body.
func (h *half) missBody(n int64) {
	r := h.bodyRecord()
	r.Size += uint64(n)
	r.GapBytes += uint64(n)
	h.keep = false
	if m := h.messages(); m != nil {
		m.Gap(n)
	}
	if h.request {
		h.x.flaws.Add(capstanv1.Flaw_FLAW_GAP)
	} else {
		h.a.flaws.Add(capstanv1.Flaw_FLAW_GAP)
	}
}

// gapInBody takes n missing bytes in a body of known length: exact when they fit.
func (h *half) gapInBody(n int64) {
	if h.request && h.x.reqBody.Size == 0 && h.mayBeRefused() {
		h.lost(capstanv1.Flaw_FLAW_GAP) // they may be of the next request
		return
	}
	inside := min(n, h.remaining)
	h.missBody(inside)
	if n <= h.remaining {
		h.offset += n // endMessage notes where the message ends
		h.advance(n)
		return
	}
	h.offset, h.remaining = h.offset+inside, 0
	h.lost(capstanv1.Flaw_FLAW_GAP)
}
