package http2

import (
	"encoding/binary"

	"capstan/interceptor/internal/l7/hpack"
	"capstan/pkg/flow"
)

// state is what a half expects next.
type state uint8

const (
	statePreface state = iota // the client's preface, or the server's first frame
	stateHeader               // the header of a frame
	statePayload              // left bytes of a frame's payload
	stateResync               // whatever, until frames are found
	stateDead                 // nothing any more
)

// half parses one direction: a push parser that may stop at every byte.
type half struct {
	c     *Conn
	dir   flow.Direction
	state state
	// proven: every byte since the start was seen and understood.
	proven         bool
	replaying      bool  // bytes that were held
	guessed        bool  // where frames start was told by what looks like them
	enablesConnect bool  // SETTINGS_ENABLE_CONNECT_PROTOCOL was sent (RFC 8441 §3)
	undamaged      bool  // there may be a stream that the place was not lost for
	have           uint8 // bytes in small

	// The chunk in hand.
	offset int64 // behind the last byte taken
	time   int64
	acked  int64

	// The frame in progress.
	frame     frameHeader
	small     [len(preface)]byte // a frame's header, or the fixed part of its payload
	want      uint8              // length of the fixed part that is expected, 0 behind it
	padding   uint8              // bytes of the payload, at its end
	misled    bool               // something was told of streams while the place was guessed
	others    bool               // a request was certainly no call of gRPC
	left      uint32             // bytes of the payload
	maxFrame  uint32             // length of a frame, as the peer allows
	longest   uint32             // length of a frame, as seen
	credit    int32              // what looking for frames may cost yet
	sureAt    int64              // if guessed: frames behind it are certain
	stream    *stream            // of DATA
	frameTime int64              // of its first byte

	block
	hpack  hpack.Decoder
	losses *losses

	search *search // for a frame, in stateResync only
}

// begin starts at the start of the connection.
func (h *half) begin() {
	h.state, h.proven, h.have = stateHeader, true, 0
	defer h.tabled(h.hpack.Size())
	h.hpack.Start()
	h.setLosses(losses{})
	if h.c.roleOf(h.dir) == roleClient {
		h.c.allOpened = true
	}
}

// data takes bytes. boundary tells that they start a segment.
func (h *half) data(b []byte, boundary bool) {
	for len(b) > 0 {
		n := h.step(b, boundary)
		if n == 0 {
			continue // a change of state
		}
		boundary = false
		b = b[n:]
		h.offset += int64(n)
	}
}

// step takes at least one of the bytes of b, or changes the state.
func (h *half) step(b []byte, boundary bool) int {
	switch h.state {
	case statePreface:
		return h.preface(b)
	case stateHeader:
		return h.header(b)
	case statePayload:
		return h.payload(b)
	case stateResync:
		return h.resync(b, boundary)
	default:
		h.c.shared.Stats.SkippedBytes += uint64(len(b))
		return len(b)
	}
}

// preface takes bytes of the client's preface. Without known roles, the end
// that sends none is the server.
func (h *half) preface(b []byte) int {
	n := 0
	for n < len(b) && int(h.have) < len(preface) && b[n] == preface[h.have] {
		n++
		h.have++
	}
	stats := &h.c.shared.Stats
	stats.FramingBytes += uint64(n)
	switch {
	case int(h.have) == len(preface):
		h.c.setClient(h.dir)
		h.begin()
	case n < len(b) && h.have > 0:
		stats.FramingBytes -= uint64(h.have)
		stats.SkippedBytes += uint64(h.have)
		h.lost()
	case n < len(b) && h.c.roleOf(h.dir) == roleClient:
		h.lost()
	case n < len(b):
		h.c.setClient(h.dir.Reverse())
		h.begin()
	}
	return n
}

// header takes bytes of a frame's header.
func (h *half) header(b []byte) int {
	if h.have == 0 {
		h.frameTime = h.time
		if h.guessed && h.offset > h.sureAt {
			h.guess(false)
		}
		if len(b) >= frameHeaderLen {
			h.c.shared.Stats.FramingBytes += frameHeaderLen
			h.beginFrame(parseFrameHeader(b))
			return frameHeaderLen
		}
	}
	n := copy(h.small[h.have:frameHeaderLen], b)
	h.have += uint8(n)
	h.c.shared.Stats.FramingBytes += uint64(n)
	if h.have == frameHeaderLen {
		h.have = 0
		h.beginFrame(parseFrameHeader(h.small[:]))
	}
	return n
}

// beginFrame goes on behind the header of a frame.
func (h *half) beginFrame(f frameHeader) {
	if !h.expected(&f) {
		h.lost()
		return
	}
	h.c.shared.Stats.Frames++
	h.undamaged = h.undamaged || f.stream != 0
	h.frame, h.state, h.longest = f, statePayload, max(h.longest, f.length)
	h.left, h.want, h.padding, h.have = f.length, uint8(f.fixedLen()), 0, 0
	h.stream = nil
	if h.want == 0 {
		h.beginContent()
	}
}

// expected reports whether f can be the next frame. After a start that was
// seen, a length beyond what the peer allows is the sender's fault, not ours. Where
// the place was guessed, a frame that disagrees with the streams refutes that.
func (h *half) expected(f *frameHeader) bool {
	if h.inBlock != (f.kind == frameContinuation) || h.inBlock && f.stream != h.block.stream {
		return false
	}
	return f.valid() && (h.proven || f.length <= h.maxFrame) && (!h.guessed || h.c.mayCome(f, h.dir, 0))
}

// payload takes bytes of the payload.
func (h *half) payload(b []byte) int {
	if h.want > 0 {
		n := copy(h.small[h.have:h.want], b)
		h.have += uint8(n)
		h.left -= uint32(n)
		h.c.shared.Stats.FramingBytes += uint64(n)
		if h.have == h.want {
			h.fixed()
		}
		return n
	}
	n := min(len(b), int(h.contentLeft()))
	if n > 0 {
		h.left -= uint32(n)
		h.content(b[:n])
	} else {
		n = min(len(b), int(h.left))
		h.left -= uint32(n)
		h.c.shared.Stats.FramingBytes += uint64(n)
	}
	if h.state == statePayload && h.left == 0 {
		h.endFrame()
	}
	return n
}

// contentLeft returns how many bytes come before the padding, of which some may
// have been taken already.
func (h *half) contentLeft() uint32 {
	return h.left - min(h.left, uint32(h.padding))
}

// fixed takes the complete fixed part of the payload.
func (h *half) fixed() {
	b := h.small[:h.want]
	h.have, h.want = 0, 0
	switch h.frame.kind {
	case frameData, frameHeaders, framePushPromise:
		if h.frame.has(flagPadded) {
			h.padding = b[0]
			b = b[1:]
		}
		if uint32(h.padding) > h.left {
			h.lost() // RFC 9113 §6.1
			return
		}
		if h.frame.kind == framePushPromise {
			h.promised = binary.BigEndian.Uint32(b) &^ reservedBit
		}
	case frameSettings:
		h.setting(b)
		h.want = uint8(min(h.left, settingLen))
	case frameRSTStream:
		h.c.reset(h, h.frame.stream, binary.BigEndian.Uint32(b))
	case frameGoAway:
		h.c.goAway(h.dir, binary.BigEndian.Uint32(b)&^reservedBit, binary.BigEndian.Uint32(b[4:]))
	}
	h.beginContent()
}

// beginContent goes on behind the fixed part.
func (h *half) beginContent() {
	switch h.frame.kind {
	case frameData:
		h.showsData(h.frame.stream)
		h.stream = h.dataStream()
		h.stream.beginData(h)
	case frameHeaders, framePushPromise:
		h.beginBlock()
	case frameContinuation:
		h.fragment(nil)
	}
	if h.state == statePayload && h.left == 0 {
		h.endFrame()
	}
}

// content takes bytes between the fixed part and the padding.
func (h *half) content(b []byte) {
	stats := &h.c.shared.Stats
	switch h.frame.kind {
	case frameData:
		stats.DataBytes += uint64(len(b))
		h.stream.data(h, b)
	case frameHeaders, framePushPromise, frameContinuation:
		stats.HeaderBytes += uint64(len(b))
		h.fragment(b)
	default:
		stats.FramingBytes += uint64(len(b))
	}
}

// endFrame goes to the next frame.
func (h *half) endFrame() {
	h.state, h.have = stateHeader, 0
	s := h.stream
	h.stream = nil
	if h.frame.kind == frameData && h.frame.has(flagEndStream) && s != nil {
		h.c.endSide(s, h)
	}
}
