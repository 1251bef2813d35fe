package traffic

import "encoding/binary"

// A test frame's pattern is a piece of one table, which starts at an offset
// that follows from the frame's number. So it is written and compared at the
// speed of memory, and its checksum is the difference of two sums.
const (
	patternStride  = 8
	patternOffsets = 512
	patternLen     = patternStride*patternOffsets + maxFrameLen
)

// patterns is the table. Nothing writes to it after its construction.
var patterns = newPatternTable()

type patternTable struct {
	bytes [patternLen]byte
	sums  [patternLen/2 + 1]uint32 // sums[i] is that of the first i words
}

func newPatternTable() *patternTable {
	t := new(patternTable)
	for i := 0; i < patternLen; i += 8 {
		binary.BigEndian.PutUint64(t.bytes[i:], mix(uint64(i)))
	}
	for i := range patternLen / 2 {
		t.sums[i+1] = t.sums[i] + uint32(binary.BigEndian.Uint16(t.bytes[2*i:]))
	}
	return t
}

// patternOffset is where the pattern of a frame starts whose number's mix is h.
func patternOffset(h uint64) int { return int(h%patternOffsets) * patternStride }

// sum is that of the n bytes from off, which is even.
func (t *patternTable) sum(off, n int) uint64 {
	s := uint64(t.sums[(off+n)/2] - t.sums[off/2])
	if n%2 != 0 {
		s += uint64(t.bytes[off+n-1]) << 8
	}
	return s
}
