package http1

import (
	"capstan/interceptor/internal/exchange"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

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
			x.unproven = p.belief != believed
			p.finish(c, x)
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

// probeLen is what a keep-alive probe may carry: the byte before the next. Where a
// connection is joined at one, its first request seems to follow that byte.
const probeLen = 1

// settleLast is settle for a pair that nothing can confirm any more, since the connection
// closes.
func (p *pairing) settleLast(c *Conn, r reassembly.CloseReason) {
	x := p.probable
	p.probable = nil
	a := x.answer
	undisturbed := !p.pipelined && a.epoch == c.serverHalf().epoch
	switch {
	case undisturbed && x.method == methodConnect && c.clientHalf().offset > x.end:
		c.emit(x) // the client has taken it for the answer
	case undisturbed && a.whole && len(p.pending) == 0 && r == reassembly.CloseFIN && (x.asksClose || !a.closes && !c.serverLeft):
		// The client wanted no more than this, or would have waited for it.
		p.guess(c, x)
	case undisturbed && p.isAll(c, x):
		x.flaws.Add(exchange.CloseFlaw(r))
		p.guess(c, x)
	default:
		p.split(c, x)
	}
}

// guess emits x, a pair that nothing confirms nor refutes. Where the connection was joined
// midstream its response may be that of a request before it.
func (p *pairing) guess(c *Conn, x *roundTrip) {
	if c.conn.Midstream {
		x.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
	c.emit(x)
}

// isAll reports whether nothing but the pair x was seen, so that nothing could confirm it. Its
// response may still be in progress: if it ends with the connection, nothing else could come.
func (p *pairing) isAll(c *Conn, x *roundTrip) bool {
	a := x.answer
	return x.start <= int64(c.origin)+probeLen && a.start == 0 && (len(p.pending) == 0 || a.whole && p.pending[0].acked == a.end)
}
