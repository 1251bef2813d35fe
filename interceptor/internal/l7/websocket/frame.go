package websocket

import "encoding/binary"

// Opcodes (RFC 6455 §5.2).
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// Bits of a frame header.
const (
	finBit     = 0x80
	rsv1Bit    = 0x40 // the message is compressed (RFC 7692 §6)
	rsvBits    = 0x30 // of no known extension
	opcodeBits = 0x0f
	maskBit    = 0x80
	lengthBits = 0x7f
)

const (
	length16      = 126 // two bytes with the length follow
	length64      = 127 // eight do
	maskLen       = 4
	maxHeaderLen  = 2 + 8 + maskLen
	maxControlLen = 125
)

// header is that of a frame.
type header struct {
	fin, rsv1, masked bool
	opcode            byte
	length            int64
	mask              [maskLen]byte
	minimal           bool // the length is not written longer than needed
}

func (h *header) control() bool { return h.opcode >= opClose }

// headerLen returns the length of the header that starts with b, as far as b
// tells, at least 2.
func headerLen(b []byte) int {
	n := 2
	if len(b) < 2 {
		return n
	}
	switch b[1] & lengthBits {
	case length16:
		n += 2
	case length64:
		n += 8
	}
	if b[1]&maskBit != 0 {
		n += maskLen
	}
	return n
}

// parseHeader takes a whole header. ok is false for what no frame starts with:
// bits and opcodes that nothing defines, a length beyond 63 bits.
func parseHeader(b []byte) (h header, ok bool) {
	h.fin, h.rsv1, h.opcode = b[0]&finBit != 0, b[0]&rsv1Bit != 0, b[0]&opcodeBits
	h.masked = b[1]&maskBit != 0
	h.length, h.minimal = int64(b[1]&lengthBits), true
	rest := b[2:]
	switch h.length {
	case length16:
		h.length = int64(binary.BigEndian.Uint16(rest))
		h.minimal = h.length >= length16
		rest = rest[2:]
	case length64:
		h.length = int64(binary.BigEndian.Uint64(rest))
		h.minimal = h.length > 0xffff
		rest = rest[8:]
	}
	if h.masked {
		copy(h.mask[:], rest)
	}
	known := h.opcode <= opBinary || h.opcode >= opClose && h.opcode <= opPong
	return h, known && b[0]&rsvBits == 0 && h.length >= 0
}

// fits reports whether h is a frame as an honest end sends it, given what was
// agreed on: masked by the client and only by it (§5.1), control frames short and
// whole (§5.5).
func (h *header) fits(fromClient, compression bool) bool {
	switch {
	case h.masked != fromClient, !h.minimal:
		return false
	case h.control():
		return h.fin && !h.rsv1 && h.length <= maxControlLen
	}
	return !h.rsv1 || compression && h.opcode != opContinuation
}

// unmask appends src to dst with the mask taken off; at is src's offset in the
// frame's payload.
func (h *header) unmask(dst, src []byte, at int64) []byte {
	if !h.masked {
		return append(dst, src...)
	}
	dst = append(dst, src...)
	b := dst[len(dst)-len(src):]
	var mask [2 * maskLen]byte // as it stands at the first byte of src
	for i := range mask {
		mask[i] = h.mask[(at+int64(i))%maskLen]
	}
	for eight := binary.NativeEndian.Uint64(mask[:]); len(b) >= len(mask); b = b[len(mask):] {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^eight)
	}
	for i := range b {
		b[i] ^= mask[i]
	}
	return dst
}
