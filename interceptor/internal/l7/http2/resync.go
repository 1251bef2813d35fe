package http2

import "bytes"

const (
	// maxCandidates bounds the frames that are followed at once.
	maxCandidates = 8
	// maxPieces bounds the segments that are held.
	maxPieces = 1024
)

// search looks for frames in bytes that are held meanwhile.
type search struct {
	held       []byte
	pieces     []piece // how they came
	scanned    int     // no candidate starts before this but those noted
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
}

// candidate is a chain of frames that may be real.
type candidate struct {
	start, next int // offsets in held
	cursor      int // of its first frame at or behind scanned
	second      int // of its second frame, if there is one
	last        int // of the latest frame whose header is there
	frames      int
	longest     int  // length of one of them
	boundary    bool // it starts where a segment does
}

// reset forgets what is held.
func (s *search) reset() {
	*s = search{unparsed: s.unparsed, later: s.later || len(s.held) > 0}
}

// resync takes bytes while the place is lost.
func (h *half) resync(b []byte, boundary bool) int {
	s := h.search
	h.c.shared.Stats.SkippedBytes += uint64(len(b))
	s.unparsed += int64(len(b))
	if boundary && h.restarts(b) {
		return len(b)
	}
	if h.replaying {
		// Believed once, and wrongly; looking again could go on forever.
		return len(b)
	}
	if s.unparsed > h.c.cfg.MaxUnparsed {
		h.c.shared.Stats.GivenUp++
		h.give(stateDead)
		return len(b)
	}
	if len(s.pieces) == maxPieces {
		s.reset()
	}
	s.pieces = append(s.pieces, piece{len(s.held), h.offset, h.time, h.acked, boundary})
	s.held = append(s.held, b...)
	s.scan(h.c.roleOf(h.dir), h.maxFrame)
	if best := s.witnessed(int(h.likelyMaxFrame())); best >= 0 {
		h.found(best, len(b))
		return len(b)
	}
	s.shrink()
	return len(b)
}

// likelyMaxFrame returns the length of a frame that is to be reckoned with. Some peers
// allow for 1 MiB or 16 MiB, but hardly anybody sends frames of more than the
// least that each has to allow for, and who does has done so before.
func (h *half) likelyMaxFrame() uint32 {
	return min(h.maxFrame, max(defaultMaxFrame, 2*h.longest))
}

// restarts reports whether b, the start of a segment, is the start of the
// connection after all, and takes it.
func (h *half) restarts(b []byte) bool {
	if len(b) < len(preface) || string(b[:len(preface)]) != preface || h.c.roleOf(h.dir) == roleServer {
		return false
	}
	h.c.shared.Stats.SkippedBytes -= uint64(len(b))
	h.give(statePreface)
	h.data(b, true)
	h.offset -= int64(len(b)) // the caller counts them
	return true
}

// scan follows the candidates and looks for new ones.
func (s *search) scan(sender role, maxFrame uint32) {
	alive := s.candidates[:0]
	for _, c := range s.candidates {
		if s.follow(&c, sender, maxFrame) {
			alive = append(alive, c)
		}
	}
	s.candidates = alive
	for ; s.scanned+frameHeaderLen <= len(s.held); s.scanned++ {
		if maxFrame < 1<<16 { // then the first byte of a length is 0
			i := bytes.IndexByte(s.held[s.scanned:len(s.held)-frameHeaderLen+1], 0)
			if i < 0 {
				s.scanned = len(s.held) - frameHeaderLen + 1
				return
			}
			s.scanned += i
		}
		if s.inChain(s.scanned) || len(s.candidates) == maxCandidates {
			continue
		}
		c := candidate{start: s.scanned, next: s.scanned, cursor: s.scanned, boundary: s.atBoundary(s.scanned)}
		if s.follow(&c, sender, maxFrame) && c.frames > 0 {
			s.candidates = append(s.candidates, c)
		}
	}
}

// follow goes along the frames of c as far as bytes are there. It returns false
// if one is no frame.
func (s *search) follow(c *candidate, sender role, maxFrame uint32) bool {
	for c.next+frameHeaderLen <= len(s.held) {
		f := parseFrameHeader(s.held[c.next:])
		if !f.plausible(sender, maxFrame) {
			return false
		}
		c.last = c.next
		c.next += frameHeaderLen + int(f.length)
		c.longest = max(c.longest, int(f.length))
		if c.frames++; c.frames == 1 {
			c.second = c.next
		}
	}
	return true
}

// inChain reports whether a candidate has a frame at offset at, which never
// goes back.
func (s *search) inChain(at int) (found bool) {
	for i := range s.candidates {
		c := &s.candidates[i]
		for c.cursor < at && c.cursor < c.next {
			f := parseFrameHeader(s.held[c.cursor:])
			c.cursor += frameHeaderLen + int(f.length)
		}
		found = found || c.cursor == at
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

// witnessed returns where frames certainly start, or -1. The package comment
// tells the rule. Everything held ends where a segment does.
func (s *search) witnessed(maxFrame int) int {
	for i := range s.candidates {
		switch c := &s.candidates[i]; {
		case c.boundary && c.next == len(s.held), !s.later && c.start == 0 && c.frames >= chainAtBoundary:
			return c.start
		case c.frames >= chainAnywhere && c.last-c.second > max(maxFrame, c.longest):
			return c.second // the first may be chance, and have led to one that is none
		}
	}
	return -1
}

// closedBy returns where frames start that follow each other from the start of a
// segment up to the end of n bytes missing behind those held, or -1. Where a snap
// length cut them off, that is the end of the segment.
func (s *search) closedBy(n int64) int {
	for i := range s.candidates {
		if c := &s.candidates[i]; c.boundary && int64(c.next-len(s.held)) == n {
			return c.start
		}
	}
	return -1
}

// shrink keeps what is held within its bound, and of no candidate nothing.
func (s *search) shrink() {
	from := s.scanned
	for len(s.candidates) > 0 {
		if from = s.candidates[0].start; len(s.held)-from <= maxHeld {
			break
		}
		s.candidates = s.candidates[1:]
		from = s.scanned
	}
	if from == 0 {
		return
	}
	s.later = true
	// What went before is of no use. Copied to let the memory go.
	s.held = append([]byte(nil), s.held[from:]...)
	s.scanned -= from
	for i := range s.candidates {
		s.candidates[i].start -= from
		s.candidates[i].next -= from
		s.candidates[i].cursor -= from
		s.candidates[i].second -= from
		s.candidates[i].last -= from
	}
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
	if len(s.held) == 0 {
		s.pieces = nil
	}
}

// found goes on with the frames that start at offset start of what is held,
// whose last n bytes are of the segment in hand.
func (h *half) found(start, n int) {
	s := h.search
	h.search = nil
	h.c.shared.Stats.SkippedBytes -= uint64(len(s.held) - start)
	h.state, h.have, h.replaying = stateHeader, 0, true
	if f := parseFrameHeader(s.held[start:]); f.kind == frameContinuation {
		// The rest of a block whose start is missing.
		h.releaseBlock()
		h.inBlock, h.lostPart, h.block.stream = true, true, f.stream
	}
	for i, p := range s.pieces {
		end := len(s.held)
		if i+1 < len(s.pieces) {
			end = s.pieces[i+1].at
		}
		if end <= start {
			continue
		}
		from := max(p.at, start)
		h.offset, h.time, h.acked = p.offset+int64(from-p.at), p.time, p.acked
		h.data(s.held[from:end], p.boundary && from == p.at)
	}
	h.replaying = false
	h.offset -= int64(n) // the caller counts them
}
