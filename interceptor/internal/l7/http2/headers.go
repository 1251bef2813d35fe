package http2

import capstanv1 "capstan/proto/capstan/v1"

// headers takes a header section: of a request, a promise, a response, or
// trailers.
func (c *Conn) headers(h *half, b *block, sec *section) {
	if !c.rolesKnown && !c.roleFrom(h, b, sec) {
		c.shared.Stats.Roleless++
		return
	}
	if !h.proven && c.contradicts(h, b, sec) {
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
	s.section(h, sec, b.endStream)
	s.judge(sec)
	if b.endStream {
		c.endSide(s, h)
	}
}

// contradicts reports whether a section is none of what the end sends that it came from.
func (c *Conn) contradicts(h *half, b *block, sec *section) bool {
	if c.roleOf(h.dir) == roleClient {
		return sec.response
	}
	return sec.request && !b.promise
}

// section takes a section that is no promise. end tells that its direction ends behind it.
func (s *stream) section(h *half, sec *section, end bool) {
	d := h.c.sideOf(s, h.dir)
	switch kind := d.classify(sec, end); {
	case kind == kindTrailers:
		s.trailers(h, sec, end)
	case kind == kindUnclear:
		s.forgetTentative(d)
		s.unclear(h, sec)
	case d == &s.request:
		s.requestHeaders(h, sec)
	default:
		s.responseHeaders(h, sec, end)
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
