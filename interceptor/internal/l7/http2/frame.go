package http2

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
)

// frameType is the type of a frame (RFC 9113 §6).
type frameType uint8

const (
	frameData frameType = iota
	frameHeaders
	framePriority
	frameRSTStream
	frameSettings
	framePushPromise
	framePing
	frameGoAway
	frameWindowUpdate
	frameContinuation

	frameAltSvc         frameType = 0x0a // RFC 7838 §4
	frameOrigin         frameType = 0x0c // RFC 8336 §2
	framePriorityUpdate frameType = 0x10 // RFC 9218 §7.1
)

const (
	flagEndStream  = 0x01
	flagAck        = 0x01
	flagEndHeaders = 0x04
	flagPadded     = 0x08
	flagPriority   = 0x20
)

const (
	frameHeaderLen = 9
	// defaultMaxFrame is the longest payload, unless the receiver allows more
	// by SETTINGS_MAX_FRAME_SIZE (RFC 9113 §4.2).
	defaultMaxFrame = 16384
	maxFrameLimit   = 1<<24 - 1

	priorityLen      = 5 // fields of HEADERS with the PRIORITY flag
	promisedLen      = 4 // the promised stream's identifier
	rstLen           = 4
	settingLen       = 6
	pingLen          = 8
	goAwayLen        = 8
	windowLen        = 4
	reservedBit      = 1 << 31
	priorityUpdateID = 4
)

// The settings that matter here (RFC 9113 §6.5.2, RFC 8441 §3).
const (
	settingTableSize     = 0x1
	settingEnablePush    = 0x2
	settingMaxFrameSize  = 0x5
	settingEnableConnect = 0x8
)

// preface is what a client sends first (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frameHeader starts each frame (RFC 9113 §4.1).
type frameHeader struct {
	length   uint32
	kind     frameType
	flags    uint8
	reserved bool
	stream   uint32
}

func parseFrameHeader(b []byte) frameHeader {
	id := binary.BigEndian.Uint32(b[5:9])
	return frameHeader{
		length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), kind: frameType(b[3]), flags: b[4],
		stream: id &^ reservedBit, reserved: id&reservedBit != 0,
	}
}

func (f *frameHeader) has(flag uint8) bool { return f.flags&flag != 0 }

// fixedLen is how many bytes come before the content of the payload.
func (f *frameHeader) fixedLen() uint32 {
	n := uint32(0)
	switch f.kind {
	case frameData, frameHeaders, framePushPromise:
		if f.has(flagPadded) {
			n++
		}
		if f.kind == frameHeaders && f.has(flagPriority) {
			n += priorityLen
		}
		if f.kind == framePushPromise {
			n += promisedLen
		}
	case frameRSTStream:
		n = rstLen
	case frameGoAway:
		n = goAwayLen
	case frameSettings:
		n = min(f.length, settingLen)
	}
	return n
}

// valid reports whether the frame keeps the rules whose violation is an error
// of the connection: the stream and the length that its type must have.
func (f *frameHeader) valid() bool {
	switch f.kind {
	case frameData, frameHeaders, framePushPromise:
		return f.stream != 0 && f.length >= f.fixedLen()
	case framePriority:
		return f.stream != 0 && f.length == priorityLen
	case frameRSTStream:
		return f.stream != 0 && f.length == rstLen
	case frameSettings:
		return f.stream == 0 && f.length%settingLen == 0 && (!f.has(flagAck) || f.length == 0)
	case framePing:
		return f.stream == 0 && f.length == pingLen
	case frameGoAway:
		return f.stream == 0 && f.length >= goAwayLen
	case frameWindowUpdate:
		return f.length == windowLen
	case frameContinuation:
		return f.stream != 0
	}
	return true
}

// definedFlags are the flags of each type. Others must be ignored by a receiver
// (RFC 9113 §4.1), but nobody sends them.
var definedFlags = [...]uint8{
	frameData:           flagEndStream | flagPadded,
	frameHeaders:        flagEndStream | flagEndHeaders | flagPadded | flagPriority,
	framePriority:       0,
	frameRSTStream:      0,
	frameSettings:       flagAck,
	framePushPromise:    flagEndHeaders | flagPadded,
	framePing:           flagAck,
	frameGoAway:         0,
	frameWindowUpdate:   0,
	frameContinuation:   flagEndHeaders,
	frameAltSvc:         0,
	frameOrigin:         0,
	framePriorityUpdate: 0,
}

// role is what is known of a direction's sender.
type role uint8

const (
	roleUnknown role = iota
	roleClient
	roleServer
)

// plausible reports whether bytes that were found somewhere are likely to be
// the header of a frame: everything that an honest sender keeps to.
func (f *frameHeader) plausible(sender role, maxFrame uint32) bool {
	if f.reserved || f.length > maxFrame || !f.valid() || int(f.kind) >= len(definedFlags) || f.flags&^definedFlags[f.kind] != 0 {
		return false
	}
	odd := f.stream%2 == 1
	switch f.kind {
	case frameData:
		// An empty frame does nothing but end a stream.
		return (f.length > 0 || f.has(flagEndStream)) && (odd || sender != roleClient)
	case frameHeaders, frameContinuation:
		return f.length > f.fixedLen() && (odd || sender != roleClient)
	case framePushPromise:
		return f.length > f.fixedLen() && odd && sender != roleClient
	case frameSettings:
		return f.length > 0 || f.has(flagAck)
	case framePriority, framePing, frameRSTStream, frameGoAway, frameWindowUpdate:
		return true
	case frameAltSvc:
		return f.length > 2 && sender != roleClient
	case frameOrigin:
		return f.stream == 0 && f.length > 2 && sender != roleClient
	case framePriorityUpdate:
		return f.stream == 0 && f.length >= priorityUpdateID && sender != roleServer
	}
	return false
}

// Kinds of frames, a bit for each, by what they are of.
const (
	kindsOfStreams    = 1<<frameData | 1<<frameHeaders | 1<<framePriority | 1<<frameRSTStream | 1<<framePushPromise | 1<<frameWindowUpdate | 1<<frameContinuation | 1<<frameAltSvc
	kindsOfConnection = 1<<frameSettings | 1<<framePing | 1<<frameGoAway | 1<<frameWindowUpdate | 1<<frameAltSvc | 1<<frameOrigin | 1<<framePriorityUpdate
)

// undefinedFlags are those that each kind has not, all of what is no kind.
var undefinedFlags = func() (u [32]uint64) {
	for kind := range u {
		if u[kind] = 0xff; kind < len(definedFlags) {
			u[kind] = uint64(^definedFlags[kind])
		}
	}
	return u
}()

// couldBeHeader reports whether the last eight bytes of a header may be these: it tells
// most of what [frameHeader.plausible] does, at less cost, since where that matters no
// branch would be foreseen.
func couldBeHeader(v uint64) bool {
	kind := v >> 40 & 31
	connection := (v&math.MaxUint32 - 1) >> 63 // 1 if the stream is 0
	const kinds = kindsOfConnection<<32 | kindsOfStreams
	strange := ^uint64(kinds)>>(connection<<5|kind)&1 | v>>32&undefinedFlags[kind] | v&(7<<45|reservedBit)
	return strange == 0
}

// firstZero returns where the first zero of b is, or -1.
func firstZero(b []byte) int {
	if len(b) >= 8 { // among small numbers it is near, and a call costs more than the rest
		v := binary.LittleEndian.Uint64(b)
		if marks := (v - 0x0101010101010101) &^ v & 0x8080808080808080; marks != 0 {
			return bits.TrailingZeros64(marks) / 8
		}
	}
	return bytes.IndexByte(b, 0)
}
