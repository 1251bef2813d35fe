package http2

import (
	"strings"

	"capstan/interceptor/internal/l7/websocket"
	capstanv1 "capstan/proto/capstan/v1"
)

// beginSocket follows the frames of WebSocket in the body of s, if an extended
// CONNECT was made for that (RFC 8441 §5).
func (c *Conn) beginSocket(s *stream) {
	if s.socket != nil || !strings.EqualFold(s.req.Protocol, "websocket") || s.refused() {
		return
	}
	s.socket = websocket.New(c.cfg.WebSocket, websocket.Agreement{
		Extensions:   joined(s.resp.Headers, "sec-websocket-extensions"),
		Subprotocol:  joined(s.resp.Headers, "sec-websocket-protocol"),
		ContentLimit: c.rec.BodyLimit(),
	})
	c.addCost(s, 2*c.rec.BodyLimit())
}

// refused reports whether the response is known and does not agree.
func (s *stream) refused() bool {
	return s.resp.Status != 0 && (s.resp.Status < 200 || s.resp.Status > 299)
}

// missSocket takes n bytes that were not captured, or more if that is not exact.
func (s *stream) missSocket(h *half, n int64, exact bool) {
	switch fromClient := h.dir == h.c.client; {
	case s.socket == nil:
	case exact:
		s.socket.Gap(fromClient, n)
	default:
		s.socket.Lost(fromClient)
	}
}

func (s *stream) emitSocket() {
	if s.socket == nil || s.refused() {
		return
	}
	s.rec.Protocol, s.rec.Websocket = capstanv1.Protocol_PROTOCOL_WEBSOCKET, s.socket.Record()
	if w := s.rec.Websocket; w.Client.MalformedFrames+w.Server.MalformedFrames > 0 {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
}

// joined returns the values of the fields of that name, joined by commas.
func joined(fields []*capstanv1.Header, name string) (value string) {
	for _, f := range fields {
		switch {
		case f.Name != name:
		case value == "":
			value = f.Value
		default:
			value += "," + f.Value
		}
	}
	return value
}
