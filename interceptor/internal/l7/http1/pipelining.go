package http1

import "slices"

// This file holds what tells that a client pipelines: the package comment has the list.

// askedEarly reports whether x, which the client sends next, was sent before it had the
// responses to all requests before.
func (p *pairing) askedEarly(x *roundTrip) bool {
	if x.acked < 0 {
		return false
	}
	if n := len(p.pending); n > 0 && p.pending[n-1].reqWhole && x.acked <= p.pending[n-1].latest {
		return true // it had received nothing since the end of the request before
	}
	return x.acked <= x.before || p.interrupts(x)
}

// interrupts reports whether x was sent before the end of the last response, which is to an
// earlier request: one that is known, or any if x was sent in the middle of it.
func (p *pairing) interrupts(x *roundTrip) bool {
	return x.acked >= 0 && x.acked < p.answerEnd && (p.answerPaired || x.acked > p.answerStart)
}

// outran reports whether x was sent before the response at h's mark, which is to an earlier
// request.
func (x *roundTrip) outran(h *half) bool {
	return x.unheard(h) && x.acked >= 0 && x.acked <= h.msgOffset
}

// unprompted looks for a response, at h's mark, whose sender had received nothing
// that the client sent once it had all before that, or nothing since the response
// just before: its request, which may have been missed, had been sent earlier. Where
// none can have been missed it has none.
func (p *pairing) unprompted(c *Conn, h *half) {
	client := c.clientHalf()
	if p.refutes(h) {
		p.pipelined = true
		return
	}
	if h.msgAcked < 0 || p.answerInterim || client.epoch == p.anchored && h.msgAcked <= client.offset {
		return
	}
	if h.follows && h.msgAcked <= h.prior || client.lastAcked >= 0 && client.lastAcked < h.msgOffset && h.msgAcked <= client.offset {
		p.pipelined = true
	}
}

// refutes reports whether the response at h's mark refutes the pair that is withheld: nothing
// that its sender had received waits for it, so what it answers was sent before that pair's
// request. Only 408 may come unasked (RFC 9110 §15.5.9).
func (p *pairing) refutes(h *half) bool {
	return p.withheld != nil && len(p.pending) == 0 && h.msgAcked >= 0 && h.msgAcked <= h.c.clientHalf().offset && h.status.status != 408
}

// passedOver takes the news that no response starts at the offsets from start up to
// end: a request sent when its client had received all before one of them was sent
// in the middle of a response.
func (p *pairing) passedOver(c *Conn, start, end int64) {
	if p.pipelined || !slices.ContainsFunc(p.pending, func(x *roundTrip) bool { return x.acked >= start && x.acked < end }) {
		return
	}
	p.pipelined = true
	p.shed(c)
}

// lineEndsLen is the length of two line ends.
const lineEndsLen = 4

// ahead looks for requests that were sent while x was being answered: the
// server had received more than x when it sent the response, and more than the
// line ends that some clients put behind a body (RFC 9112 §2.2).
func (p *pairing) ahead(x *roundTrip) {
	if a := x.answer; a != nil && x.rec.Request != nil && x.reqWhole && max(a.acked, a.latest) > x.end+lineEndsLen {
		p.pipelined = true
	}
}
