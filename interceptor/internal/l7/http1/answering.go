package http1

// This file holds the rules of the package comment that tell which request a response answers.

// request takes the request out of pending that the response starting at h's
// mark answers, or returns nil.
func (p *pairing) request(c *Conn, h *half) *roundTrip {
	if len(p.pending) == 0 {
		p.unaligned = true
		return nil
	}
	switch first := p.pending[0]; {
	case first.refuted(h):
		p.unaligned = true
		p.pipelined = p.pipelined || first.outran(h)
		p.shed(c)
		return nil
	case !p.unaligned && first.follows:
		first.unproven = p.belief != believed
		return p.takePending(c, 0)
	}
	if i := p.witnessed(h); i >= 0 {
		return p.certain(c, i)
	}
	if p.likely(h) {
		p.probable = p.takePending(c, 0)
		return p.probable
	}
	c.shared.Stats.Doubtful++
	p.unaligned = true
	p.shed(c)
	return nil
}

// refuted reports whether x is certainly not what the response at h's mark answers: nobody
// answers what he has not received, nobody asks who is being answered already, and what was
// asked before comes first.
func (x *roundTrip) refuted(h *half) bool {
	return x.unheard(h) || x.acked > h.msgOffset || x.behind && x.acked == h.msgOffset
}

// unheard reports whether the sender of the response at h's mark had not received x.
func (x *roundTrip) unheard(h *half) bool { return h.msgAcked >= 0 && h.msgAcked <= x.start }

// witnessed returns the index in pending of the request that the response at h's mark
// certainly answers, though they can't be counted, or -1.
func (p *pairing) witnessed(h *half) int {
	if i := p.exact(h.msgOffset, h.msgAcked, h.prior); i >= 0 {
		return i
	}
	last := len(p.pending) - 1
	switch {
	case p.continued(h):
		p.pending[0].continued = true
		return 0
	case h.status.status == 101 && p.pending[last].switches(h.msgAcked):
		return last
	}
	return -1
}

// certain takes the i-th pending request, which is known to be the one that is
// answered: those before it will never be.
func (p *pairing) certain(c *Conn, i int) *roundTrip {
	p.dropBefore(c, i)
	p.floatAway(c, len(p.floating))
	x := p.takePending(c, 0)
	if p.belief == believed && x.epoch != p.anchored {
		p.belief = shaken
	}
	x.unproven = p.belief != believed
	p.align(x.epoch)
	return x
}

// exact returns the index in pending of the request that the response at
// offset start answers according to the offsets alone, or -1.
func (p *pairing) exact(start, acked, prior int64) int {
	if p.pipelined {
		return -1
	}
	for i, x := range p.pending {
		if x.acked == start {
			if p.fits(x, start, acked, prior) {
				return i
			}
			return -1
		}
	}
	return -1
}

// fits is the exact rule for one request.
func (p *pairing) fits(x *roundTrip, start, acked, prior int64) bool {
	if x.acked != start || acked <= x.start {
		return false
	}
	return prior == x.start || x.epoch == p.anchored && (x.first || x.follows && x.before >= 0)
}

// continueLen is the length of "HTTP/1.1 100 Continue" with an empty line, as nearly all
// servers send it (RFC 9110 §10.1.1). Of a final response only a status line and nine bytes
// would have room in it.
const continueLen = 25

// continued reports whether the response at h's mark answers the one pending request though
// bytes are missing before it: as many as 100 (Continue) has, which the client had asked for
// and received when it sent the end of the body. What is missing answers that request, as all
// before it have their responses; so does what its server sent when it had received nothing
// behind it.
func (p *pairing) continued(h *half) bool {
	x := p.pending[0]
	if !p.single() || x.epoch != p.anchored || !x.reqWhole {
		return false
	}
	behindAll := x.first && x.acked == 0 || x.follows && x.before >= 0 && p.answerKind&answerPaired != 0 && p.answerEnd == x.acked
	return behindAll && h.msgAcked == x.end && h.msgOffset == x.acked+continueLen && x.latest == h.msgOffset && x.expects()
}

// likely reports whether the response at h's mark fits the one pending request
// but for the witness of the byte before it, which wasn't seen, and was sent by
// a server that had received just that request.
func (p *pairing) likely(h *half) bool {
	x := p.pending[0]
	return p.single() && x.reqWhole && h.prior < 0 && h.msgAcked == x.end &&
		(x.acked == h.msgOffset || x.acked < 0 && x.first && h.msgOffset == 0)
}

// single reports whether one request is pending that nothing but the response that begins
// can be of.
func (p *pairing) single() bool {
	return len(p.pending) == 1 && len(p.floating) == 0 && !p.pipelined
}

// align ends the doubt: the request just paired, of the given epoch, is known
// to be answered by the response just paired.
func (p *pairing) align(epoch int32) {
	p.unaligned = false
	p.anchored = epoch
}

// lostResponses notes that the server's half lost its place.
func (p *pairing) lostResponses() { p.unaligned = true }
