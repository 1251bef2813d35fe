package grpc

import (
	"encoding/binary"

	capstanv1 "capstan/proto/capstan/v1"
)

const (
	// prefixLen is the length of what stands before each message: a byte of
	// flags and the length, big endian.
	prefixLen = 5

	flagCompressed = 0x01
	flagTrailers   = 0x80 // gRPC-Web: not a message but the trailers

	// keepLengths is how many lengths of messages a record keeps.
	keepLengths = 16
	// maxTrailersLen bounds the trailers of gRPC-Web.
	maxTrailersLen = 8 << 10
	// keepTrailerLen is how much memory for them is used again.
	keepTrailerLen = 512
)

// Messages follows the length-prefixed messages of one direction. It stops at
// any byte and keeps no content.
type Messages struct {
	rec   capstanv1.GrpcMessages
	first [2]uint32 // the start of rec.Lengths: most calls have one message
	kind  Kind

	prefix  [prefixLen]byte
	have    int    // bytes of the prefix
	left    uint32 // bytes of the message
	inside  bool   // a prefix was complete, and left bytes follow
	quad    base64Quad
	trailer []byte // of gRPC-Web, as far as it came
	inTrail bool   // the bytes left are of the trailers
	packed  bool   // the trailers are compressed
	cut     bool   // they are longer than what is kept
}

// init makes m follow messages as kind says. A direction whose content type is
// not of gRPC has none.
func (m *Messages) init(kind Kind) { m.kind = kind }

// reset makes m follow nothing.
func (m *Messages) reset() {
	lengths, trailer := m.rec.Lengths[:0], m.trailer[:0]
	if cap(trailer) > keepTrailerLen {
		trailer = nil
	}
	*m = Messages{trailer: trailer}
	m.rec.Lengths = lengths
}

// Data takes the next bytes of the body.
func (m *Messages) Data(b []byte) {
	if m.kind != WebText {
		m.data(b)
		return
	}
	var out [3 * 256]byte
	for len(b) > 0 && !m.rec.Incomplete {
		n := min(len(b), 4*(len(out)/3-1))
		decoded, ok := m.quad.append(out[:0], b[:n])
		m.data(decoded)
		if !ok {
			m.Lost()
		}
		b = b[n:]
	}
}

func (m *Messages) data(b []byte) {
	if m.kind == None {
		return
	}
	for len(b) > 0 && !m.rec.Incomplete {
		if !m.inside {
			n := copy(m.prefix[m.have:], b)
			m.have += n
			b = b[n:]
			if m.have == prefixLen {
				m.begin()
			}
			continue
		}
		n := uint32(min(uint64(len(b)), uint64(m.left)))
		if m.inTrail {
			kept := min(int(n), maxTrailersLen-len(m.trailer))
			m.trailer = append(m.trailer, b[:kept]...)
			m.cut = m.cut || kept < int(n)
		}
		b = b[n:]
		m.advance(n)
	}
}

// begin takes a complete prefix.
func (m *Messages) begin() {
	flags := m.prefix[0]
	m.left = binary.BigEndian.Uint32(m.prefix[1:])
	m.have, m.inside = 0, true
	m.inTrail = m.kind != Plain && flags&flagTrailers != 0
	switch {
	case flags&^(flagCompressed|flagTrailers) != 0, flags&flagTrailers != 0 && m.kind == Plain:
		m.Lost()
		return
	case m.inTrail:
		m.trailer, m.packed = m.trailer[:0], flags&flagCompressed != 0
	default:
		m.rec.Count++
		m.rec.Bytes += uint64(m.left)
		m.rec.Compressed += uint64(flags & flagCompressed)
		if m.rec.Lengths == nil {
			m.rec.Lengths = m.first[:0]
		}
		if len(m.rec.Lengths) < keepLengths {
			m.rec.Lengths = append(m.rec.Lengths, m.left)
		}
	}
	m.advance(0)
}

// advance counts n bytes of the message as done.
func (m *Messages) advance(n uint32) {
	m.left -= n
	m.inside = m.left > 0
}

// Gap takes n bytes of the body that were not captured. Inside one message
// nothing is lost by that.
func (m *Messages) Gap(n int64) {
	if m.inside && !m.inTrail && m.kind != WebText && n <= int64(m.left) {
		m.advance(uint32(n))
		return
	}
	m.Lost()
}

// Lost tells that bytes are missing whose number isn't known.
func (m *Messages) Lost() { m.rec.Incomplete = true }

// trailersWhole reports whether the trailers came to their end and were kept.
func (m *Messages) trailersWhole() bool { return !m.cut && !(m.inside && m.inTrail) }

// Whole returns how many messages there were so far, and whether the body was nothing but
// them, of which none is unfinished.
func (m *Messages) Whole() (count uint64, ok bool) {
	return uint64(m.rec.Count), !m.rec.Incomplete && !m.unfinished()
}

func (m *Messages) unfinished() bool { return m.inside || m.have > 0 || m.quad.n > 0 }

// end takes the end of the body, or of what was seen of it.
func (m *Messages) end() {
	if m.unfinished() {
		m.Lost()
	}
}

// base64Quad decodes base64 (RFC 4648 §4) piece by piece: padding may stand
// inside, where a sender joined texts.
type base64Quad struct {
	bits uint32
	n    int // characters of the group
	pad  int // of them padding
}

// append appends the bytes of the groups that text completes to dst, which has
// room for them.
func (q *base64Quad) append(dst, text []byte) (_ []byte, ok bool) {
	for _, c := range text {
		v := base64Value[c]
		switch {
		case c == '=' && q.n >= 2:
			q.pad++
			v = 0
		case v < 0 || q.pad > 0:
			return dst, false
		}
		q.bits = q.bits<<6 | uint32(v)
		q.n++
		if q.n < 4 {
			continue
		}
		b := [3]byte{byte(q.bits >> 16), byte(q.bits >> 8), byte(q.bits)}
		dst = append(dst, b[:3-q.pad]...)
		*q = base64Quad{}
	}
	return dst, true
}

// base64Value are the values of the alphabet's characters, -1 for others; read
// only.
var base64Value = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = int8(i)
	}
	return t
}()
