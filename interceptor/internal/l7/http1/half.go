package http1

import (
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// state is what a half expects next.
type state uint8

const (
	stateStart      state = iota // the first byte of a message
	stateHead                    // the rest of a header or trailer section
	stateHeadCut                 // the same, beyond the limit
	stateBody                    // remaining bytes of a body of known length
	stateChunkSize               // a line with the size of a chunk
	stateChunkData               // remaining bytes of a chunk
	stateChunkEnd                // the line end behind a chunk
	stateSeek                    // the next chunk of a body that has lost its place
	stateUntilClose              // a body that the end of the stream ends
	stateHold                    // after CONNECT, or no HTTP after a request for an upgrade, until its response tells what follows
	stateTunnel                  // another protocol
	stateResync                  // whatever, until a start line shows at the start of a segment
	stateDead                    // nothing any more
)

// half parses one direction: a push parser that may stop at every byte.
type half struct {
	c        *Conn
	*message // while something is in progress

	offset    int64 // behind the last byte taken
	lastAcked int64 // acked of the segment that carried the byte at offset-1, -1 unknown
	epoch     int32 // counts the times the place was lost
	dir       flow.Direction
	request   bool // this is the client's direction
	state     state
	follows   bool // the next message directly follows the one before
	tryHere   bool // resync may look at the next byte too
	garbage   bool // resync because of bytes that are not HTTP
	overheard bool // a request line was among the bytes passed over
	preface   bool // the request is the preface of HTTP/2
}

// message is the message in progress, or the candidate for one.
type message struct {
	// The chunk in hand.
	time  int64
	acked int64

	msgOffset int64
	msgTime   int64
	msgLast   int64 // latest time of its bytes
	msgAcked  int64
	prior     int64 // lastAcked at its first byte
	x         *roundTrip
	a         *answer
	interim   bool // the response in progress is a 1xx
	frame     framing
	keep      bool  // its body's content is kept (up to the limit and the first gap)
	remaining int64 // of the body or chunk

	section // of a head or of trailers, until it is complete
	chunk   chunkLine
	sought  *seeker // in stateSeek, kept for the next time

	unparsed int64 // bytes that are not HTTP since the last message
	looks    int   // segments that the line kept has come in, which may be a start line
}

// rests reports whether nothing is in progress.
func (h *half) rests() bool {
	switch h.state {
	case stateStart, stateResync, stateTunnel, stateDead:
		return h.x == nil && h.a == nil && len(h.buf) == 0 && h.unparsed == 0
	}
	return false
}

// data takes a chunk.
//
// Next: pairing.pair for a response, pairing.finish and then
// exchange.Recorder.Emit for what is complete.
func (h *half) data(ch *reassembly.Chunk) {
	b := ch.Bytes
	if ch.Offset != h.offset {
		h.lastAcked = -1 // the caller kept what came before to himself
	}
	h.offset = ch.Offset
	h.time, h.acked = ch.Time, ch.Acked
	boundary := true
	for len(b) > 0 {
		n := h.step(b, boundary)
		if n == 0 {
			continue // a change of state
		}
		boundary = false
		b = b[n:]
		h.offset += int64(n)
		h.lastAcked = ch.Acked
	}
}

// step takes at least one of the bytes of b, or changes the state.
func (h *half) step(b []byte, boundary bool) int {
	switch h.state {
	case stateStart:
		return h.start(b)
	case stateHead:
		return h.head(b)
	case stateHeadCut:
		return h.cutHead(b)
	case stateBody, stateUntilClose, stateChunkData:
		return h.body(b, boundary)
	case stateChunkSize:
		return h.chunkSize(b, boundary)
	case stateChunkEnd:
		return h.chunkEnd(b)
	case stateSeek:
		return h.seekOn(b, boundary)
	case stateHold:
		return h.holdOn(b, boundary)
	case stateTunnel:
		return h.tunnelled(b)
	case stateResync:
		return h.resync(b, boundary)
	default:
		h.c.shared.Stats.SkippedBytes += uint64(len(b))
		return len(b)
	}
}

// start skips empty lines (RFC 9112 §2.2) up to the first byte of a message.
func (h *half) start(b []byte) int {
	n := 0
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	if n > 0 {
		h.c.shared.Stats.HeadBytes += uint64(n)
		return n
	}
	h.mark()
	h.state = stateHead
	return h.head(b)
}

// mark notes that a message, or a candidate, starts with the next byte.
func (h *half) mark() {
	h.msgOffset, h.msgTime, h.msgLast = h.offset, h.time, h.time
	h.msgAcked, h.prior = h.acked, h.lastAcked
	h.section.reset()
	h.frame = framing{}
}

// gap takes n missing bytes.
func (h *half) gap(g *reassembly.Gap) {
	n, acked := g.Len, h.lastAcked
	h.c.shared.Stats.GapBytes += uint64(n)
	h.offset, h.time, h.lastAcked = g.Offset, g.Time, g.Acked
	switch h.state {
	case stateBody:
		h.gapInBody(n)
	case stateChunkData, stateChunkSize, stateChunkEnd:
		h.gapInChunks(n, acked)
	case stateSeek:
		h.gapInSeek(n)
	case stateUntilClose:
		h.missBody(n)
	case stateHold:
		// The bytes may be a tunnel's or the next request.
		h.follows = false
	case stateTunnel:
		if h.c.next != nil {
			h.c.next.Gap(h.dir, *g)
		}
	case stateDead:
	default:
		if h.state == stateStart && h.request && h.c.pairing.upgrading() {
			h.mark()
			h.state, h.follows = stateHold, false
			break
		}
		if h.cutSwitch(g) {
			break
		}
		h.believe()
		h.lost(capstanv1.Flaw_FLAW_GAP)
	}
	h.offset = g.Offset + n
}

// lost ends what is in progress for the given flaw and looks for the next
// start line.
func (h *half) lost(f capstanv1.Flaw) {
	h.abort(f)
	if !h.request && f == capstanv1.Flaw_FLAW_MALFORMED {
		h.c.question(h.c) // a response to HEAD that has a body may be one to something else
	}
	h.give(stateResync)
	h.uncounted()
	h.garbage = f == capstanv1.Flaw_FLAW_MALFORMED
}

// uncounted notes that messages may have been missed.
func (h *half) uncounted() {
	h.epoch++
	h.follows, h.garbage = false, false
	h.c.shared.Stats.Resyncs++
	if !h.request {
		h.c.pairing.lostResponses()
	}
}

// ambiguous notes that the message in progress breaks the rules by which its end is told:
// one of the two ends may see that elsewhere, and other messages behind it (RFC 9112
// §11.2).
func (h *half) ambiguous() {
	h.messageFlaws().Add(capstanv1.Flaw_FLAW_MALFORMED)
	h.epoch++
	h.follows = false
	if !h.request {
		h.c.pairing.lostResponses()
	}
}

// give drops what is buffered and goes to state s.
func (h *half) give(s state) {
	h.section.reset()
	h.section.release()
	h.state = s
	h.tryHere = false
	if s == stateTunnel || s == stateDead {
		h.unparsed = 0
	}
}

// abort ends the message in progress, if there is one, before its end.
func (h *half) abort(f capstanv1.Flaw) {
	if h.state == stateSeek {
		h.endSought(h.sought.end > 0)
		return
	}
	if h.state == stateHead && (h.lined || h.partialLine()) {
		h.partialSection()
	}
	if !h.request && h.c.group != nil {
		a := h.c.group.answer
		a.flaws.Add(f)
		a.goesOn = h.state != stateBody || h.remaining > 0
	}
	if h.x != nil && h.request {
		h.x.flaws.Add(f)
	}
	h.endMessage(false)
}
