package http1

import "slices"

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
		p.takePending(c, 0)
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
