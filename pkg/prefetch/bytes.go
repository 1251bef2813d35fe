package prefetch

import "unsafe"

// Sizes, in bytes.
const (
	line = 64
	// group is asked for at once.
	group = 4 * line
	// most is about what is read while the memory answers, and a full frame at least.
	most = 10 * group
)

// Bytes asks for b; if it is longer than what a reader reads while the memory
// answers, for the beginning.
func Bytes(b []byte) { from(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b))) }

// Value asks for what p points to.
func Value[T any](p *T) { from(unsafe.Pointer(p), unsafe.Sizeof(*p)) }

func from(p unsafe.Pointer, n uintptr) {
	// It may begin at the end of a line.
	if n = min(n, most); n > 0 {
		groups(uintptr(p), (n+line+group-2)/group)
	}
}
