package http2

import (
	"bytes"
	"slices"
)

const (
	// maxCandidates bounds the frames that are followed at once.
	maxCandidates = 8
	// maxPieces bounds the segments that are held.
	maxPieces = 1024
)

// search looks for frames in bytes that are held meanwhile. Places are offsets in
// the direction's stream, since bytes may be missing between those held.
type search struct {
	held       []byte
	pieces     []piece // how they came
	scanned    int     // no candidate starts before this but those noted; in held
	candidates []candidate
	unparsed   int64 // bytes since the place was lost
	later      bool  // bytes of this direction came before those held
}

// piece is what is held of one segment.
type piece struct {
	at       int // of its first byte in held
	offset   int64
	time     int64
	acked    int64
	boundary bool // it starts a segment
	behind   bool // bytes are missing before it
}

// candidate is a chain of frames that may be real.
type candidate struct {
	start, next int64
	cursor      int64 // of its first frame at or behind scanned
	second      int64 // of its second frame, if there is one
	last        int64 // of the latest frame whose header is there
	frames      int
	longest     int64   // length of one of them
	boundary    bool    // it starts where a segment does
	evidence    float64 // in bits
	strong      int64   // of the first frame that is evidence
}

// reset forgets what is held.
func (s *search) reset() {
	*s = search{unparsed: s.unparsed, later: s.later || len(s.held) > 0}
}

// hold keeps b, which came as p tells.
func (s *search) hold(b []byte, p piece) {
	p.at = len(s.held)
	if p.behind = p.at > 0 && p.offset != s.end(); p.behind {
		s.scanned = p.at // what starts at the end of what came before can't be seen
		for i := range s.candidates {
			s.candidates[i].cursor = s.candidates[i].next
		}
	}
	s.pieces = append(s.pieces, p)
	s.held = append(s.held, b...)
}

// end returns the offset behind what is held, which is not empty.
func (s *search) end() int64 {
	p := &s.pieces[len(s.pieces)-1]
	return p.offset + int64(len(s.held)-p.at)
}

// run returns the place in held, and the offset, of the first of the bytes that are
// held without any missing between them up to the last.
func (s *search) run() (at int, offset int64) {
	for i := len(s.pieces) - 1; ; i-- {
		if p := &s.pieces[i]; p.behind || i == 0 {
			return p.at, p.offset
		}
	}
}

// scan follows the candidates and looks for new ones.
func (s *search) scan(h *half) {
	at, offset := s.run()
	alive := s.candidates[:0]
	for _, c := range s.candidates {
		if s.follow(h, &c, at, offset) {
			alive = append(alive, c)
		}
	}
	s.candidates = alive
	for ; s.scanned+frameHeaderLen <= len(s.held); s.scanned++ {
		if h.maxFrame < 1<<16 { // then the first byte of a length is 0
			i := bytes.IndexByte(s.held[s.scanned:len(s.held)-frameHeaderLen+1], 0)
			if i < 0 {
				s.scanned = len(s.held) - frameHeaderLen + 1
				return
			}
			s.scanned += i
		}
		place := offset + int64(s.scanned-at)
		if s.inChain(place, at, offset) {
			continue
		}
		c := candidate{start: place, next: place, cursor: place, boundary: s.atBoundary(s.scanned)}
		if s.follow(h, &c, at, offset) && c.frames > 0 {
			s.add(c)
		}
	}
}

// add notes c, instead of the least likely one if there are too many.
func (s *search) add(c candidate) {
	if len(s.candidates) < maxCandidates {
		s.candidates = append(s.candidates, c)
		return
	}
	weakest := 0
	for i := range s.candidates {
		if s.candidates[i].evidence < s.candidates[weakest].evidence {
			weakest = i
		}
	}
	if s.candidates[weakest].evidence < c.evidence {
		s.candidates = append(slices.Delete(s.candidates, weakest, weakest+1), c)
	}
}

// follow goes along the frames of c as far as bytes are there: those from place at of
// held, which start at offset. It returns false if one is no frame, or can't be seen.
func (s *search) follow(h *half, c *candidate, at int, offset int64) bool {
	end := s.end()
	for c.next+frameHeaderLen <= end {
		if c.next < offset {
			return false // among the missing bytes, or part of it
		}
		i := at + int(c.next-offset)
		f := parseFrameHeader(s.held[i:])
		if !f.plausible(h.c.roleOf(h.dir), h.maxFrame) || !h.c.mayCome(&f, h.dir, c.next-h.offset) {
			return false
		}
		before := s.held[at:i]
		if c.frames > 0 && c.last >= offset { // of the payload in front, not of its header
			before = s.held[at+int(c.last-offset)+frameHeaderLen : i]
		} else if c.frames == 0 {
			before = s.held[:i]
		}
		if e := h.c.evidence(&f, before, s.held[i:]); e > 0 {
			if c.evidence == 0 {
				c.strong = c.next
			}
			c.evidence += e
		}
		c.last = c.next
		c.next += frameHeaderLen + int64(f.length)
		c.longest = max(c.longest, int64(f.length))
		if c.frames++; c.frames == 1 {
			c.second = c.next
		}
	}
	return true
}

// inChain reports whether a candidate has a frame at place, which never goes back.
// The bytes from place at of held start at offset, and none is missing behind.
func (s *search) inChain(place int64, at int, offset int64) (found bool) {
	for i := range s.candidates {
		c := &s.candidates[i]
		for c.cursor < place && c.cursor < c.next {
			f := parseFrameHeader(s.held[at+int(c.cursor-offset):])
			c.cursor += frameHeaderLen + int64(f.length)
		}
		found = found || c.cursor == place
	}
	return found
}

func (s *search) atBoundary(at int) bool {
	for i := len(s.pieces) - 1; i >= 0 && s.pieces[i].at >= at; i-- {
		if s.pieces[i].at == at {
			return s.pieces[i].boundary
		}
	}
	return false
}

// witnessed returns where frames start that are believed, or -1. The package comment
// tells the rule. Everything held ends where a segment does.
func (s *search) witnessed(maxFrame int64) int64 {
	for i := range s.candidates {
		switch c := &s.candidates[i]; {
		case c.boundary && c.next == s.end(), !s.later && c.start == s.pieces[0].offset && c.frames >= chainAtBoundary:
			return c.start
		case c.evidence >= enough, c.evidence > 0 && c.next == s.end() && c.evidence+endEvidence(c.next-c.last) >= enough:
			return c.strong // those before may be chance, and have led to it
		case c.frames >= chainAnywhere && c.last-c.second > max(maxFrame, c.longest):
			return c.second // the first may be chance, and have led to one that is none
		}
	}
	return -1
}

// closedBy returns where frames start that follow each other from the start of a
// segment up to the end of n bytes missing behind those held, or -1. Where a snap
// length cut them off, that is the end of the segment.
func (s *search) closedBy(n int64) int64 {
	for i := range s.candidates {
		if c := &s.candidates[i]; c.boundary && c.next-s.end() == n {
			return c.start
		}
	}
	return -1
}

// shrink keeps what is held within its bound, and besides the candidates only what
// evidence is measured against.
func (s *search) shrink() {
	from := s.scanned
	for len(s.candidates) > 0 {
		if from = s.place(s.candidates[0].start); len(s.held)-from <= maxHeld {
			break
		}
		s.candidates = s.candidates[1:]
		from = s.scanned
	}
	if from = max(from-evidenceAround, 0); from == 0 {
		return
	}
	s.later = true
	// What went before is of no use. Copied to let the memory go.
	s.held = append([]byte(nil), s.held[from:]...)
	s.scanned -= from
	first := 0
	for i := range s.pieces {
		s.pieces[i].at -= from
		if s.pieces[i].at <= 0 {
			first = i
		}
	}
	s.pieces = append([]piece(nil), s.pieces[first:]...)
	if p := &s.pieces[0]; p.at < 0 {
		p.offset -= int64(p.at)
		p.at, p.boundary = 0, false
	}
}

// place returns where in held the byte at offset is, which is there.
func (s *search) place(offset int64) int {
	i := len(s.pieces) - 1
	for s.pieces[i].offset > offset {
		i--
	}
	return s.pieces[i].at + int(offset-s.pieces[i].offset)
}
