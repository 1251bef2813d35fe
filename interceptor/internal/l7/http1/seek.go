package http1

import (
	"bytes"
	"slices"

	capstanv1 "capstan/proto/capstan/v1"
)

const (
	// maxLinks is how many chunks may be announced at a time by lines that look like it.
	maxLinks = 8
	// maxSoughtLine bounds a line that tells the size of a chunk, or is of the trailers,
	// where these are looked for.
	maxSoughtLine = 256
	// maxSoughtTrailers bounds those trailers.
	maxSoughtTrailers = 4 << 10
)

// seeker looks for the next chunk of a body (RFC 9112 §7.1) in which bytes are missing that
// told where it begins. A line that may be the size of a chunk bears witness of where the
// next such line has to be; if that is there, it is believed. What may be the end of the
// body is the end if nothing of it follows: but a message, the end of the stream, or, in the
// other direction, a message sent behind it.
//
// Only what is told of this body depends on it. Whatever is found, the half has lost its
// place: a start line at the start of a segment ends the body, as it ends stateResync, and
// is paired as one behind that.
type seeker struct {
	since int64 // offset where the place was lost
	acked int64 // what the body's sender had received before that

	links  [maxLinks]link // the first count
	count  int
	inside bool  // in a chunk that is believed
	next   int64 // where its data ends

	// The line in progress.
	line   [maxSoughtLine]byte // its first bytes
	length int
	start  int64 // its offset
	cr     bool  // its last byte is a CR
	behind bool  // it comes behind CR and LF, or missing bytes

	// Behind what may be the last chunk.
	last     bool
	believed bool   // the chunk before it bears witness
	trailers []byte // whole lines
	end      int64  // where the body may have ended: behind all that has come; else 0
	endTime  int64

	guessed bool // something was told that is only believed
}

// link is a chunk that a line announces.
type link struct {
	next    int64 // offset behind its data
	size    int64
	missing int64 // bytes of it
}

// seek goes on behind missing bytes in a chunked body, of which n are none of the chunk in
// progress. acked is what the sender of the byte before them had received. While another
// message is waited for, in either direction, what follows may as well be of that.
func (h *half) seek(n, acked int64) {
	if acked < 0 || !h.c.pairing.alone(h) {
		h.lost(capstanv1.Flaw_FLAW_GAP)
		return
	}
	h.messageFlaws().Add(capstanv1.Flaw_FLAW_GAP)
	if m := h.messages(); m != nil {
		m.Lost()
	}
	h.give(stateSeek)
	if h.sought == nil {
		h.sought = new(seeker)
	}
	*h.sought = seeker{since: h.offset, acked: acked, start: h.offset + n, behind: true, trailers: h.sought.trailers[:0]}
	h.uncounted()
}

// seekOn takes the rest of a segment. Who has received more than before may send the next
// message.
func (h *half) seekOn(b []byte, boundary bool) int {
	s := h.sought
	if h.acked > s.acked || boundary && h.startsAnew(b) {
		h.endSought(s.end > 0)
		return 0
	}
	h.overhear(b)
	h.c.shared.Stats.SkippedBytes += uint64(len(b))
	s.refute()
	offset := h.offset
	for rest := b; len(rest) > 0; {
		n := 0
		if s.inside && offset < s.next {
			n = int(min(s.next-offset, int64(len(rest))))
			h.credit(int64(n), 0)
			s.begin(s.next, true)
		} else {
			n = h.soughtLine(rest, offset)
		}
		rest = rest[n:]
		offset += int64(n)
	}
	s.endTime = h.time
	if s.end != offset {
		s.refute()
	}
	return len(b)
}

// startsAnew reports whether b, with which a segment starts, is the start of a message, or
// may be.
func (h *half) startsAnew(b []byte) bool {
	b = bytes.TrimLeft(b, lineEnd)
	ok, needMore := h.detect(b)
	return ok || needMore && len(b) > 0
}

// refute takes the news that the body goes on behind what may have been its end.
func (s *seeker) refute() {
	if s.end > 0 {
		s.end, s.last = 0, false
	}
}

// begin goes to the line that starts at that offset.
func (s *seeker) begin(offset int64, behind bool) {
	s.start, s.length, s.cr, s.behind = offset, 0, false, behind
}

// soughtLine takes the rest of the line in progress, or what b, which is at offset, has of
// it, and returns how many bytes that are.
func (h *half) soughtLine(b []byte, offset int64) int {
	s := h.sought
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		n = len(b)
	}
	if s.length < len(s.line) {
		copy(s.line[s.length:], b[:n])
	}
	s.length += n
	cr := s.cr
	if n > 1 {
		cr = b[n-2] == '\r'
	}
	if b[n-1] != '\n' {
		s.cr = b[n-1] == '\r'
		return n
	}
	s.refute()
	if s.behind && cr && s.length <= len(s.line) {
		h.wholeLine(s.line[:s.length-len(lineEnd)], s.start, offset+int64(n))
	} else {
		s.inside, s.last = false, false
	}
	s.begin(offset+int64(n), cr)
	return n
}

// wholeLine takes a line without its end. It is at offset start, and end is behind it.
func (h *half) wholeLine(line []byte, start, end int64) {
	s := h.sought
	switch {
	case s.last && len(line) == 0:
		s.end = end
		return
	case s.last && s.believed && bytes.IndexByte(line, ':') > 0 && len(s.trailers)+len(line) <= maxSoughtTrailers:
		s.trailers = append(append(s.trailers, line...), lineEnd...)
		return
	case s.inside && start == s.next && len(line) == 0:
		return // it ends the chunk
	}
	size, ok := soughtSize(line)
	believed := ok && s.inside && start == s.next+int64(len(lineEnd))
	s.inside, s.last = false, false
	if !ok {
		return
	}
	if i := slices.IndexFunc(s.links[:s.count], func(l link) bool { return start == l.next+int64(len(lineEnd)) }); i >= 0 {
		l := &s.links[i]
		h.credit(l.size-l.missing, l.missing)
		believed = true
	}
	if believed {
		s.count = 0 // the others are inside of that chunk, or around it: bytes would count twice
	}
	switch {
	case size == 0:
		s.last, s.believed, s.trailers = true, believed, s.trailers[:0]
	case believed:
		s.inside, s.next = true, end+size
	default:
		s.announce(link{next: end + size, size: size}, start)
	}
}

// announce notes l, which a line at offset at tells of. Of too many, what is longest is
// forgotten: so is what nobody meant.
func (s *seeker) announce(l link, at int64) {
	s.forget(func(l *link) bool { return l.next+int64(len(lineEnd)) <= at })
	if s.count == maxLinks {
		longest := &l
		for i := range s.links {
			if s.links[i].next > longest.next {
				longest = &s.links[i]
			}
		}
		*longest = l
		return
	}
	s.links[s.count] = l
	s.count++
}

// forget drops the links for which is tells so.
func (s *seeker) forget(is func(*link) bool) {
	n := 0
	for i := range s.links[:s.count] {
		if !is(&s.links[i]) {
			s.links[n] = s.links[i]
			n++
		}
	}
	s.count = n
}

// soughtSize returns the size that a line tells, if it may be that of a chunk.
func soughtSize(line []byte) (size int64, ok bool) {
	n := 0
	for ; n < len(line); n++ {
		d, hex := hexDigit(line[n])
		if !hex {
			break
		}
		if n == maxChunkDigits {
			return 0, false
		}
		size = size<<4 | int64(d)
	}
	extension := bytes.TrimLeft(line[n:], " \t")
	return size, n > 0 && (len(extension) == 0 || extension[0] == ';')
}

// credit counts n bytes that were passed over, and missing ones, as those of a chunk that
// is believed.
func (h *half) credit(n, missing int64) {
	r := h.bodyRecord()
	r.Size += uint64(n + missing)
	r.GapBytes += uint64(missing)
	h.c.shared.Stats.SkippedBytes -= uint64(n)
	h.c.shared.Stats.BodyBytes += uint64(n)
	h.msgLast = max(h.msgLast, h.time)
	h.sought.guessed = true
}

// gapInSeek takes n missing bytes in stateSeek.
func (h *half) gapInSeek(n int64) {
	s := h.sought
	if s.end > 0 {
		s.trailers = s.trailers[:0] // what imitates them may go on
		h.endSought(true)
		h.lost(capstanv1.Flaw_FLAW_GAP)
		return
	}
	behind := h.offset + n
	if s.inside {
		h.credit(0, min(n, max(s.next-h.offset, 0)))
		if s.next < behind {
			s.inside, s.count = false, 1
			s.links[0] = link{next: s.next}
		}
	}
	s.forget(func(l *link) bool { return l.next+int64(len(lineEnd)) < behind })
	for i := range s.links[:s.count] {
		l := &s.links[i]
		if l.size > 0 {
			l.missing += min(n, max(l.next-h.offset, 0))
		}
	}
	s.last = false
	s.begin(behind, true)
	h.uncounted()
}

// goneOn takes the news of a message of the other direction whose sender had received
// acked bytes of this one: a body whose chunks are looked for is over.
func (h *half) goneOn(acked int64) {
	if h.state == stateSeek {
		h.endSought(h.sought.end > 0 && h.sought.end == acked)
	}
}

// endSought ends a body whose chunks are looked for. ended tells that it did so where it
// seemed to.
func (h *half) endSought(ended bool) {
	s, offset, acked := h.sought, h.offset, h.acked
	h.acked = s.acked // the segment in hand may be of the next message
	if ended {
		s.guessed = true
		h.offset, h.msgLast = s.end, max(h.msgLast, s.endTime)
		if len(s.trailers) > 0 {
			h.trailers = true
			text := h.c.shared.text.String(s.trailers)
			h.keepSection(text, censusOf(text))
		}
	} else {
		h.offset = s.since
	}
	if s.guessed {
		h.messageFlaws().Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
	if !h.request {
		h.a.goesOn = !ended
	}
	h.endMessage(false)
	h.give(stateResync)
	h.offset, h.acked = offset, acked
}
