package reassembly

import "math/bits"

// Sizes of the buffers that hold queued payload: powers of two from 64 bytes to
// 64 KiB. A larger payload (BIG TCP) gets a buffer of its own.
const (
	minBufferBits = 6
	maxBufferBits = 16
	bufferClasses = maxBufferBits - minBufferBits + 1
)

// buffers recycles the memory of queued payload.
type buffers struct {
	free  [bufferClasses][][]byte
	spare int // bytes in free
	limit int // of spare; what exceeds it is left to the collector
}

// class returns the smallest class that holds n bytes.
func class(n int) int {
	return max(bits.Len(uint(n-1)), minBufferBits) - minBufferBits
}

// copy returns a buffer with the content of b, which is not empty.
func (p *buffers) copy(b []byte) []byte {
	c := class(len(b))
	if c >= bufferClasses {
		return append([]byte(nil), b...)
	}
	var buf []byte
	if n := len(p.free[c]); n > 0 {
		buf = p.free[c][n-1]
		p.free[c] = p.free[c][:n-1]
		p.spare -= cap(buf)
	} else {
		buf = make([]byte, 1<<(c+minBufferBits))
	}
	buf = buf[:len(b)]
	copy(buf, b)
	return buf
}

// release lets go of what is kept for reuse.
func (p *buffers) release() {
	p.free, p.spare = [bufferClasses][][]byte{}, 0
}

// put takes back a buffer that copy returned.
func (p *buffers) put(buf []byte) {
	c := class(cap(buf))
	if c >= bufferClasses || cap(buf) != 1<<(c+minBufferBits) || p.spare+cap(buf) > p.limit {
		return
	}
	p.spare += cap(buf)
	p.free[c] = append(p.free[c], buf[:0])
}
