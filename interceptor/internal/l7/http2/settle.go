package http2

import (
	"math"

	"capstan/pkg/flow"
	capstanv1 "capstan/proto/capstan/v1"
)

// endSide takes END_STREAM.
func (c *Conn) endSide(s *stream, h *half) {
	d := c.sideOf(s, h.dir)
	d.ended = true
	h.mayMislead()
	size := int64(s.body(h).Size)
	toHead := d == &s.response && size == 0 && s.req.Method == "" // or so it may be
	if d.headers && !d.damaged && d.length != lengthUnknown && d.length != size && !toHead {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED) // RFC 9113 §8.1.1
	}
	c.settle(s)
}

// settle emits s if nothing of it is to come, or nothing that could be told.
func (c *Conn) settle(s *stream) {
	switch {
	case !s.response.ended && !c.unanswered(s):
		return
	case s.request.ended, s.request.damaged && s.request.seen:
	case s.request.seen:
		return // a response before the end of its request
	case c.awaited(s):
		return
	}
	c.finish(s)
}

// unanswered reports whether nothing will be seen of the response to s, which is over: the
// capture has nothing of the server's direction, of which the client has received some.
func (c *Conn) unanswered(s *stream) bool {
	server, client := &c.half[c.client.Reverse()], &c.half[c.client]
	return s.request.ended && c.conn.Unseen.Has(server.dir) && client.acked > server.offset
}

// awaited reports whether the request of s, of which nothing was seen, may
// still come: its sender's half has not reached what the server had received.
func (c *Conn) awaited(s *stream) bool {
	server, client := &c.half[c.client.Reverse()], &c.half[c.client]
	if s.rec.Pushed || client.state == stateDead || c.conn.Unseen.Has(client.dir) {
		return false
	}
	if !s.orphan {
		if server.acked <= client.offset {
			return false
		}
		s.orphan, s.await = true, server.acked
		if c.orphans++; c.orphans == 1 || s.await < c.soonest {
			c.soonest = s.await
		}
		return true
	}
	return client.offset < s.await
}

// damage tells that the place was lost in h: any stream's frames may be among
// what is missing.
func (c *Conn) damage(h *half) {
	if !c.rolesKnown || !h.undamaged {
		return // else who loses the place again and again could have all streams gone over each time
	}
	h.undamaged = false
	first := !c.damaged // else a sweep is due already, however often more is lost
	for s := c.oldest; s != nil; {
		next := s.newer
		if first {
			s.request.quiet, s.response.quiet = true, true
		}
		d := c.sideOf(s, h.dir)
		if !d.ended {
			d.quiet = d.quiet && (first || d.damaged)
			d.damaged, c.damaged = true, true
			s.forgetTentative(d)
			if d.seen {
				s.flaws.Add(capstanv1.Flaw_FLAW_GAP)
				d.cutKeep = true
				if m := s.messages(h); m != nil {
					m.Lost()
				}
				s.missSocket(h, 0, false)
			}
			c.settle(s)
		}
		s = next
	}
	if first && c.damaged {
		c.sweepAt = c.conn.Touched + int64(lossTimeout)
	}
}

// tidy emits what need not be waited for any more.
func (c *Conn) tidy() {
	if client := &c.half[c.client]; c.orphans > 0 && (client.offset >= c.soonest || client.state == stateDead) {
		c.tidyOrphans()
	}
	if c.damaged && c.conn.Touched >= c.sweepAt {
		c.sweep()
	}
}

// tidyOrphans emits the orphans whose requests can't come any more.
func (c *Conn) tidyOrphans() {
	c.soonest = math.MaxInt64
	for s := c.oldest; s != nil; {
		next := s.newer
		if s.orphan {
			await := s.await
			if c.settle(s); c.half[c.client].offset < await {
				c.soonest = min(c.soonest, await)
			}
		}
		s = next
	}
}

// sweep emits the damaged streams for which nothing came for lossTimeout, which is
// since the last sweep, or the damage before.
func (c *Conn) sweep() {
	c.damaged = false
	for s := c.oldest; s != nil; {
		next := s.newer
		if s.request.damaged || s.response.damaged {
			if s.request.quiet && s.response.quiet {
				s.flaws.Add(capstanv1.Flaw_FLAW_GAP)
				c.finish(s)
			} else {
				c.damaged = true
				s.request.quiet, s.response.quiet = true, true
			}
		}
		s = next
	}
	c.sweepAt = c.conn.Touched + int64(lossTimeout)
}

// reset takes RST_STREAM of either end.
func (c *Conn) reset(h *half, id, code uint32) {
	if s := c.byID.get(id); s != nil {
		h.mark(s)
		c.sideOf(s, h.dir).reset = true
		h.mayMislead()
		c.refuse(s, code)
	} else {
		c.remember(id) // its frames may still be under way
	}
}

// refusal is what GOAWAY says: the streams of its receiver beyond last are refused
// (RFC 9113 §6.8).
type refusal struct {
	said       bool
	guessed    bool  // as half.guessed
	applied    uint8 // how many were applied at once
	last, code uint32
}

// maxApplied bounds the GOAWAY that streams are gone over for at once: a sender has two
// of them to say, and each takes a look at all streams. What later ones refuse is told
// when the connection closes.
const maxApplied = 16

// refuses reports whether stream id is refused. client tells whether the client
// said so, to which the server's streams are even.
func (r *refusal) refuses(id uint32, client bool) bool {
	return r.said && id > r.last && (id%2 == 0) == client
}

// goAway takes GOAWAY.
func (c *Conn) goAway(d flow.Direction, last, code uint32) {
	if !c.rolesKnown {
		return
	}
	r := &c.refusals[d]
	*r = refusal{said: true, guessed: c.half[d].guessed, applied: r.applied, last: last, code: code}
	if r.applied == maxApplied {
		return
	}
	r.applied++
	for s := c.oldest; s != nil; {
		next := s.newer
		if r.refuses(s.id, d == c.client) {
			c.half[d].mark(s)
			c.sideOf(s, d).reset = true
			c.half[d].mayMislead()
			c.refuse(s, code)
		}
		s = next
	}
}

// overtaken refuses s, which is still open and has no response, if GOAWAY had
// refused it before its first frame was captured.
func (c *Conn) overtaken(s *stream) bool {
	for d := range c.refusals {
		if r := &c.refusals[d]; !s.response.seen && r.refuses(s.id, flow.Direction(d) == c.client) {
			if r.guessed {
				s.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
			}
			c.refuse(s, r.code)
			return true
		}
	}
	return false
}

func (c *Conn) refuse(s *stream, code uint32) {
	c.shared.Stats.Resets++
	s.flaws.Add(capstanv1.Flaw_FLAW_RESET)
	s.rec.ErrorCode = code
	c.finish(s)
}

// closeStreams emits what is open when the connection closes.
func (c *Conn) closeStreams(f capstanv1.Flaw) {
	for c.oldest != nil {
		s := c.oldest
		if c.overtaken(s) {
			continue
		}
		if !s.request.ended || !s.response.ended {
			s.flaws.Add(f)
		}
		c.finish(s)
	}
}

// unasked reports whether s is a response that was not asked for yet: what the client sends on
// its stream from now on begins a request.
func (c *Conn) unasked(s *stream) bool {
	return !s.request.seen && !s.request.doubt && !s.request.damaged && c.half[c.client].proven
}

// finish emits s. Nothing may refer to it afterwards.
func (c *Conn) finish(s *stream) {
	c.take(s)
	c.leave(s)
	if !s.request.ended && !c.unasked(s) || !s.response.ended {
		c.remember(s.id)
	}
	c.emit(s)
	if s.socket != nil {
		s.socket.Drop() // unless its record was taken
	}
	c.shared.Stats.HeldContent -= len(s.reqBody.Content) + len(s.respBody.Content)
	c.shared.recycle(s)
}
