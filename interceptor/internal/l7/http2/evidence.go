package http2

import (
	"bytes"
	"math"

	"capstan/pkg/flow"
)

const (
	// enough is the evidence, in bits, on which frames are believed to start in the
	// middle of a segment: among as many bytes as are held at most it comes up by
	// chance once in 2^28.
	enough = 44
	// leastEvidence is what a frame must tell to count. Among small numbers many that
	// tell little follow each other, and more often than their bytes alone make likely.
	leastEvidence = 18
	// evidenceAround is how many bytes on each side of a header tell how likely its
	// bytes are by chance.
	evidenceAround = 256
	// maxByteBits bounds what one byte can tell: where all are as likely.
	maxByteBits = 8
	// maxEndBits bounds what the end of a segment can tell.
	maxEndBits = 10
	// kindBits is what the choice between types and flags takes from the evidence.
	kindBits = 4
	// idSlack bounds how far the identifiers of streams that nothing was seen of
	// may be from those that are known.
	idSlack = 512
	// minRequest is how many bytes a request takes at the least.
	minRequest = frameHeaderLen + 1
)

// evidence returns how unlikely it is, in bits, that the header f at the start of b is
// there by chance, as bytes are distributed in what comes before it and in its payload:
// in text, which has no zeros, or in what is compressed, each of the seven bytes that
// tell type, flags and stream is a surprise; in a table of small numbers none is. seen
// is how many different ones were looked for.
func (c *Conn) evidence(f *frameHeader, before, b []byte) (bits float64, seen int) {
	before = before[max(len(before)-evidenceAround, 0):]
	payload := b[frameHeaderLen:min(len(b), frameHeaderLen+min(int(f.length), evidenceAround))]
	all := logarithms[len(before)+len(payload)+fewBytes]
	surprise := func(x byte) float64 {
		seen++
		n := bytes.Count(before, []byte{x}) + bytes.Count(payload, []byte{x})
		return min(maxByteBits, all-logarithms[n+1])
	}
	zeros := 0 // most of them are
	for i, x := range b[:frameHeaderLen] {
		if x == 0 && !ofLength(i) {
			zeros++
		}
	}
	const telling = frameHeaderLen - 2
	bits = float64(zeros) * surprise(0)
	left := float64(telling-zeros) * maxByteBits
	for i, x := range b[:frameHeaderLen] {
		if bits+left-kindBits < leastEvidence {
			return 0, seen // whatever the others tell
		}
		if x != 0 && !ofLength(i) {
			bits += surprise(x)
			left -= maxByteBits
		}
	}
	if bits -= kindBits + math.Log2(float64(c.choices(f.stream))); bits < leastEvidence {
		return 0, seen
	}
	return bits, seen
}

// ofLength reports whether byte i of a header is of the length's lower half: any will do.
func ofLength(i int) bool { return i == 1 || i == 2 }

// fewBytes makes few bytes tell little.
const fewBytes = 16

// logarithms are those to the base of 2 of counts of bytes.
var logarithms = func() (l [2*evidenceAround + fewBytes + 1]float64) {
	for n := range l[1:] {
		l[n+1] = math.Log2(float64(n + 1))
	}
	return l
}()

// endEvidence is what it tells in bits that a frame of that length ends where a segment
// does.
func endEvidence(length int64) float64 {
	return min(maxEndBits, math.Log2(float64(length+1)))
}

// choices returns how many streams a frame could be of that is of stream id.
func (c *Conn) choices(id uint32) int {
	switch {
	case id == 0:
		return 1
	case c.byID.get(id) != nil:
		return c.byID.n
	case c.lastID == 0:
		return 1 << 24
	}
	return int(c.idReach(0))
}

// idReach is how far the identifier of a stream may be from the last that is known,
// in a frame that many bytes ahead: what went by since in either direction may have held
// as many.
func (c *Conn) idReach(ahead int64) int64 {
	return idSlack + 2*max(0, c.half[0].offset+c.half[1].offset+ahead-c.lastIDAt)/minRequest
}

// noteID notes that the client opened stream id.
func (c *Conn) noteID(id uint32) {
	if id%2 == 1 && id > c.lastID {
		c.lastID, c.lastIDAt = id, c.half[0].offset+c.half[1].offset
	}
}

// mayCome reports whether f, which is plausible, agrees with what is known of the
// connection's streams, if it is sent in direction d, that many bytes ahead.
func (c *Conn) mayCome(f *frameHeader, d flow.Direction, ahead int64) bool {
	if f.stream == 0 || !c.rolesKnown {
		return true
	}
	// An empty frame may end a stream again: nginx 1.22 is known to do so.
	carries := f.kind == frameData && f.length > 0 || f.kind == frameHeaders || f.kind == framePushPromise || f.kind == frameContinuation
	if s := c.byID.get(f.stream); s != nil {
		return !carries || !c.sideOf(s, d).ended
	}
	if c.gone.has(f.stream) {
		return true
	}
	if f.stream%2 == 0 {
		return !carries // a promise makes a stream
	}
	server := &c.half[c.client.Reverse()]
	if carries && d != c.client && c.half[c.client].proven && server.acked >= 0 && server.acked <= c.half[c.client].offset {
		return false // all that its sender knows of is known
	}
	away := int64(f.stream) - int64(c.lastID)
	if c.lastID == 0 {
		return true
	}
	if carries && away <= 0 && c.half[c.client].proven {
		return false // it is over
	}
	return max(away, -away) <= c.idReach(ahead)
}
