package http2

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
	s.hold(b, piece{offset: h.offset, time: h.time, acked: h.acked, boundary: boundary})
	s.scan(h)
	if best := s.witnessed(int64(h.likelyMaxFrame())); best >= 0 {
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
	h.guess(true)
	h.data(b, true)
	h.offset -= int64(len(b)) // the caller counts them
	return true
}

// found goes on with the frames that start at offset place of what is held, whose last
// n bytes are of the segment in hand.
func (h *half) found(place int64, n int) {
	s := h.search
	start := s.place(place)
	h.leaveSearch()
	h.c.shared.Stats.SkippedBytes -= uint64(len(s.held) - start)
	h.state, h.have, h.replaying = stateHeader, 0, true
	h.offset = place
	h.guess(true)
	h.weigh(place)
	h.earlier().missed(h, place)
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
		h.time, h.acked = p.time, p.acked
		if p.behind && p.at > start {
			h.miss(p.offset - h.offset)
		}
		from := max(p.at, start)
		h.offset = p.offset + int64(from-p.at)
		h.data(s.held[from:end], p.boundary && from == p.at)
	}
	h.replaying = false
	h.offset -= int64(n) // the caller counts them
}
