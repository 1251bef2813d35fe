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
	return x.acked >= 0 && x.acked < p.answerEnd && (p.answerKind&answerPaired != 0 || x.acked > p.answerStart)
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
		p.refute(c)
		return
	}
	if h.msgAcked < 0 || p.answerKind&answerInterim != 0 || client.epoch == p.anchored && h.msgAcked <= client.offset {
		return
	}
	if h.follows && h.msgAcked <= h.prior || client.lastAcked >= 0 && client.lastAcked < h.msgOffset && h.msgAcked <= client.offset {
		p.pipelined = true
	}
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

// asksBehind reports whether the request at h's mark, which follows none that is known, was sent
// when what came before it had no response: its client had received as much when it sent the
// end of that, or nothing since the first byte known.
func (h *half) asksBehind() bool {
	if h.prior >= 0 {
		return h.prior == h.msgAcked && h.msgOffset > probeLen
	}
	return h.msgAcked == 0 && h.msgOffset > int64(h.c.origin)+lineEndsLen
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
