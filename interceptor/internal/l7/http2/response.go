package http2

import capstanv1 "capstan/proto/capstan/v1"

// responseHeaders takes the header section of a response, interim or final.
func (s *stream) responseHeaders(h *half, sec *section, end bool) {
	m := &s.resp
	status := parseStatus(sec.status.value)
	if status >= 100 && status < 200 && status != 101 {
		s.interim(h, status, end)
		return
	}
	if !s.response.tentative {
		h.c.shared.Stats.Responses++
	}
	s.response.headers, s.response.tentative = true, sec.unclear && !end
	m.Status = status
	m.Headers = h.c.fields(s, sec.regular)
	s.response.passed = h.c.screened(sec.regular)
	s.response.length = sec.length
	if s.req.Method == "HEAD" || s.req.Method == "CONNECT" || status == 304 {
		s.response.length = lengthUnknown // it tells of a body that is not sent
	}
	// HTTP/2 has no 101 (RFC 9113 §8.6).
	if status == 101 || status == 0 && sec.unknown == 0 && !sec.cut {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	h.c.responseCall(s, sec.contentType.value, sec.lacksType())
}

// interim takes the status of an interim response.
func (s *stream) interim(h *half, status uint32, end bool) {
	h.c.shared.Stats.Interim++
	if len(s.resp.InterimStatuses) < maxInterim {
		s.resp.InterimStatuses = append(s.resp.InterimStatuses, status)
	}
	if end {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	s.forgetTentative(&s.response) // that was interim, too
	// The times are those of the final response.
	s.response = side{damaged: s.response.damaged, doubt: s.response.doubt}
}

// trailers takes the section behind a body.
func (s *stream) trailers(h *half, sec *section, end bool) {
	fields := h.c.fields(s, sec.regular)
	if h.isPremature(h.c.sideOf(s, h.dir)) || !end || sec.request || sec.response {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	if h.dir == h.c.client {
		s.req.Trailers = fields
		return
	}
	s.resp.Trailers = fields
	s.response.tentative = false // they follow a final response
	if (s.call == nil || s.call.Likely) && hasField(fields, "grpc-status") {
		h.c.calledLate(s)
	}
	if s.call == nil {
		return
	}
	for _, f := range fields {
		s.call.ResponseField(f.Name, f.Value)
	}
}
