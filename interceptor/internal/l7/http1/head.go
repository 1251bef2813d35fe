package http1

import (
	"bytes"
	"strings"

	"capstan/interceptor/internal/exchange"
	capstanv1 "capstan/proto/capstan/v1"
)

// section is a header section with its start line, or a trailer section, on
// its way in. A section that one segment holds is never copied here.
type section struct {
	buf       []byte   // what earlier segments brought
	lineStart int      // of the line in progress
	scanned   int      // no line end before this but those passed
	census    census   // of the bytes up to there
	ends      []uint32 // offsets behind the line ends passed, the first maxLineEnds
	lined     bool     // the start line is complete
	trailers  bool
	kept      bool // its start line and fields are in the record
	reqLine   requestLine
	status    statusLine

	// Beyond the limit buf holds the field in progress only.
	column   int  // bytes of the line in progress
	firstCR  bool // its first byte is a CR
	skipLine bool // it is the rest of the start line
}

// maxLineEnds bounds the line ends that are noted: those beyond are searched for
// again.
const maxLineEnds = defaultMaxFields + 2

// reset makes s ready for the next section. The parts of the start line are left:
// they mean something only behind one.
func (s *section) reset() {
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	s.lineStart, s.scanned, s.census, s.column = 0, 0, census{}, 0
	s.lined, s.trailers, s.kept, s.firstCR, s.skipLine = false, false, false, false, false
}

// release gives large buffers back.
func (s *section) release() {
	if cap(s.buf) > keepBufLen {
		s.buf = nil
	}
	if cap(s.ends) > keepLineEnds {
		s.ends = nil
	}
}

// head takes bytes of a section.
func (h *half) head(b []byte) int {
	limit, held := h.c.shared.cfg.MaxHeadLen, len(h.buf)
	src := b[:min(len(b), max(limit-held, 0))] // a line that resync has kept may be longer
	if held > 0 {
		// Copied because the section began in an earlier segment.
		h.buf = append(h.buf, src...)
		src = h.buf
	}
	h.msgLast = max(h.msgLast, h.time)
	end, ok := h.scan(src)
	switch {
	case ok:
	case h.request && h.c.pairing.upgrading():
		h.hold(held)
		return h.tunnelled(b)
	default:
		h.c.shared.Stats.HeadBytes -= uint64(held)
		h.c.shared.Stats.SkippedBytes += uint64(held)
		h.lost(capstanv1.Flaw_FLAW_MALFORMED)
		if held > 0 {
			return 0 // b starts a segment, so it may start a message
		}
		return h.skip(len(b))
	}
	n := len(src) - held
	switch {
	case end >= 0:
		n = end - held
		h.offset += int64(n) // endMessage notes where the message ends
		h.c.shared.Stats.HeadBytes += uint64(n)
		h.wholeSection(src[:end])
		h.offset -= int64(n)
		return n
	case len(src) >= limit:
		if !h.cut(src[:limit]) {
			h.lost(capstanv1.Flaw_FLAW_MALFORMED)
		}
	case held == 0:
		h.buf = append(h.buf, src...)
	}
	h.c.shared.Stats.HeadBytes += uint64(n)
	return n
}

// scan goes on through src, the section so far. It takes the start line when
// that is complete and returns the offset behind the empty line, or -1. ok is
// false if src is not HTTP.
func (h *half) scan(src []byte) (end int, ok bool) {
	if h.scanned == 0 && !h.lined {
		if end := h.usualStart(src); end >= 0 {
			return end, true
		}
	}
	for {
		i := h.census.line(src[h.scanned:])
		if i < 0 {
			h.scanned = len(src)
			return -1, h.lined || h.couldBeStartLine(src)
		}
		line, lf := src[h.lineStart:h.scanned+i], h.scanned+i
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		h.scanned, h.lineStart = lf+1, lf+1
		if len(h.ends) < maxLineEnds {
			h.ends = append(h.ends, uint32(lf+1))
		}
		switch {
		case !h.lined:
			if !h.startLine(line) {
				return -1, false
			}
			h.lined = true
			if end := h.usualSection(src, lf+1); end >= 0 {
				return end, true
			}
		case len(line) == 0:
			return lf + 1, true
		}
	}
}

func (h *half) couldBeStartLine(b []byte) bool {
	if h.request {
		return couldBeRequestLine(b)
	}
	return couldBeStatusLine(b)
}

// startLine takes a whole start line.
func (h *half) startLine(line []byte) (ok bool) {
	if h.request {
		ok = h.reqLine.parse(line)
		if h.preface {
			ok = h.reqLine.parseTarget(line)
			h.reqLine.malformed = false // it is none of HTTP/1
		}
		if ok {
			h.beginRequest(line)
		}
		return ok
	}
	if ok = h.status.parse(line); ok {
		h.beginResponse()
	}
	return ok
}

// wholeSection takes a complete section, the empty line included.
func (h *half) wholeSection(b []byte) {
	h.unparsed = 0
	if h.interim {
		h.endInterim()
		return
	}
	if !h.kept {
		h.keepSection(h.c.shared.text.String(b), h.census)
	}
	h.endSection()
}

// partialSection records the whole lines of a section that ends early, or the
// part of its start line.
func (h *half) partialSection() {
	if !h.interim {
		s := h.c.shared.text.String(h.buf[:h.lineStart])
		h.keepSection(s, censusOf(s))
		if h.frame.malformed {
			h.messageFlaws().Add(capstanv1.Flaw_FLAW_MALFORMED)
		}
	}
}

// partialLine takes a start line that ends early, as all do where the snap
// length is short, if it says what matters: method and path, or the status.
func (h *half) partialLine() bool {
	if h.request {
		line, whole, ok := parseCutRequestLine(h.buf)
		if !ok {
			h.buf = h.buf[:certainPathLen(h.buf)] // what follows may be anything, as an exploit's code
			line, whole, ok = parseCutRequestLine(h.buf)
		}
		if !ok {
			return false
		}
		h.reqLine, h.lined = line, true
		h.beginRequest(h.buf)
		if !whole {
			h.x.flaws.Add(capstanv1.Flaw_FLAW_HEADERS_CUT)
		}
	} else {
		if ok, _ := LooksLikeResponse(h.buf); !ok {
			return false
		}
		h.lined = h.status.parse(bytes.TrimSuffix(h.buf, []byte("\r")))
		h.beginResponse()
	}
	h.lineStart = len(h.buf)
	return true
}

// keepSection records a start line and fields, or trailers. The record shares
// the memory of s, whose census is c.
func (h *half) keepSection(s string, c census) {
	frame, ends, at := &h.frame, h.ends, 0
	switch {
	case h.trailers:
		frame = new(framing) // what trailers say about framing doesn't count (RFC 9110 §6.5.1)
	case len(ends) == 0:
		at = len(s) // of the start line only its beginning
	default:
		at, ends = int(ends[0]), ends[1:]
		frame.malformed = frame.malformed || at < 2 || s[at-2] != '\r' || !h.request && h.status.broken
	}
	fields, cut, valid := parseFields(s, c, at, ends, frame, h.room(), h.c.shared.cfg.MaxFields)
	if cut {
		h.c.shared.Stats.FieldCuts++
		h.messageFlaws().Add(capstanv1.Flaw_FLAW_HEADERS_CUT)
	}
	if h.trailers {
		if frame.malformed {
			h.ambiguous()
		}
		if frame.lengthSeen || frame.coded {
			h.messageFlaws().Add(capstanv1.Flaw_FLAW_MALFORMED) // to who takes trailers for fields, it counts
		}
		if h.request {
			h.x.req.Trailers = fields
		} else {
			h.a.msg.Trailers = fields
		}
		return
	}
	h.keepHead(s, fields, valid)
}

// keepHead records the start line, which s starts with, and fields. valid tells
// that s is UTF-8.
func (h *half) keepHead(s string, fields []*capstanv1.Header, valid bool) {
	if h.request {
		q, l := &h.x.req, &h.reqLine
		q.Method, q.Target, q.Version = s[:l.methodEnd], s[l.targetStart:l.targetEnd], s[l.versionStart:l.versionEnd]
		if !valid {
			q.Method, q.Target, q.Version = clean(q.Method), clean(q.Target), clean(q.Version)
		}
		q.Headers = fields
		q.Authority = authority(q.Method, q.Target, fields)
		return
	}
	m, l := &h.a.msg, &h.status
	m.Version, m.Reason = s[:l.versionEnd], s[l.reasonStart:l.reasonEnd]
	if !valid {
		m.Version, m.Reason = clean(m.Version), clean(m.Reason)
	}
	m.Headers = fields
}

// room returns memory for the fields of the section in progress. Trailers, which
// are rare, have some of their own.
func (h *half) room() *fieldRoom {
	switch {
	case h.trailers:
		return new(fieldRoom)
	case h.request:
		return &h.x.reqRoom
	}
	return &h.c.group.respRoom
}

// screen notes that all fields of the head in progress have passed s.
func (h *half) screen(s *exchange.Screen) {
	if h.request {
		h.x.passed = s
	} else {
		h.a.passed = s
	}
}

// messageFlaws returns the flaws of the message in progress.
func (h *half) messageFlaws() *exchange.Flaws {
	if h.request {
		return &h.x.flaws
	}
	return &h.a.flaws
}

// endSection goes on behind a section: to the body, or to the next message.
func (h *half) endSection() {
	trailers := h.trailers
	h.section.reset()
	h.section.release()
	if trailers {
		h.endMessage(true)
		return
	}
	if h.request {
		h.endRequestHead()
	} else {
		h.endResponseHead()
	}
}

// cut takes the first MaxHeadLen bytes of a section that is longer: its whole
// fields go into the record, the last one is looked at for framing as far as
// it will be.
func (h *half) cut(src []byte) bool {
	h.c.shared.Stats.HeadCuts++
	at := 0
	if !h.lined {
		if !h.startLineCut(src) {
			return false
		}
		h.lined, h.skipLine = true, true
		at = len(src)
	} else {
		at = lastFieldStart(src, h.lineStart)
	}
	if !h.interim {
		s := h.c.shared.text.String(src[:at])
		h.keepSection(s, censusOf(s))
		h.messageFlaws().Add(capstanv1.Flaw_FLAW_HEADERS_CUT)
	}
	rest := bytes.Clone(src[at:])
	h.buf = make([]byte, 0, maxCutFieldLen)
	h.state = stateHeadCut
	for len(rest) > 0 {
		rest = rest[h.cutLine(rest):]
	}
	return true
}

// lastFieldStart returns where the last field of src starts, given the start
// of its last line: folded lines belong to the field before.
func lastFieldStart(src []byte, line int) int {
	for line > 0 && (line == len(src) || src[line] == ' ' || src[line] == '\t') {
		prev := bytes.LastIndexByte(src[:line-1], '\n') + 1
		if prev == 0 {
			break // line follows the start line
		}
		line = prev
	}
	return line
}

// startLineCut takes the start of a start line that is longer than the limit.
func (h *half) startLineCut(b []byte) (ok bool) {
	if h.request {
		if ok = h.reqLine.cut(b); ok {
			h.beginRequest(b)
		}
		return ok
	}
	return h.startLine(b)
}

// cutHead takes bytes of a section beyond the limit.
func (h *half) cutHead(b []byte) int {
	h.msgLast = max(h.msgLast, h.time)
	n, before := 0, h.offset
	for n < len(b) && h.state == stateHeadCut {
		n += h.cutLine(b[n:])
		h.offset = before + int64(n)
		if h.column < 0 {
			h.endCutHead()
			break
		}
	}
	h.offset = before
	h.c.shared.Stats.HeadBytes += uint64(n)
	return n
}

// cutLine takes bytes up to the end of the line or of b. It sets column to -1
// behind the empty line.
func (h *half) cutLine(b []byte) int {
	n, ended := len(b), false
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		n, ended = i+1, true
	}
	line := b[:n]
	if h.column == 0 {
		h.firstCR = line[0] == '\r'
		if line[0] != ' ' && line[0] != '\t' {
			h.cutField()
		}
	}
	if !h.skipLine {
		h.buf = append(h.buf, line[:min(len(line), maxCutFieldLen-len(h.buf))]...)
	}
	h.column += n
	if !ended {
		return n
	}
	empty := h.column == 1 || h.column == 2 && h.firstCR
	h.column = 0
	if empty && !h.skipLine {
		h.cutField()
		h.column = -1
	}
	h.skipLine = false
	return n
}

// cutField looks at the field in progress, which isn't recorded.
func (h *half) cutField() {
	if len(h.buf) == 0 {
		return
	}
	field := strings.TrimRight(string(h.buf), "\r\n")
	full := len(h.buf) == maxCutFieldLen
	h.buf = h.buf[:0]
	if h.interim || h.trailers || field == "" {
		return
	}
	folded := strings.Contains(field, "\n")
	h.frame.malformed = h.frame.malformed || folded
	name, value, ok := splitField(field, folded, &h.frame)
	if !ok {
		return
	}
	if full && (strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")) {
		h.frame.cutTooLong = true
		return
	}
	h.frame.field(kindOf(name), value)
}

// endCutHead goes on behind the empty line.
func (h *half) endCutHead() {
	h.unparsed = 0
	if h.interim {
		h.endInterim()
		return
	}
	h.endSection()
}
