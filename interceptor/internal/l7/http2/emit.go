package http2

import (
	"capstan/interceptor/internal/exchange"
	capstanv1 "capstan/proto/capstan/v1"
)

// emit turns s into a record.
func (c *Conn) emit(s *stream) {
	if !s.request.seen && !s.response.seen {
		return // nothing but a reset or a lost frame
	}
	if c.doubtful(s) {
		c.shared.Stats.Doubtful++
		return
	}
	s.forgetTentative(&s.response) // nothing told that it was not interim
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
	if c.isToldAsCall(s) {
		c.shared.Stats.GRPC++
		c.emitCall(s)
	}
	s.emitSocket()
	if s.flaws != 0 {
		x.Flaws = s.flaws.Append(x.Flaws[:0])
	}
	c.rec.Emit(c.identity(), x, exchange.Screened{Request: c.shared.passed(s.request.passed), Response: c.shared.passed(s.response.passed)})
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
	if !s.request.headers {
		s.call.Request.Lost() // nobody knows whether those are messages, or what was not seen
	}
	if !s.response.headers {
		s.call.Response.Lost()
	}
	s.call.WebTrailers(c.rec.Undo, func(name, value string) {
		s.resp.Trailers = append(s.resp.Trailers, &capstanv1.Header{Name: name, Value: value})
	})
	s.rec.Grpc = s.call.Record()
}
