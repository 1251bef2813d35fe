package prefetch

import "unsafe"

// Sizes, in bytes.
const (
	line = 64
	// group is asked for at once: to call costs more than to ask.
	group = 4 * line
	// distance is how far ahead is asked for: about what is read while the memory
	// answers, and a full frame at least.
	distance = 10 * group
)

// Ahead asks for what lies ahead of a reader that goes through buffers front to back.
// The zero value is ready.
type Ahead struct {
	asked uintptr // for all before it; not a pointer, which would keep the buffer alive
}

// Behind asks for what lies behind b, as far as it hasn't been asked for. It may be
// called whatever lies there.
func (a *Ahead) Behind(b []byte) {
	reader := uintptr(unsafe.Pointer(unsafe.SliceData(b))) + uintptr(len(b))
	if reader+distance-a.asked >= group { // seldom where frames are short
		a.ask(reader)
	}
}

func (a *Ahead) ask(reader uintptr) { lines(a.next(reader)) }

// next returns what is to be asked for when the reader has come to that address and at
// least a group is to be.
func (a *Ahead) next(reader uintptr) (p, groups uintptr) {
	if reader+distance-a.asked > distance { // it never was there, has passed what was asked for, or has gone back
		a.asked = reader
	}
	p, groups = a.asked, (reader+distance-a.asked)/group
	a.asked += groups * group
	return p, groups
}
