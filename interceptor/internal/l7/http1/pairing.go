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

	lastAcked              int64 // of the request before, -1 unknown
	answerStart, answerEnd int64 // of the last response that ended
	anchored               int32 // epoch of the client's half whose message starts are certain; -1 none
	answerPaired           bool  // and whether that has a request for certain
	answerInterim          bool  // and whether it was an interim one, cut off: the final one may follow
	unaligned              bool  // responses may have been missed since the last pair
	pipelined              bool  // the client sends requests before it has all responses
}

// inFlight is what a connection has in progress.
type inFlight struct {
	messages [2]message   // by direction
	pending  []*roundTrip // requests without a response, in order
	cost     int          // estimated bytes that those of pending keep whose request has ended
	group    *roundTrip   // of the response in progress
	floating []*roundTrip // responses whose request may not have been delivered yet
	probable *roundTrip   // a pair that offsets suggest and nothing refutes, until something confirms it
}

// rests reports whether no message waits for another.
func (p *pairing) rests() bool {
	return p.group == nil && len(p.pending) == 0 && p.probable == nil && len(p.floating) == 0
}

func (p *pairing) init(midstream bool) {
	p.lastAcked = -1
	p.unaligned = midstream
	if midstream {
		p.anchored = -1
	}
}

// alone reports whether the message in progress in h is the only thing that is.
func (p *pairing) alone(h *half) bool {
	if p.probable != nil || len(p.floating) > 0 {
		return false
	}
	if h.request {
		return len(p.pending) == 1 && p.pending[0] == h.x && p.group == nil
	}
	return len(p.pending) == 0
}

// addRequest takes a request whose line was seen.
func (p *pairing) addRequest(c *Conn, x *roundTrip) {
	c.serverHalf().goneOn(x.acked)
	x.before, x.first = p.lastAcked, x.start == int64(c.origin)
	p.lastAcked = x.acked
	if c.clientHalf().overheard || x.acked >= 0 && (x.acked <= x.before || x.acked < p.answerEnd && (p.answerPaired || x.acked > p.answerStart)) {
		p.pipelined = true
	}
	if n := len(p.pending); n > 0 && p.pending[n-1].reqWhole && x.acked >= 0 && x.acked <= p.pending[n-1].latest {
		p.pipelined = true // it had received nothing since the end of the request before
	}
	if y := p.probable; p.pipelined && y != nil && y.answer.done {
		p.probable = nil
		p.split(c, y)
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
	p.matchFloating(c, x)
}

// pair returns the round trip that the response starting at h's mark belongs
// to: that of a pending request, or a new one without a request.
func (p *pairing) pair(c *Conn, h *half) *roundTrip {
	if p.probable != nil {
		p.settle(c, h)
	}
	p.unprompted(c, h)
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
	if x.rec.Request == nil && a.acked > c.clientHalf().offset && !p.pipelined {
		p.float(c, x)
	}
	return x
}

// unprompted looks for a response, at h's mark, whose sender had received nothing
// that the client sent once it had all before that, or nothing since the response
// just before: its request, which may have been missed, had been sent earlier. Where
// none can have been missed it has none.
func (p *pairing) unprompted(c *Conn, h *half) {
	client := c.clientHalf()
	if h.msgAcked < 0 || p.answerInterim || client.epoch == p.anchored && h.msgAcked <= client.offset {
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

// request takes the request out of pending that the response starting at h's
// mark answers, or returns nil.
func (p *pairing) request(c *Conn, h *half) *roundTrip {
	if len(p.pending) == 0 {
		p.unaligned = true
		return nil
	}
	head := p.pending[0]
	// What no doubt is needed for: nobody answers what he has not received,
	// and nobody asks who is being answered already.
	unheard := h.msgAcked >= 0 && h.msgAcked <= head.start
	if unheard || head.acked > h.msgOffset {
		p.unaligned = true
		if unheard && head.acked >= 0 && head.acked <= h.msgOffset {
			p.pipelined = true // head was sent before this response, to an earlier request
		}
		p.shed(c)
		return nil
	}
	if !p.unaligned && head.follows {
		return p.takePending(0)
	}
	if i := p.exact(h.msgOffset, h.msgAcked, h.prior); i >= 0 {
		return p.certain(c, i)
	}
	if p.continued(h) {
		head.continued = true
		return p.certain(c, 0)
	}
	if last := len(p.pending) - 1; h.status.status == 101 && p.pending[last].switches(h.msgAcked) {
		return p.certain(c, last)
	}
	if p.likely(h) {
		p.probable = p.takePending(0)
		return p.probable
	}
	c.shared.Stats.Doubtful++
	p.unaligned = true
	p.shed(c)
	return nil
}

// certain takes the i-th pending request, which is known to be the one that is
// answered: those before it will never be.
func (p *pairing) certain(c *Conn, i int) *roundTrip {
	p.dropBefore(c, i)
	p.floatAway(c, len(p.floating))
	x := p.takePending(0)
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
	alone := len(p.pending) == 1 && len(p.floating) == 0 && !p.pipelined && x.epoch == p.anchored
	behind := x.first && x.acked == 0 || x.follows && x.before >= 0 && p.answerPaired && p.answerEnd == x.acked
	return alone && behind && x.reqWhole && h.msgAcked == x.end && h.msgOffset == x.acked+continueLen && x.latest == h.msgOffset && x.expects()
}

// likely reports whether the response at h's mark fits the one pending request
// but for the witness of the byte before it, which wasn't seen, and was sent by
// a server that had received just that request.
func (p *pairing) likely(h *half) bool {
	x := p.pending[0]
	return len(p.pending) == 1 && !p.pipelined && len(p.floating) == 0 && x.reqWhole && h.prior < 0 && h.msgAcked == x.end &&
		(x.acked == h.msgOffset || x.acked < 0 && x.first && h.msgOffset == 0)
}

// align ends the doubt: the request just paired, of the given epoch, is known
// to be answered by the response just paired.
func (p *pairing) align(epoch int32) {
	p.unaligned = false
	p.anchored = epoch
}

// lostResponses notes that the server's half lost its place.
func (p *pairing) lostResponses() { p.unaligned = true }

// float keeps a response that may answer a request not delivered yet.
func (p *pairing) float(c *Conn, x *roundTrip) {
	if len(p.floating) >= maxFloating {
		p.floatAway(c, 1)
	}
	x.floats = true
	p.floating = append(p.floating, x)
}

// matchFloating tries the responses that wait for a request on x, the request
// just added.
func (p *pairing) matchFloating(c *Conn, x *roundTrip) {
	n := 0
	for n < len(p.floating) && p.floating[n].answer.acked <= x.start {
		n++ // answers an earlier request, which is not coming any more
	}
	p.floatAway(c, n)
	if p.pipelined {
		p.floatAway(c, len(p.floating))
		return
	}
	if x.method != methodOther {
		return // the response was read as one with a body of its own
	}
	for i, y := range p.floating {
		a := y.answer
		if !p.fits(x, a.start, a.acked, a.prior) {
			continue
		}
		p.floatAway(c, i)
		p.floating = slices.Delete(p.floating, 0, 1)
		p.dropBefore(c, len(p.pending)-1)
		p.takePending(0)
		x.answer, y.answer = a, nil
		if p.group == y {
			p.group = x
		}
		p.anchored = x.epoch
		if len(p.floating) == 0 && a.epoch == c.serverHalf().epoch {
			p.unaligned = false
		}
		p.finish(c, x)
		return
	}
}

// floatAway gives up waiting for the requests of the first n floating
// responses.
func (p *pairing) floatAway(c *Conn, n int) {
	for _, y := range p.floating[:n] {
		y.floats = false
		p.finish(c, y)
	}
	p.floating = slices.Delete(p.floating, 0, n)
}

// settle confirms or takes back the probable pair when the response at h's mark
// starts: it must follow the probable one at once and answer a request that was
// sent after just that.
func (p *pairing) settle(c *Conn, h *half) {
	x := p.probable
	p.probable = nil
	a := x.answer
	if len(p.pending) > 0 && !p.pipelined && h.epoch == a.epoch {
		next := p.pending[0]
		if next.follows && next.acked == a.end && h.msgOffset == a.end && h.msgAcked > next.start {
			p.align(x.epoch)
			c.emit(x)
			return
		}
	}
	p.split(c, x)
}

// split takes a pair apart.
func (p *pairing) split(c *Conn, x *roundTrip) {
	y := c.shared.roundTrip()
	y.reqDone, y.reqWhole, y.alone = true, true, true
	y.answer, x.answer, x.lent = x.answer, nil, true
	if p.group == x {
		p.group = y
	}
	p.giveUp(c, x)
	p.finish(c, y)
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

// endRequest takes the news that x's request is over.
func (p *pairing) endRequest(c *Conn, x *roundTrip) {
	if x.waiting && x.cost == 0 {
		x.cost = x.size()
		p.cost += x.cost
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
	p.answerStart, p.answerEnd, p.answerInterim = a.start, end, !a.final
	p.ahead(x)
	p.answerPaired = x.rec.Request != nil && x != p.probable
	if !p.pipelined {
		for _, y := range p.pending {
			if y.acked >= 0 && y.acked < end && (p.answerPaired || y.acked > a.start) {
				p.pipelined = true
				break
			}
		}
	}
	if x == p.probable {
		if !a.whole && !c.closed || a.msg.Status == 101 {
			p.probable = nil
			p.split(c, x)
		}
		return
	}
	p.finish(c, x)
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
		p.giveUp(c, p.takePending(0))
	}
}

// dropOldest gives up the oldest pending request, since there are too many.
func (p *pairing) dropOldest(c *Conn) {
	p.giveUp(c, p.takePending(0))
	if len(p.pending) > 0 {
		p.pending[0].follows = false
	}
}

// takePending removes and returns the i-th pending request.
func (p *pairing) takePending(i int) *roundTrip {
	x := p.pending[i]
	p.pending = slices.Delete(p.pending, i, i+1)
	p.cost -= x.cost
	x.waiting, x.cost = false, 0
	return x
}

// probeLen is what a keep-alive probe may carry: the byte before the next. Where a
// connection is joined at one, its first request seems to follow that byte.
const probeLen = 1

// close emits what is left when the connection closes, after both halves have
// ended what they had in progress.
func (p *pairing) close(c *Conn, r reassembly.CloseReason) {
	if x := p.probable; x != nil {
		p.probable = nil
		switch undisturbed := !p.pipelined && x.answer.epoch == c.serverHalf().epoch; {
		case undisturbed && x.answer.whole && len(p.pending) == 0 && r == reassembly.CloseFIN && (x.asksClose || !x.answer.closes):
			// The client wanted no more than this, or the server would have
			// gone on.
			c.emit(x)
		case undisturbed && x.start <= int64(c.origin)+probeLen && x.answer.start == 0 && (len(p.pending) == 0 || x.answer.whole && p.pending[0].acked == x.answer.end):
			// Nothing else was seen, so nothing could confirm it. The response may still be
			// in progress: if it ends with the connection, nothing else could come.
			x.flaws.Add(exchange.CloseFlaw(r))
			c.emit(x)
		default:
			p.split(c, x)
		}
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
	clear(p.pending)
	p.pending, p.cost = p.pending[:0], 0
}
