package http1

import "bytes"

// resync passes over bytes until a start line shows at the start of a segment.
// A line that a segment starts and does not finish is kept for the next one.
func (h *half) resync(b []byte, boundary bool) int {
	if boundary && (h.entersTunnel(b) || h.answerShown(b)) {
		return 0
	}
	held := len(h.buf)
	if held == 0 && !boundary && !h.tryHere {
		return h.passOver(b)
	}
	h.tryHere = false
	if held == 0 && (b[0] == '\r' || b[0] == '\n') {
		n := len(b) - len(bytes.TrimLeft(b, lineEnd))
		h.skip(n)
		h.tryHere = h.state == stateResync
		return n
	}
	src := b
	if held > 0 {
		// Copied because the line began in an earlier segment.
		h.buf = append(h.buf, b[:min(len(b), maxDetectLen)]...)
		src = h.buf
	} else {
		h.mark()
		h.looks = 0
	}
	h.looks++
	switch ok, needMore := h.detect(src); {
	case ok:
		h.buf = h.buf[:held]
		h.c.shared.Stats.SkippedBytes -= uint64(held)
		h.c.shared.Stats.HeadBytes += uint64(held)
		h.state = stateHead
		h.unparsed = 0
		return 0
	case needMore && h.looks < maxLooks:
		if held == 0 {
			h.buf = append(h.buf, b...)
		}
		return h.skip(len(b))
	default:
		h.give(stateResync)
		if held > 0 {
			return 0 // b itself starts a segment
		}
		return h.passOver(b)
	}
}

// passOver skips b, in which no message is looked for: a client and a server that
// wait for each other start each message with a segment of its own. What is in b, or
// was sent when just a part of it had been received, may tell that this client does
// not wait.
func (h *half) passOver(b []byte) int {
	h.overhear(b)
	return h.skip(len(b))
}

// overhear looks for what b, which is passed over, tells of the client.
func (h *half) overhear(b []byte) {
	if h.c.rolesKnown && !h.request {
		h.c.pairing.passedOver(h.c, h.offset, h.offset+int64(len(b)))
	} else if !h.overheard {
		h.overheard = HoldsRequestLine(b)
	}
}

// HoldsRequestLine reports whether a whole request line with a known method is
// anywhere in b.
func HoldsRequestLine(b []byte) bool {
	for {
		line, behind, found := bytes.Cut(b, []byte(" HTTP/1.1\r\n"))
		if !found {
			return false
		}
		if space := bytes.LastIndexByte(line, ' '); space >= 0 && space+1 < len(line) && isTarget(line[space+1:]) {
			word := line[:space]
			n := len(word)
			for n > 0 && (word[n-1] >= 'A' && word[n-1] <= 'Z' || word[n-1] == '-') {
				n--
			}
			if knownMethod(word[n:]) {
				return true
			}
		}
		b = behind
	}
}

// believe takes what a segment started with and no other will finish for a
// request, if it looks like one so far.
func (h *half) believe() {
	if h.state != stateResync || !h.request || !LooksLikeCutRequest(h.buf, false) {
		return
	}
	h.c.shared.Stats.SkippedBytes -= uint64(len(h.buf))
	h.c.shared.Stats.HeadBytes += uint64(len(h.buf))
	h.state = stateHead
	h.unparsed = 0
}

// detect tells whether b starts like a message of this direction. While the
// roles are not known either will do, and settles them.
func (h *half) detect(b []byte) (ok, needMore bool) {
	if h.c.rolesKnown {
		if h.request {
			return LooksLikeRequest(b, true)
		}
		return LooksLikeResponse(b)
	}
	ok, needMore = LooksLikeRequest(b, true)
	if ok {
		h.c.setClient(h.dir)
		return true, false
	}
	ok, more := LooksLikeResponse(b)
	if ok {
		h.c.setClient(h.dir.Reverse())
	}
	return ok, needMore || more
}

// skip passes over n bytes. Bytes that are not HTTP make it stop looking after
// a while: the connection has changed to something else.
func (h *half) skip(n int) int {
	h.c.shared.Stats.SkippedBytes += uint64(n)
	if h.garbage {
		h.unparsed += int64(n)
		if h.unparsed > h.c.shared.cfg.MaxUnparsed {
			h.c.shared.Stats.GivenUp++
			h.give(stateDead)
		}
	}
	return n
}
