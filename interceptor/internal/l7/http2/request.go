package http2

import (
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// requestHeaders takes the header section of a request.
func (s *stream) requestHeaders(h *half, sec *section) {
	h.c.shared.Stats.Requests++
	s.request.headers = true
	q := &s.req
	q.Method, q.Scheme, q.Target, q.Protocol = sec.method.value, sec.scheme.value, sec.path.value, sec.protocol.value
	q.Headers = h.c.fields(s, sec.regular)
	s.request.passed = h.c.screened(sec.regular)
	s.request.length = sec.length
	s.authority(sec)
	if q.Method == "CONNECT" && !sec.protocol.seen {
		q.Target = q.Authority
	}
	if sec.unknown == 0 && !sec.cut && !h.c.wellFormed(sec) {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	h.c.requestCall(s, sec)
	h.others = h.others || s.call == nil && sec.unknown == 0 && !sec.cut
}

// wellFormed reports whether a whole section has the pseudo-header fields that a request
// needs (RFC 9113 §8.3.1, §8.5, RFC 8441 §4).
func (c *Conn) wellFormed(sec *section) bool {
	connect, extended := sec.method.value == "CONNECT", sec.protocol.seen
	switch {
	case !sec.method.seen, extended && !connect, extended && c.refusesConnect():
		return false
	case connect && !extended:
		return !sec.scheme.seen && !sec.path.seen
	}
	return sec.scheme.seen && sec.path.seen
}

// refusesConnect reports whether the server certainly did not allow extended
// CONNECT (RFC 8441 §3).
func (c *Conn) refusesConnect() bool {
	server := &c.half[c.client.Reverse()]
	return server.proven && server.offset > 0 && !server.enablesConnect
}

// authority finds who is asked: :authority, else host. User information is left
// out, since it is a credential; nobody may send it (RFC 9113 §8.3.1).
func (s *stream) authority(sec *section) {
	a := sec.authority.value
	switch {
	case sec.authority.unknown:
	case !sec.authority.seen:
		a = sec.host.value
	case sec.host.seen && !sec.host.unknown && !strings.EqualFold(a, sec.host.value):
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	if i := strings.LastIndexByte(a, '@'); i >= 0 {
		a = a[i+1:]
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	s.req.Authority = a
}
