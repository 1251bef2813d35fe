package http2

import (
	"capstan/interceptor/internal/l7/grpc"
	capstanv1 "capstan/proto/capstan/v1"
)

// unclear takes a section that may be one thing or another. Only the status of
// a call means the same wherever it stands.
func (s *stream) unclear(h *half, sec *section) {
	if h.dir == h.c.client {
		return
	}
	for _, f := range sec.regular {
		if f.NameUnknown || f.ValueUnknown {
			continue
		}
		if f.Name == "grpc-status" {
			h.c.calledLate(s)
		}
		if s.call != nil {
			s.call.ResponseField(f.Name, text(&f, f.Value))
		}
	}
}

// requestCall tells the call, if s is one, what the header section of its request says.
func (c *Conn) requestCall(s *stream, sec *section) {
	kind := c.mayCall(s, sec.contentType.value, sec.mayBeOfCall())
	if s.call == nil {
		return
	}
	s.call.SetRequest(kind)
	s.call.SetPath(s.req.Target)
	for _, f := range s.req.Headers {
		s.call.RequestField(f.Name, f.Value)
	}
}

// responseCall tells the call, if s is one, what the header section of its response says. may
// tells that for all that is known it may be one.
func (c *Conn) responseCall(s *stream, contentType string, may bool) {
	kind := c.mayCall(s, contentType, may)
	if s.call == nil {
		return
	}
	if s.request.seen && s.call.Kind() == grpc.None {
		s.call.SetRequest(kind)
		s.call.SetPath(s.req.Target)
	}
	s.call.SetResponse(kind)
	for _, f := range s.resp.Headers {
		s.call.ResponseField(f.Name, f.Value)
	}
}

// mayCall makes s a call of gRPC, or not, as the content type of one of its sides says. If that
// is empty, may tells that it is among what is not known. It returns the kind of that side.
func (c *Conn) mayCall(s *stream, contentType string, may bool) grpc.Kind {
	kind := grpc.KindOf(contentType)
	if s.isLikely() && !may {
		s.call.Likely = false // now it is known
		if kind != grpc.Plain {
			c.shared.dropCall(s)
		}
	}
	switch {
	case kind != grpc.None:
		c.called(s)
	case may && s.call == nil:
		c.called(s)
		s.call.Likely = true
		return grpc.Plain
	case contentType == "" && s.call != nil:
		return s.call.AnyKind()
	}
	return kind
}

// called makes s a call of gRPC.
func (c *Conn) called(s *stream) {
	if s.call != nil {
		return
	}
	s.call = c.shared.call()
	if s.reqBody.Size > 0 {
		s.call.Request.Lost()
	}
	if s.respBody.Size > 0 {
		s.call.Response.Lost()
	}
}

// calledLate makes s a call of gRPC, if it is not known as one, whose header sections were not
// seen, or did not say so.
func (c *Conn) calledLate(s *stream) {
	if s.call != nil {
		s.call.Likely = false
		return
	}
	c.called(s)
	s.call.SetPath(s.req.Target)
	s.call.Request.Lost()
	s.call.Response.Lost()
}

func hasField(fields []*capstanv1.Header, name string) bool {
	for _, f := range fields {
		if f.Name == name {
			return true
		}
	}
	return false
}
