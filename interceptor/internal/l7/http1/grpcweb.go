package http1

import (
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/grpc"
	capstanv1 "capstan/proto/capstan/v1"
)

// A call of gRPC-Web over HTTP/1 is followed in halves, as its exchange is: the
// response may turn out to be another request's.

// beginCall follows the messages of the body that starts, if its header section
// says that it holds some. gRPC itself needs HTTP/2.
func (h *half) beginCall() {
	kind := h.frame.messages
	if kind != grpc.Web && kind != grpc.WebText {
		return
	}
	call := new(grpc.Call)
	if h.request {
		h.x.call = call
		call.SetRequest(kind)
		call.SetPath(h.x.req.Target)
		for _, f := range h.x.req.Headers {
			call.RequestField(f.Name, f.Value)
		}
		return
	}
	h.a.call = call
	call.SetResponse(kind)
	for _, f := range h.a.msg.Headers {
		call.ResponseField(f.Name, f.Value)
	}
}

// messages returns what follows the messages of the body in progress, or nil.
func (h *half) messages() *grpc.Messages {
	switch {
	case h.request && h.x.call != nil:
		return &h.x.call.Request
	case !h.request && h.a.call != nil:
		return &h.a.call.Response
	}
	return nil
}

// emitCall makes x the record of a call, if one of its halves is.
func (x *roundTrip) emitCall(rec *exchange.Recorder) {
	q := x.call
	var s *grpc.Call
	if x.answer != nil && x.answer.final {
		s = x.answer.call
	}
	if q == nil && s == nil {
		return
	}
	if q == nil {
		q = s
		q.SetPath(x.req.Target)
	}
	x.rec.Protocol = capstanv1.Protocol_PROTOCOL_GRPC
	if x.rec.Request == nil {
		q.Request.Lost() // nobody knows what was not seen
	}
	if x.rec.Response == nil {
		q.Response.Lost()
	}
	if s == nil {
		x.rec.Grpc = q.Record()
		return
	}
	s.WebTrailers(rec.Undo, func(name, value string) {
		x.answer.msg.Trailers = append(x.answer.msg.Trailers, &capstanv1.Header{Name: name, Value: value})
	})
	x.rec.Grpc = q.RecordWith(s)
}
