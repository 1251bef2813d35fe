package http2

import (
	"strings"

	"capstan/interceptor/internal/l7/grpc"
	capstanv1 "capstan/proto/capstan/v1"
)

// headers takes a header section: of a request, a promise, a response, or
// trailers.
func (c *Conn) headers(h *half, b *block, sec *section) {
	if !c.rolesKnown && !c.roleFrom(h, b, sec) {
		c.shared.Stats.Roleless++
		return
	}
	if !h.proven && (sec.request && c.roleOf(h.dir) != roleClient && !b.promise || sec.response && c.roleOf(h.dir) == roleClient) {
		h.lost() // nobody sends that
		return
	}
	if b.promise {
		c.promised(h, b, sec)
		return
	}
	s := c.streamOf(b.stream, h.dir)
	if s == nil {
		return
	}
	h.mark(s)
	d := c.sideOf(s, h.dir)
	if sec.request && d.headers && d == &s.request && s.flaws.Has(capstanv1.Flaw_FLAW_PLACE_GUESSED) {
		c.disbelieve(s)
	}
	d.touch(b.time, h.time)
	switch kind := d.classify(sec, b.endStream); {
	case kind == kindTrailers:
		s.trailers(h, sec, b.endStream)
	case kind == kindUnclear:
		s.forgetTentative(d)
		s.unclear(h, sec)
	case d == &s.request:
		s.requestHeaders(h, sec)
	default:
		s.responseHeaders(h, sec, b.endStream)
	}
	s.judge(sec)
	if b.endStream {
		c.endSide(s, h)
	}
}

// sectionKind is what a header section is on its stream.
type sectionKind uint8

const (
	kindHeaders sectionKind = iota
	kindTrailers
	kindUnclear
)

// classify tells what a section is. That is easy unless its first field, where
// the pseudo-header fields are, is unknown.
func (d *side) classify(sec *section, end bool) sectionKind {
	settled := d.headers && !d.tentative
	switch {
	case sec.trailers:
		return kindTrailers
	case !sec.unclear:
		if settled {
			return kindTrailers // malformed
		}
		return kindHeaders
	case settled || d.data:
		if end {
			return kindTrailers
		}
		return kindUnclear
	case !end:
		return kindHeaders // what came before was interim
	case d.tentative || d.doubt || d.damaged:
		return kindUnclear // the end of a stream without a body, or its trailers
	}
	return kindHeaders
}

// forgetTentative drops the header section of a response if it may be interim.
func (s *stream) forgetTentative(d *side) {
	if d.tentative {
		d.tentative, d.headers = false, false
		s.resp.Headers = nil
	}
}

// roleFrom tells the roles from what only one end sends.
func (c *Conn) roleFrom(h *half, b *block, sec *section) bool {
	switch {
	case b.promise, sec.response:
		c.setClient(h.dir.Reverse())
	case sec.request:
		c.setClient(h.dir)
	default:
		return false
	}
	return true
}

// promised takes a request that the server makes itself (RFC 9113 §8.4).
func (c *Conn) promised(h *half, b *block, sec *section) {
	if b.promised == 0 || b.promised%2 != 0 || c.roleOf(h.dir) != roleServer || c.byID.get(b.promised) != nil {
		return
	}
	c.shared.Stats.Promises++
	s := c.open(b.promised)
	s.rec.Pushed = true
	h.mark(s)
	s.request.touch(b.time, h.time)
	s.request.ended = true
	s.requestHeaders(h, sec)
	s.judge(sec)
}

// judge adds the flaws of a section.
func (s *stream) judge(sec *section) {
	if sec.unknown > 0 {
		s.flaws.Add(capstanv1.Flaw_FLAW_HEADERS_UNKNOWN)
	}
	if sec.malformed {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	if sec.doubted {
		s.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
	switch {
	case sec.part:
		s.flaws.Add(capstanv1.Flaw_FLAW_GAP)
		s.flaws.Add(capstanv1.Flaw_FLAW_HEADERS_UNKNOWN)
	case sec.cut:
		s.flaws.Add(capstanv1.Flaw_FLAW_HEADERS_CUT)
	}
}

// requestHeaders takes the header section of a request.
func (s *stream) requestHeaders(h *half, sec *section) {
	h.c.shared.Stats.Requests++
	s.request.headers = true
	q := &s.req
	q.Method, q.Scheme, q.Target, q.Protocol = sec.method.value, sec.scheme.value, sec.path.value, sec.protocol.value
	q.Headers = h.c.fields(s, sec.regular)
	s.request.length = sec.length
	s.authority(sec)
	connect := q.Method == "CONNECT"
	if connect && !sec.protocol.seen {
		q.Target = q.Authority
	}
	if sec.unknown == 0 && !sec.cut {
		extended := connect && sec.protocol.seen
		if !sec.method.seen || (!connect || extended) && (!sec.scheme.seen || !sec.path.seen) || sec.protocol.seen && !connect ||
			extended && h.c.refusesConnect() {
			s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
		}
	}
	if kind := grpc.KindOf(sec.contentType.value); kind != grpc.None {
		h.c.called(s)
		s.call.SetRequest(kind)
	}
	if s.call != nil {
		s.call.SetPath(q.Target)
		for _, f := range q.Headers {
			s.call.RequestField(f.Name, f.Value)
		}
	}
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

// responseHeaders takes the header section of a response, interim or final.
func (s *stream) responseHeaders(h *half, sec *section, end bool) {
	stats, m := &h.c.shared.Stats, &s.resp
	status := parseStatus(sec.status.value)
	if status >= 100 && status < 200 && status != 101 {
		stats.Interim++
		if len(m.InterimStatuses) < maxInterim {
			m.InterimStatuses = append(m.InterimStatuses, status)
		}
		if end {
			s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
		}
		s.forgetTentative(&s.response) // that was interim, too
		// The times are those of the final response.
		s.response = side{damaged: s.response.damaged, doubt: s.response.doubt}
		return
	}
	if !s.response.tentative {
		stats.Responses++
	}
	s.response.headers, s.response.tentative = true, sec.unclear && !end
	m.Status = status
	m.Headers = h.c.fields(s, sec.regular)
	s.response.length = sec.length
	if s.req.Method == "HEAD" || s.req.Method == "CONNECT" || status == 304 {
		s.response.length = lengthUnknown // it tells of a body that is not sent
	}
	if status == 0 && sec.unknown == 0 && !sec.cut {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	h.c.responseCall(s, sec.contentType.value)
}

// trailers takes the section behind a body.
func (s *stream) trailers(h *half, sec *section, end bool) {
	fields := h.c.fields(s, sec.regular)
	if !end || sec.request || sec.response {
		s.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	if h.dir == h.c.client {
		s.req.Trailers = fields
		return
	}
	s.resp.Trailers = fields
	s.response.tentative = false // they follow a final response
	if s.call == nil {
		if !hasField(fields, "grpc-status") {
			return
		}
		h.c.calledLate(s)
	}
	for _, f := range fields {
		s.call.ResponseField(f.Name, f.Value)
	}
}

// missHeaders takes a header block that can't be read, since bytes of it are
// missing.
func (c *Conn) missHeaders(h *half, b *block) {
	c.unreadable(h, b, capstanv1.Flaw_FLAW_GAP)
}

// breakHeaders takes a header block that breaks HPACK.
func (c *Conn) breakHeaders(h *half, b *block) {
	c.unreadable(h, b, capstanv1.Flaw_FLAW_MALFORMED)
}

func (c *Conn) unreadable(h *half, b *block, f capstanv1.Flaw) {
	if !c.rolesKnown || b.promise {
		return
	}
	s := c.streamOf(b.stream, h.dir)
	if s == nil {
		return
	}
	h.mark(s)
	d := c.sideOf(s, h.dir)
	d.touch(b.time, h.time)
	s.forgetTentative(d)
	s.flaws.Add(f)
	s.flaws.Add(capstanv1.Flaw_FLAW_HEADERS_UNKNOWN)
	d.doubt = true
	if b.endStream {
		c.endSide(s, h)
	}
}
