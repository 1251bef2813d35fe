package prefetch

import "unsafe"

// Sizes, in bytes.
const (
	// block is asked for at once: to call costs more than to ask.
	block = 8 * line
	// distance is how far ahead is asked for: three full frames, since what is read of
	// some is little.
	distance = 9 * block
)

// Ahead asks for what lies ahead of a reader that goes through buffers front to back.
// It is asked for as far as the second-level cache: the first has room neither for so much
// nor, while that is under way, for what else the reader waits for, and much of it is
// never read. The zero value is ready.
type Ahead struct {
	asked uintptr // for all before it; not a pointer, which would keep the buffer alive
}

// Behind asks for what lies behind b, as far as it hasn't been asked for. It may be
// called whatever lies there.
func (a *Ahead) Behind(b []byte) {
	reader := uintptr(unsafe.Pointer(unsafe.SliceData(b))) + uintptr(len(b))
	if reader+distance-a.asked >= block { // seldom where frames are short
		a.ask(reader)
	}
}

func (a *Ahead) ask(reader uintptr) { blocks(a.next(reader)) }

// next returns what is to be asked for when the reader has come to that address and at
// least a block is to be.
func (a *Ahead) next(reader uintptr) (p, n uintptr) {
	if reader+distance-a.asked > distance { // it never was there, has passed what was asked for, or has gone back
		a.asked = reader
	}
	p, n = a.asked, (reader+distance-a.asked)/block
	a.asked += n * block
	return p, n
}
