package http1

import (
	"slices"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// pairing decides which response answers which request; the package comment
// tells by which rules and why.
type pairing struct {
	*inFlight

	lastAcked              int64      // of the request before, -1 unknown
	answerStart, answerEnd int64      // of the last response that ended
	anchored               int32      // epoch of the client's half whose message starts are certain; -1 none
	answerKind             answerKind // and what is known of it
	unaligned              bool       // responses may have been missed since the last pair
	pipelined              bool       // the client sends requests before it has all responses
	belief                 belief     // in the pairs of a connection joined midstream
}

// answerKind is what is known of a response that has ended.
type answerKind uint8

const (
	answerPaired  answerKind = 1 << iota // it has a request for certain
	answerInterim                        // it was an interim one, cut off: the final one may follow
)

// inFlight is what a connection has in progress.
type inFlight struct {
	messages [2]message   // by direction
	held     int          // bytes of their sections that Stats.HeldHeads counts
	pending  []*roundTrip // requests without a response, in order
	cost     int          // estimated bytes that those of pending keep whose request has ended, and the pairs withheld
	group    *roundTrip   // of the response in progress
	floating []*roundTrip // responses whose request may not have been delivered yet
	probable *roundTrip   // a pair that offsets suggest and nothing refutes, until something confirms it
	withheld []*roundTrip // pairs that are unproven, in order, until the client is seen to wait

	serverLeft bool // it has ended its direction, before the client
}

// rests reports whether no message waits for another.
func (p *pairing) rests() bool {
	return p.group == nil && len(p.pending) == 0 && p.probable == nil && len(p.withheld) == 0 && len(p.floating) == 0
}

func (p *pairing) init(midstream bool) {
	p.lastAcked = -1
	p.unaligned = midstream
	p.belief = believed
	if midstream {
		p.belief = unchecked
		p.anchored = -1
	}
}

// alone reports whether the message in progress in h is the only thing that is.
func (p *pairing) alone(h *half) bool {
	if p.probable != nil || len(p.withheld) > 0 || len(p.floating) > 0 {
		return false
	}
	if h.request {
		return len(p.pending) == 1 && p.pending[0] == h.x && p.group == nil
	}
	return len(p.pending) == 0
}

// addRequest takes a request whose line was seen.
func (p *pairing) addRequest(c *Conn, x *roundTrip) {
	if p.rested(x) {
		p.believe(c)
	} else {
		p.review(c)
	}
	c.serverHalf().goneOn(x.acked)
	x.before, x.first = p.lastAcked, x.start == int64(c.origin)
	p.lastAcked = x.acked
	p.pipelined = p.pipelined || c.clientHalf().overheard || p.askedEarly(x)
	if y := p.probable; p.pipelined && y != nil && y.answer.done {
		p.probable = nil
		p.split(c, y)
	}
	if n := len(p.pending); n > 0 && c.conn.Unseen.Has(c.client.Reverse()) && x.acked > p.pending[n-1].acked {
		p.unaligned = true // the client has responses of which nothing was captured
		p.dropBefore(c, n)
	}
	if len(p.pending) >= c.shared.cfg.MaxPending {
		c.shared.Stats.ShedRequests++
		p.dropOldest(c)
		if len(p.pending) == 0 {
			x.follows = false
		}
	}
	p.pending = append(p.pending, x)
	x.waiting = true
	c.shared.Stats.Waiting++
	p.matchFloating(c, x)
}

// pair returns the round trip that the response starting at h's mark belongs
// to: that of a pending request, or a new one without a request.
func (p *pairing) pair(c *Conn, h *half) *roundTrip {
	if p.probable != nil {
		p.settle(c, h)
	}
	p.unprompted(c, h)
	p.review(c)
	x := p.request(c, h)
	if x == nil {
		x = c.shared.roundTrip()
		x.reqDone, x.reqWhole = true, true
	}
	x.answer = &x.own
	a := x.answer
	a.msg.FirstByteUnixNs = uint64(h.msgTime)
	a.start, a.acked, a.prior, a.epoch = h.msgOffset, h.msgAcked, h.prior, h.epoch
	if x.continued {
		a.start = x.acked
		a.flaws.Add(capstanv1.Flaw_FLAW_GAP)
	}
	if x.rec.Request == nil && a.acked > c.clientHalf().offset && !p.pipelined && !c.conn.Unseen.Has(c.client) {
		p.float(c, x)
	}
	return x
}

// endRequest takes the news that x's request is over.
func (p *pairing) endRequest(c *Conn, x *roundTrip) {
	if x.waiting && x.cost == 0 {
		x.cost = x.size()
		p.cost += x.cost
		c.shared.Stats.Charge += x.cost
		if p.cost > c.shared.cfg.MaxPendingBytes && len(p.withheld) > 0 {
			p.believe(c)
		}
		for p.cost > c.shared.cfg.MaxPendingBytes && len(p.pending) > 1 {
			c.shared.Stats.ShedRequests++
			p.dropOldest(c)
		}
	}
	p.ahead(x)
	p.finish(c, x)
	p.shed(c)
}

// endResponse takes the news that x's response is over.
func (p *pairing) endResponse(c *Conn, x *roundTrip) {
	a := x.answer
	end := a.end
	if a.goesOn {
		end++
	}
	p.answerStart, p.answerEnd = a.start, end
	p.ahead(x)
	p.answerKind = 0
	if x.rec.Request != nil && x != p.probable {
		p.answerKind = answerPaired
	}
	if !a.final {
		p.answerKind |= answerInterim
	}
	p.pipelined = p.pipelined || slices.ContainsFunc(p.pending, p.interrupts)
	if x == p.probable {
		if !a.whole && !c.closed || a.msg.Status == 101 {
			p.probable = nil
			p.split(c, x)
		}
		return
	}
	p.finish(c, x)
}

// finish emits x if nothing of it is to come.
func (p *pairing) finish(c *Conn, x *roundTrip) {
	if !x.reqDone {
		return
	}
	if x.answer == nil && !x.alone || x.answer != nil && !x.answer.done {
		return
	}
	if x.floats || x == p.probable {
		return
	}
	if x.unproven && x.answer != nil && p.belief != believed {
		p.withhold(c, x)
		return
	}
	c.emit(x)
}

// giveUp takes x, no longer pending, as a request without response.
func (p *pairing) giveUp(c *Conn, x *roundTrip) {
	x.alone = true
	if h := c.clientHalf(); (x.method == methodConnect || x.upgrades) && h.state == stateHold {
		h.unhold()
	}
	p.finish(c, x)
}

// shed gives up all pending requests once none can be paired any more.
func (p *pairing) shed(c *Conn) {
	if !p.pipelined || len(p.pending) == 0 || !p.unaligned && p.pending[0].follows {
		return
	}
	p.unaligned = true
	p.dropBefore(c, len(p.pending))
}

// dropBefore gives up the first n pending requests.
func (p *pairing) dropBefore(c *Conn, n int) {
	for range n {
		p.giveUp(c, p.takePending(c, 0))
	}
}

// dropOldest gives up the oldest pending request, since there are too many.
func (p *pairing) dropOldest(c *Conn) {
	p.giveUp(c, p.takePending(c, 0))
	if len(p.pending) > 0 {
		p.pending[0].follows = false
	}
}

// takePending removes and returns the i-th pending request.
func (p *pairing) takePending(c *Conn, i int) *roundTrip {
	x := p.pending[i]
	p.pending = slices.Delete(p.pending, i, i+1)
	p.cost -= x.cost
	c.shared.Stats.Charge -= x.cost
	x.waiting, x.cost = false, 0
	c.shared.Stats.Waiting--
	return x
}

// upgrading reports whether the client's last request asks for another protocol, other than
// by CONNECT, and has no response yet.
func (p *pairing) upgrading() bool {
	x := p.group
	if n := len(p.pending); n > 0 {
		x = p.pending[n-1]
	} else if x == nil || x.answer.final {
		return false
	}
	return x.upgrades && x.method != methodConnect
}

// close emits what is left when the connection closes, after both halves have
// ended what they had in progress.
func (p *pairing) close(c *Conn, r reassembly.CloseReason) {
	p.believe(c) // nothing will tell more
	if p.probable != nil {
		p.settleLast(c, r)
	}
	p.floatAway(c, len(p.floating))
	f := exchange.CloseFlaw(r)
	for _, x := range p.pending {
		if f != capstanv1.Flaw_FLAW_CLOSED_EARLY {
			x.flaws.Add(f)
		}
		x.alone = true
		x.reqDone = true
		p.finish(c, x)
	}
	c.shared.Stats.Waiting -= len(p.pending)
	c.shared.Stats.Charge -= p.cost
	clear(p.pending)
	p.pending, p.cost = p.pending[:0], 0
}
