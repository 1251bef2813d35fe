package prefetch

import "unsafe"

// Bytes asks for b; if it is longer than what a reader reads while the memory
// answers, for the beginning.
func Bytes(b []byte) { from(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b))) }

// Value asks for what p points to.
func Value[T any](p *T) { from(unsafe.Pointer(p), unsafe.Sizeof(*p)) }

func from(p unsafe.Pointer, n uintptr) {
	// It may begin at the end of a line.
	if n = min(n, near); n > 0 {
		lines(uintptr(p), (n+line+group-2)/group)
	}
}
