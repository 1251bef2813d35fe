package http2

import (
	"strconv"
	"strings"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/grpc"
	capstanv1 "capstan/proto/capstan/v1"
)

// lacksType reports whether the content type is among what is not known.
func (sec *section) lacksType() bool {
	return sec.unknown > 0 && sec.contentType.value == "" && !sec.cut
}

// mayBeOfCall reports whether the request may be one of a call of gRPC, for all that is known.
func (sec *section) mayBeOfCall() bool {
	return sec.lacksType() && (!sec.method.seen || sec.method.unknown || sec.method.value == "POST")
}

// isLikely reports whether s is a call only if its messages show it.
func (s *stream) isLikely() bool { return s.call != nil && s.call.Likely }

// isToldAsCall reports whether the record of s, which is about to leave, is that of a call, and
// looks for what can still be known of it.
func (c *Conn) isToldAsCall(s *stream) bool {
	if s.isLikely() {
		if !c.looksLikeCall(s) {
			c.shared.dropCall(s)
			return false
		}
		s.call.Likely = false
		s.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
	if s.call == nil {
		return false
	}
	if c.cfg.InferFields {
		s.findStatus()
	}
	return true
}

// looksLikeCall reports whether the bodies of s are what those of calls are, which hardly any
// other is: nothing but messages, and trailers behind those of the response. A call that
// failed may have none; it is one among others.
func (c *Conn) looksLikeCall(s *stream) bool {
	requests, whole := s.call.Request.Whole()
	if !whole || requests == 0 || !s.request.ended || !s.response.ended || !s.response.headers || s.resp.Status != 200 {
		return false
	}
	responses, whole := s.call.Response.Whole()
	switch {
	case !whole:
		return false
	case responses > 0 && len(s.resp.Trailers) > 0:
		c.calls = true
		return true
	}
	return c.calls && !c.half[c.client].others
}

// findStatus finds the status of a call among fields whose names are not known: one has to be
// there, and it is a number.
func (s *stream) findStatus() {
	const partial = exchange.Flaws(1<<capstanv1.Flaw_FLAW_GAP | 1<<capstanv1.Flaw_FLAW_HEADERS_CUT)
	if !s.flaws.Has(capstanv1.Flaw_FLAW_HEADERS_UNKNOWN) || s.flaws&partial != 0 || !s.response.ended || !s.response.headers || !s.call.Plain() {
		return
	}
	fields, typed := s.resp.Trailers, true
	if len(fields) == 0 && s.respBody.Size == 0 {
		fields, typed = s.resp.Headers, false
	}
	if f := statusAmong(fields, typed); f != nil {
		f.Name, f.NameUnknown = "grpc-status", false
		s.call.ResponseField(f.Name, f.Value)
		s.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
}

// statusAmong returns which of the fields is grpc-status, if its name is not known and only
// it can be that. One of them is (PROTOCOL-HTTP2, Trailers), and another the content type
// unless that is elsewhere: typed.
func statusAmong(fields []*capstanv1.Header, typed bool) (status *capstanv1.Header) {
	unknown := 0
	for _, f := range fields {
		switch {
		case f.Name == "grpc-status":
			return nil
		case f.Name == "content-type" || f.NameUnknown && grpc.KindOf(f.Value) != grpc.None:
			typed = true
		case !f.NameUnknown:
		case f.ValueUnknown:
			unknown++
		case isNumber(f.Value):
			if status != nil {
				return nil
			}
			status = f
		}
	}
	if status == nil || unknown > 1 || unknown == 1 && typed {
		return nil
	}
	if n, err := strconv.ParseUint(status.Value, 10, 8); err != nil || n > maxStatus {
		return nil
	}
	return status
}

// maxStatus is the highest status that gRPC knows.
const maxStatus = 16

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
