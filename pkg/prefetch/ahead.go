package prefetch

import "unsafe"

// Sizes, in bytes.
const (
	line = 64
	// group is asked for at once: to call costs more than to ask.
	group = 4 * line
	// near is how far ahead is asked for where frames are short: about what is read
	// while the memory answers, and a full frame at least.
	near = 10 * group
	// far is that where they are long: three full ones, since what is read of each is
	// little.
	far = 18 * group
	// long is from what length on, on the average, frames are.
	long = 900
	// weight is how many frames that average is mostly of.
	weight = 64
)

// Ahead asks for what lies ahead of a reader that goes through buffers front to back.
// Short frames are read from end to end, and asked for as far as the first-level cache.
// Long ones only as far as the second: the first has room neither for so much nor, while
// it is under way, for what else the reader waits for, and much of it is never read.
// The zero value is ready.
type Ahead struct {
	asked    uintptr // for all before it; not a pointer, which would keep the buffer alive
	distance uintptr // near or far
	length   uintptr // of frames, on the average, times weight
}

// Behind asks for what lies behind b, as far as it hasn't been asked for. It may be
// called whatever lies there.
func (a *Ahead) Behind(b []byte) {
	reader := uintptr(unsafe.Pointer(unsafe.SliceData(b))) + uintptr(len(b))
	a.length += uintptr(len(b)) - a.length/weight
	if reader+a.distance-a.asked >= group { // seldom where frames are short
		a.ask(reader)
	}
}

func (a *Ahead) ask(reader uintptr) {
	distant := a.length > long*weight
	a.distance = near
	if distant {
		a.distance = far
	}
	p, groups := a.next(reader)
	switch {
	case groups == 0: // it was more before, and so much was asked for already
	case distant:
		distantLines(p, groups)
	default:
		lines(p, groups)
	}
}

// next returns what is to be asked for when the reader has come to that address.
func (a *Ahead) next(reader uintptr) (p, groups uintptr) {
	if reader+a.distance-a.asked > a.distance { // it never was there, has passed what was asked for, or has gone back
		a.asked = reader
	}
	p, groups = a.asked, (reader+a.distance-a.asked)/group
	a.asked += groups * group
	return p, groups
}
