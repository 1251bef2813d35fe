package http2

import (
	"capstan/interceptor/internal/l7/grpc"
	capstanv1 "capstan/proto/capstan/v1"
)

// dataStream returns the stream that a frame of DATA is of, or nil. A header
// section goes before each: where nothing was missed, a stream that is not open
// was told already. nginx 1.22 is known to end streams twice, the second time by
// an empty frame.
func (h *half) dataStream() *stream {
	if h.proven {
		return h.c.byID.get(h.frame.stream)
	}
	return h.c.streamOf(h.frame.stream, h.dir)
}

// isPremature reports whether what comes next on side d, which is h's, has to stand behind a
// header section, and there was none (RFC 9113 §8.1).
func (h *half) isPremature(d *side) bool { return h.proven && !d.headers && !d.doubt && !d.damaged }

// beginData takes the start of a frame with a part of the body.
func (s *stream) beginData(h *half) {
	if s != nil {
		h.mark(s)
		d := h.c.sideOf(s, h.dir)
		if h.isPremature(d) || d.ended && h.contentLeft() > 0 {
			s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
		}
		d.touch(h.frameTime, h.time)
		d.data, d.tentative = true, false // no body follows an interim response
		h.c.beginSocket(s)
	}
}

// data takes bytes of the body.
func (s *stream) data(h *half, b []byte) {
	if s == nil {
		return
	}
	d, body := h.c.sideOf(s, h.dir), s.body(h)
	d.last, d.quiet = max(d.last, h.time), false
	body.Size += uint64(len(b))
	if !d.cutKeep {
		h.c.keep(s, d, body, b, int(h.contentLeft()))
	}
	if m := s.messages(h); m != nil {
		m.Data(b)
	}
	if s.socket != nil {
		s.socket.Data(h.dir == h.c.client, h.time, b)
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
	room := max(c.rec.BodyLimit()-len(body.Content), 0) // the limit may have become less
	if len(b) >= room {
		b = b[:room]
		d.cutKeep = true
	}
	if len(b) == 0 {
		return
	}
	before := cap(body.Content)
	// What the frame still owes is believed up to the common length of one.
	body.Content = c.shared.buffers.append(body.Content, b, len(body.Content)+min(len(b)+more, room, defaultMaxFrame))
	c.addCost(s, cap(body.Content)-before)
	c.shared.Stats.HeldContent += len(b)
}

// missData takes n bytes of the body that were not captured; exact tells that
// no other bytes are missing.
func (s *stream) missData(h *half, n int64, exact bool) {
	if s == nil {
		return
	}
	h.mark(s)
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
	s.missSocket(h, n, exact)
}
