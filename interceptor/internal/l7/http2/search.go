package http2

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

const (
	// maxCandidates bounds the frames that are followed from segment to segment.
	maxCandidates = 8
	// maxPieces bounds the segments that are held.
	maxPieces = 1024

	// Each byte that comes gives a credit, and looking for frames takes some. It is used up
	// only where very much looks like them, as among small numbers.
	//
	// firstCredit is what a direction has before anything came.
	firstCredit = 16 << 10
	// maxCredit bounds what is saved up.
	maxCredit = 64 << 10
	// headerCredit is what it costs to look whether a header is one.
	headerCredit = 6
	// byteCredit is what it costs to see how likely one byte of it is by chance.
	byteCredit = 8
)

// search looks for frames in bytes that are held meanwhile. Places are offsets in
// the direction's stream, since bytes may be missing between those held.
type search struct {
	held       []byte
	pieces     []piece     // how they came
	at         int         // of the first of those that are held up to the last without any missing; in held
	offset     int64       // its place
	scanned    int         // no candidate starts before this but those noted; in held
	candidates []candidate // by start
	unparsed   int64       // bytes since the place was lost
	later      bool        // bytes of this direction came before those held
	told       int         // bytes that Stats has as held
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

// reset forgets what is held.
func (s *search) reset() {
	*s = search{unparsed: s.unparsed, later: s.later || len(s.held) > 0, told: s.told}
}

// searched has Stats tell what is held.
func (h *half) searched() {
	if s := h.search; s != nil {
		h.c.shared.Stats.HeldSearch += len(s.held) - s.told
		s.told = len(s.held)
	}
}

// leaveSearch ends the search, if there is one.
func (h *half) leaveSearch() {
	if h.search != nil {
		h.c.shared.Stats.HeldSearch -= h.search.told
		h.search = nil
	}
}

// hold keeps b, which came as p tells.
func (s *search) hold(b []byte, p piece) {
	if len(s.pieces) == maxPieces {
		s.reset()
	}
	p.at = len(s.held)
	switch p.behind = p.at > 0 && p.offset != s.end(); {
	case p.behind:
		s.scanned = p.at // what starts at the end of what came before can't be seen
		s.candidates = slices.DeleteFunc(s.candidates, func(c candidate) bool { return c.next < p.offset })
		fallthrough
	case p.at == 0:
		s.at, s.offset = p.at, p.offset
	}
	s.pieces = append(s.pieces, p)
	s.held = append(s.held, b...)
}

// end returns the offset behind what is held, which is not empty.
func (s *search) end() int64 { return s.offset + int64(len(s.held)-s.at) }

// scan follows the candidates and looks for new ones. Each place is looked at once,
// however many of them lead to it.
func (s *search) scan(h *half) {
	from, to := s.scanned, len(s.held)-frameHeaderLen+1 // where a header may start
	if from >= to {
		return
	}
	s.scanned = to
	x := &h.c.shared.chase
	x.begin(from, to)
	beyond := s.candidates[:0]
	for _, c := range s.candidates {
		if i := s.index(c.next); i < to {
			x.lead(x.add(c), i)
		} else {
			beyond = append(beyond, c)
		}
	}
	s.candidates = beyond
	short, cut := h.maxFrame < 1<<16, false
	latest := s.pieces[len(s.pieces)-1].at // up to here a segment may start, where a frame is looked for whatever the credit
	for i := from; i < to; i++ {
		if h.credit < headerCredit && i > latest || x.full() {
			if !cut {
				cut = true
				h.c.shared.Stats.SearchCuts++
			}
			if i = x.next(i); i == to {
				return
			}
		}
		if short && s.held[i] != 0 { // the first byte of a length is 0
			n := firstZero(s.held[i:to])
			if n < 0 {
				return
			}
			i += n - 1
			continue
		}
		if couldBeHeader(binary.BigEndian.Uint64(s.held[i+1:])) {
			s.look(h, x, i)
		}
	}
}

// look looks for a frame at i of held: the next of those of x that lead there, or a
// first one.
func (s *search) look(h *half, x *chase, i int) {
	h.credit = max(h.credit-headerCredit, 0)
	f, place := parseFrameHeader(s.held[i:]), s.offset+int64(i-s.at)
	if !f.plausible(h.c.roleOf(h.dir), h.maxFrame) || !h.c.mayCome(&f, h.dir, place-h.offset) {
		return
	}
	k := x.leads(i)
	if k == 0 {
		k = x.add(newCandidate(place, s.atBoundary(i)))
	}
	c, e := &x.chains[k], 0.0
	if h.credit > 0 {
		var seen int
		e, seen = h.c.evidence(&f, s.before(c, i), s.held[i:])
		h.credit = max(h.credit-int32(seen*byteCredit), 0)
	}
	c.extend(f.length, e)
	if i := s.index(c.next); i < x.to {
		x.lead(k, i)
	} else {
		s.add(c)
	}
}

// index returns where in held offset is, which may be behind its end. No byte is
// missing between.
func (s *search) index(offset int64) int { return s.at + int(offset-s.offset) }

// before returns what is held before the frame at i of held, which is next of c: of the
// payload in front, not of its header.
func (s *search) before(c *candidate, i int) []byte {
	switch {
	case c.next == c.start:
		return s.held[:i]
	case c.last < s.offset:
		return s.held[s.at:i]
	}
	return s.held[s.index(c.last)+frameHeaderLen : i]
}

// add notes c, instead of the least likely one if there are too many.
func (s *search) add(c *candidate) {
	for i := range s.candidates {
		if o := &s.candidates[i]; o.next == c.next {
			joined := *o
			joined.join(c)
			s.candidates = slices.Delete(s.candidates, i, i+1)
			s.insert(&joined)
			return
		}
	}
	if len(s.candidates) < maxCandidates {
		s.insert(c)
		return
	}
	weakest := 0
	for i := range s.candidates {
		if s.candidates[i].evidence < s.candidates[weakest].evidence {
			weakest = i
		}
	}
	if s.candidates[weakest].evidence < c.evidence {
		s.candidates = slices.Delete(s.candidates, weakest, weakest+1)
		s.insert(c)
	}
}

// insert puts c where it belongs.
func (s *search) insert(c *candidate) {
	i := len(s.candidates)
	for i > 0 && s.candidates[i-1].start > c.start {
		i--
	}
	s.candidates = slices.Insert(s.candidates, i, *c)
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
	end := s.end()
	for i := range s.candidates {
		switch c := &s.candidates[i]; {
		case c.boundary >= 0 && c.next == end, !s.later && c.boundary == s.pieces[0].offset && c.frames >= chainAtBoundary:
			return c.boundary
		case c.evidence >= enough, c.evidence > 0 && c.next == end && c.evidence+endEvidence(c.next-c.last) >= enough:
			return c.strong // those before may be chance, and have led to it
		case c.second >= 0 && c.reach > max(maxFrame, c.longest):
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
		if c := &s.candidates[i]; c.boundary >= 0 && c.next-s.end() == n {
			return c.boundary
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
		s.candidates = slices.Delete(s.candidates, 0, 1)
		from = s.scanned
	}
	if from -= evidenceAround; from <= 0 {
		return
	}
	s.later = true
	if from < len(s.held)/4 && len(s.pieces) < maxPieces {
		return // what is left would be moved too often
	}
	// What went before is of no use.
	s.held = s.held[:copy(s.held, s.held[from:])]
	if cap(s.held) > keepHeld && len(s.held) < cap(s.held)/8 {
		s.held = bytes.Clone(s.held)
	}
	s.scanned -= from
	if s.at -= from; s.at < 0 {
		s.at, s.offset = 0, s.offset-int64(s.at)
	}
	first := 0
	for i := range s.pieces {
		s.pieces[i].at -= from
		if s.pieces[i].at <= 0 {
			first = i
		}
	}
	s.pieces = slices.Delete(s.pieces, 0, first)
	if p := &s.pieces[0]; p.at < 0 {
		p.offset -= int64(p.at)
		p.at, p.boundary = 0, false
	}
}

// place returns where in held the byte at offset is, which is there.
func (s *search) place(offset int64) int {
	i, found := slices.BinarySearchFunc(s.pieces, offset, func(p piece, offset int64) int { return cmp.Compare(p.offset, offset) })
	if !found {
		i--
	}
	return s.pieces[i].at + int(offset-s.pieces[i].offset)
}
