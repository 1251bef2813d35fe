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
		if f.Name == "grpc-status" && s.call == nil {
			h.c.calledLate(s)
		}
		if s.call != nil {
			s.call.ResponseField(f.Name, text(&f, f.Value))
		}
	}
}

// requestCall tells the call, if s is one, what the header section of its request says.
func (c *Conn) requestCall(s *stream, contentType string) {
	if kind := grpc.KindOf(contentType); kind != grpc.None {
		c.called(s)
		s.call.SetRequest(kind)
	}
	if s.call == nil {
		return
	}
	s.call.SetPath(s.req.Target)
	for _, f := range s.req.Headers {
		s.call.RequestField(f.Name, f.Value)
	}
}

// responseCall tells the call, if s is one, what the header section of its
// response says.
func (c *Conn) responseCall(s *stream, contentType string) {
	kind := grpc.KindOf(contentType)
	switch {
	case s.call != nil && kind == grpc.None && contentType == "":
		kind = s.call.Kind() // it may be among what is unknown
	case s.call == nil && kind != grpc.None:
		c.called(s)
		if s.request.seen {
			s.call.SetRequest(kind)
			if s.reqBody.Size > 0 {
				s.call.Request.Lost()
			}
			s.call.SetPath(s.req.Target)
		}
	}
	if s.call == nil {
		return
	}
	s.call.SetResponse(kind)
	for _, f := range s.resp.Headers {
		s.call.ResponseField(f.Name, f.Value)
	}
}

// called makes s a call of gRPC.
func (c *Conn) called(s *stream) {
	if s.call == nil {
		s.call = c.shared.call()
	}
}

// calledLate makes s a call of gRPC whose header sections were not seen, or did
// not say so.
func (c *Conn) calledLate(s *stream) {
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
