package http2

import "math/bits"

// buffers are those to be used again: of 128, 256 … 4,096 bytes, so that a body
// takes less than twice its length.
type buffers [maxBufferBits - minBufferBits + 1][][]byte

const (
	minBufferBits = 7
	maxBufferBits = 12
)

// take returns an empty buffer with room for n bytes.
func (p *buffers) take(n int) []byte {
	class := max(bits.Len(uint(n-1)), minBufferBits)
	if class > maxBufferBits {
		return make([]byte, 0, n)
	}
	free := &p[class-minBufferBits]
	k := len(*free)
	if k == 0 {
		return make([]byte, 0, 1<<class)
	}
	b := (*free)[k-1]
	*free = (*free)[:k-1]
	return b
}

// give takes back b, which nothing refers to.
func (p *buffers) give(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minBufferBits || class > maxBufferBits || cap(b) != 1<<class {
		return
	}
	if free := &p[class-minBufferBits]; len(*free) < maxFree {
		*free = append(*free, b[:0])
	}
}

// append appends more to b, one of the buffers or nil. A larger one, if that is
// needed, has room for the length in all that is expected.
func (p *buffers) append(b, more []byte, expected int) []byte {
	if need := len(b) + len(more); need > cap(b) {
		if need = max(need, expected); need > 1<<maxBufferBits {
			need = max(need, 2*len(b))
		}
		larger := append(p.take(need), b...)
		p.give(b)
		b = larger
	}
	return append(b, more...)
}
