package http2

import (
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/grpc"
	"capstan/pkg/flow"
	capstanv1 "capstan/proto/capstan/v1"
)

// stream is a request, its response, or both, on the way to a record. It is one
// allocation with everything of fixed size that a record needs.
type stream struct {
	rec      capstanv1.Exchange
	req      capstanv1.HttpRequest
	resp     capstanv1.HttpResponse
	reqBody  capstanv1.Body
	respBody capstanv1.Body

	id       uint32
	request  side
	response side
	call     *grpc.Call // nil unless it is one
	flaws    exchange.Flaws
	cost     int // estimated bytes it keeps

	// orphan: the response is over and no request was seen. It may still come,
	// until the client's half has reached await.
	orphan bool
	await  int64

	older, newer *stream // in the order of opening
}

// side is what is known of one direction of a stream.
type side struct {
	seen    bool // any frame of it
	headers bool // its header section, that of a final response
	ended   bool
	data    bool // a frame of DATA
	damaged bool // the place was lost since it opened
	doubt   bool // it may have begun before anybody looked
	// tentative: the header section may be that of an interim response, since
	// its status is unknown.
	tentative bool
	length    int64 // of content-length, or lengthUnknown
	cutKeep   bool  // no more of its body is kept
	first     int64
	last      int64 // time of its latest byte
}

// touch notes a byte of the side at the given times.
func (s *side) touch(first, last int64) {
	if !s.seen {
		s.seen, s.first = true, first
	}
	s.last = max(s.last, last)
}

// Estimates of what a stream keeps in memory.
const (
	streamCost = 1 << 10 // the stream itself
	fieldCost  = 96      // a header field besides its text
)

// streams are those of a connection that are open, in the order of opening.
type streams struct {
	byID           map[uint32]*stream
	oldest, newest *stream
	cost           int
	orphans        int
	damaged        bool  // there is one with a damaged side
	sweepAt        int64 // when to look for damaged ones that nothing comes for
	gone           *gone
}

// gone remembers the streams that were told before both ends had ended them:
// frames of theirs may still come.
type gone struct {
	ids  [256]uint32
	next uint8
}

func (g *gone) has(id uint32) bool {
	if g != nil {
		for _, i := range g.ids {
			if i == id {
				return true
			}
		}
	}
	return false
}

func (t *streams) remember(id uint32) {
	if t.gone == nil {
		t.gone = new(gone)
	}
	t.gone.ids[t.gone.next] = id
	t.gone.next++
}

// open makes stream id.
func (c *Conn) open(id uint32) *stream {
	for len(c.byID) >= c.cfg.MaxStreams || c.streams.cost > c.cfg.MaxStreamBytes && c.oldest != nil {
		c.shared.Stats.ShedStreams++
		c.oldest.flaws.Add(capstanv1.Flaw_FLAW_EVICTED)
		c.finish(c.oldest)
	}
	s := &stream{id: id}
	if c.byID == nil {
		c.byID = make(map[uint32]*stream)
	}
	c.byID[id] = s
	s.request.doubt = c.half[c.client].state == stateResync
	s.response.doubt = c.half[c.client.Reverse()].state == stateResync
	if s.older = c.newest; s.older != nil {
		s.older.newer = s
	} else {
		c.oldest = s
	}
	c.newest = s
	c.addCost(s, streamCost)
	return s
}

func (c *Conn) addCost(s *stream, n int) {
	s.cost += n
	c.streams.cost += n
}

// take removes s from the table.
func (c *Conn) take(s *stream) {
	delete(c.byID, s.id)
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		c.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		c.newest = s.older
	}
	s.older, s.newer = nil, nil
	c.streams.cost -= s.cost
	if s.orphan {
		c.orphans--
	}
	for d := range c.half {
		if c.half[d].stream == s {
			c.half[d].stream = nil
		}
	}
}

// streamOf returns stream id for a frame of direction d: one whose start was
// not seen is opened, one that was told already is not. Nil if there is no use
// in it.
func (c *Conn) streamOf(id uint32, d flow.Direction) *stream {
	if s := c.byID[id]; s != nil {
		return s
	}
	if !c.rolesKnown || c.gone.has(id) || id%2 == 0 && d == c.client {
		return nil
	}
	s := c.open(id)
	if !c.half[d].proven {
		c.sideOf(s, d).doubt = true
	}
	return s
}

// sideOf returns the side of s that direction d sends.
func (c *Conn) sideOf(s *stream, d flow.Direction) *side {
	if d == c.client {
		return &s.request
	}
	return &s.response
}

// beginData takes the start of a frame with a part of the body.
func (s *stream) beginData(h *half) {
	if s != nil {
		d := h.c.sideOf(s, h.dir)
		d.touch(h.frameTime, h.time)
		d.data, d.tentative = true, false // no body follows an interim response
	}
}

// data takes bytes of the body.
func (s *stream) data(h *half, b []byte) {
	if s == nil {
		return
	}
	d, body := h.c.sideOf(s, h.dir), s.body(h)
	d.last = max(d.last, h.time)
	body.Size += uint64(len(b))
	if !d.cutKeep {
		h.c.keep(s, d, body, b, int(h.left-h.padding))
	}
	if m := s.messages(h); m != nil {
		m.Data(b)
	}
}

func (s *stream) body(h *half) *capstanv1.Body {
	if h.dir == h.c.client {
		return &s.reqBody
	}
	return &s.respBody
}

func (s *stream) messages(h *half) *grpc.Messages {
	switch {
	case s.call == nil:
		return nil
	case h.dir == h.c.client:
		return &s.call.Request
	}
	return &s.call.Response
}

// keep copies b, since the record outlives the segment, up to the limit. more
// bytes follow in the frame.
func (c *Conn) keep(s *stream, d *side, body *capstanv1.Body, b []byte, more int) {
	room := c.rec.BodyLimit() - len(body.Content)
	if len(b) >= room {
		b = b[:room]
		d.cutKeep = true
	}
	if len(b) == 0 {
		return
	}
	before := cap(body.Content)
	if body.Content == nil {
		// What the frame still owes is believed up to the common length of one.
		body.Content = make([]byte, 0, max(len(b), min(len(b)+more, room, defaultMaxFrame)))
	}
	body.Content = append(body.Content, b...)
	c.addCost(s, cap(body.Content)-before)
}

// missData takes n bytes of the body that were not captured; exact tells that
// no other bytes are missing.
func (s *stream) missData(h *half, n int64, exact bool) {
	if s == nil {
		return
	}
	d, body := h.c.sideOf(s, h.dir), s.body(h)
	d.touch(h.frameTime, h.time)
	if n == 0 && exact {
		return // only padding
	}
	d.cutKeep = true
	body.Size += uint64(n)
	body.GapBytes += uint64(n)
	s.flaws.Add(capstanv1.Flaw_FLAW_GAP)
	if m := s.messages(h); m != nil {
		if exact {
			m.Gap(n)
		} else {
			m.Lost()
		}
	}
}

// endSide takes END_STREAM.
func (c *Conn) endSide(s *stream, h *half) {
	d := c.sideOf(s, h.dir)
	d.ended = true
	if d.headers && !d.damaged && d.length != lengthUnknown && d.length != int64(s.body(h).Size) {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED) // RFC 9113 §8.1.1
	}
	c.settle(s)
}

// settle emits s if nothing of it is to come, or nothing that could be told.
func (c *Conn) settle(s *stream) {
	switch {
	case !s.response.ended:
		return
	case s.request.ended, s.request.damaged && s.request.seen:
	case s.request.seen:
		return // a response before the end of its request
	case c.awaited(s):
		return
	}
	c.finish(s)
}

// awaited reports whether the request of s, of which nothing was seen, may
// still come: its sender's half has not reached what the server had received.
func (c *Conn) awaited(s *stream) bool {
	server, client := &c.half[c.client.Reverse()], &c.half[c.client]
	if s.rec.Pushed || client.state == stateDead {
		return false
	}
	if !s.orphan {
		if server.acked <= client.offset {
			return false
		}
		s.orphan, s.await = true, server.acked
		c.orphans++
		return true
	}
	return client.offset < s.await
}

// damage tells that the place was lost in h: any stream's frames may be among
// what is missing.
func (c *Conn) damage(h *half) {
	if !c.rolesKnown {
		return
	}
	for s := c.oldest; s != nil; {
		next := s.newer
		d := c.sideOf(s, h.dir)
		if !d.ended {
			d.damaged, c.damaged = true, true
			s.forgetTentative(d)
			if d.seen {
				s.flaws.Add(capstanv1.Flaw_FLAW_GAP)
				d.cutKeep = true
				if m := s.messages(h); m != nil {
					m.Lost()
				}
			}
			c.settle(s)
		}
		s = next
	}
	if c.damaged {
		c.sweepAt = h.time + int64(c.cfg.LossTimeout)
	}
}

// tidy emits what need not be waited for any more.
func (c *Conn) tidy(now int64) {
	if c.orphans > 0 {
		for s := c.oldest; s != nil; {
			next := s.newer
			if s.orphan {
				c.settle(s)
			}
			s = next
		}
	}
	if c.damaged && now >= c.sweepAt {
		c.sweep(now)
	}
}

// sweep emits the damaged streams for which nothing came for LossTimeout.
func (c *Conn) sweep(now int64) {
	c.damaged = false
	for s := c.oldest; s != nil; {
		next := s.newer
		if s.request.damaged || s.response.damaged {
			if max(s.request.last, s.response.last) <= now-int64(c.cfg.LossTimeout) {
				s.flaws.Add(capstanv1.Flaw_FLAW_GAP)
				c.finish(s)
			} else {
				c.damaged = true
			}
		}
		s = next
	}
	c.sweepAt = now + int64(c.cfg.LossTimeout)
}

// reset takes RST_STREAM of either end.
func (c *Conn) reset(id, code uint32) {
	if s := c.byID[id]; s != nil {
		c.refuse(s, code)
	} else {
		c.remember(id) // its frames may still be under way
	}
}

// goAway takes GOAWAY: the streams of the other end beyond last are refused
// (RFC 9113 §6.8).
func (c *Conn) goAway(d flow.Direction, last, code uint32) {
	if !c.rolesKnown {
		return
	}
	refused := uint32(1) // parity of the streams that the receiver opened
	if d == c.client {
		refused = 0
	}
	for s := c.oldest; s != nil; {
		next := s.newer
		if s.id > last && s.id%2 == refused {
			c.refuse(s, code)
		}
		s = next
	}
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
		if !s.request.ended || !s.response.ended {
			s.flaws.Add(f)
		}
		c.finish(s)
	}
}

// finish emits s.
func (c *Conn) finish(s *stream) {
	c.take(s)
	if !s.request.ended || !s.response.ended {
		c.remember(s.id)
	}
	c.emit(s)
}

// emit turns s into a record. Nothing refers to s afterwards.
func (c *Conn) emit(s *stream) {
	if !s.request.seen && !s.response.seen {
		return // nothing but a reset or a lost frame
	}
	x := &s.rec
	x.Protocol, x.StreamId = capstanv1.Protocol_PROTOCOL_HTTP2, s.id
	x.Complete = s.request.ended && s.response.ended
	if s.request.seen {
		x.Request, s.req.Body = &s.req, &s.reqBody
		s.req.FirstByteUnixNs, s.req.LastByteUnixNs = uint64(s.request.first), uint64(s.request.last)
		s.finishSide(&s.request, &s.reqBody)
		if s.req.Version == "" {
			s.req.Version = version
		}
	}
	if s.response.seen {
		x.Response, s.resp.Body = &s.resp, &s.respBody
		s.resp.FirstByteUnixNs, s.resp.LastByteUnixNs = uint64(s.response.first), uint64(s.response.last)
		s.resp.Version = version
		s.finishSide(&s.response, &s.respBody)
	}
	if s.call != nil {
		c.shared.Stats.GRPC++
		c.emitCall(s)
	}
	if s.flaws != 0 {
		x.Flaws = s.flaws.Append(make([]capstanv1.Flaw, 0, 4))
	}
	c.rec.Emit(c.identity(), x)
}

// version is how records name the protocol's version.
const version = "HTTP/2"

func (s *stream) finishSide(d *side, body *capstanv1.Body) {
	body.Truncated = uint64(len(body.Content)) < body.Size
	if !d.headers {
		s.flaws.Add(capstanv1.Flaw_FLAW_HEADERS_UNKNOWN)
		if d.damaged {
			s.flaws.Add(capstanv1.Flaw_FLAW_GAP) // that is where they are
		}
	}
}

func (c *Conn) emitCall(s *stream) {
	s.rec.Protocol = capstanv1.Protocol_PROTOCOL_GRPC
	s.call.WebTrailers(func(name, value string) {
		s.resp.Trailers = append(s.resp.Trailers, &capstanv1.Header{Name: name, Value: value})
	})
	s.rec.Grpc = s.call.Record()
}
