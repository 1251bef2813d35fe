package http1

import (
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

// This file holds what becomes of pairs on a connection joined midstream that offsets alone
// tell: a client that keeps several requests under way looks like one that waits, as long as
// its server is slower than it, and its pairs are shifted. When it rests, the responses that
// are owed come unasked.

// belief is how far the pairs of a connection are believed.
type belief uint8

const (
	unchecked belief = iota // nothing came behind the first one
	confirmed               // what did does not tell of another request under way then
	believed                // nothing is likely to refute them any more
	shaken                  // they were, but requests may have been missed since
)

// restTime is for how long a client that waits has sent nothing: who is owed a response is
// likely to get it in less.
const restTime = 250 * time.Millisecond

// maxWithheld is how many pairs in a row are believed.
const maxWithheld = 8

// withhold keeps x, a pair that what comes next may refute.
func (p *pairing) withhold(c *Conn, x *roundTrip) {
	p.withheld = append(p.withheld, x)
	x.cost = x.size()
	p.cost += x.cost
	c.shared.Stats.Charge += x.cost
	if len(p.withheld) == maxWithheld || p.cost > c.shared.cfg.MaxPendingBytes {
		p.believe(c)
	}
}

// lastPaired returns the pair that ended last, if it is not told yet, else nil.
func (p *pairing) lastPaired() *roundTrip {
	if n := len(p.withheld); n > 0 {
		return p.withheld[n-1]
	}
	return p.probable
}

// rested reports whether nothing came since the last pair until the client, which had all of
// that, sent x, for as long as would have brought a response that is owed.
func (p *pairing) rested(x *roundTrip) bool {
	last := p.lastPaired()
	return last != nil && len(p.pending) == 0 && p.group == nil && x.acked == p.answerEnd &&
		int64(x.req.FirstByteUnixNs-last.answer.msg.LastByteUnixNs) >= int64(restTime)
}

// review takes the news that another message begins, or none will: the first pair is no good
// if its client is known to pipeline by now.
func (p *pairing) review(c *Conn) {
	switch {
	case len(p.withheld) == 0 || p.belief == confirmed:
	case p.pipelined:
		p.reveal(c, false)
	case p.belief == shaken:
		p.belief = believed
		p.reveal(c, true)
	default:
		p.belief = confirmed
	}
}

// believe takes the pairs for right, as far as they are not known to be wrong.
func (p *pairing) believe(c *Conn) {
	p.review(c)
	p.belief = believed
	p.reveal(c, true)
}

// refutes reports whether the response at h's mark, which nothing pending can have asked for,
// refutes the pairs that are withheld: then a request before them had, and they are shifted.
// Only 408 may come unasked (RFC 9110 §15.5.9).
func (p *pairing) refutes(h *half) bool {
	n, client := len(p.withheld), h.c.clientHalf()
	if n == 0 || h.msgAcked < 0 || h.msgAcked > client.offset || h.status.status == 408 || p.withheld[n-1].epoch != client.epoch {
		return false
	}
	return len(p.pending) == 0 || p.pending[0].follows && p.pending[0].refuted(h)
}

// refute takes the news that the pairs that are withheld, if there are any, are wrong.
func (p *pairing) refute(c *Conn) {
	if len(p.withheld) > 0 {
		p.belief = unchecked
		p.reveal(c, false)
	}
}

// question takes the news that the pairs that are withheld may be wrong: they are emitted with
// that doubt.
func (p *pairing) question(c *Conn) {
	for _, x := range p.withheld {
		x.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
	p.reveal(c, true)
}

// reveal emits the pairs that are withheld, or takes them apart.
func (p *pairing) reveal(c *Conn, good bool) {
	shown := p.withheld
	p.withheld = nil
	for _, x := range shown {
		p.cost -= x.cost
		c.shared.Stats.Charge -= x.cost
		x.cost, x.unproven = 0, false
		if good {
			c.emit(x)
		} else {
			p.split(c, x)
		}
	}
	clear(shown)
	p.withheld = shown[:0]
}
