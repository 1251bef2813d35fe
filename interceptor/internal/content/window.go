package content

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// windowed is what begins with the size of a window, which br and zstd have memory for
// before they need it. It says that no more than most bytes are needed: that makes no
// difference to as many decoded bytes, since no distance in them reaches farther back.
type windowed struct {
	in    io.Reader
	begin []byte // what is left of it
	err   error  // behind it
	buf   [maxZstdHeader + 1]byte
}

// reset begins with another body, of which the first n bytes are the header.
func (w *windowed) reset(in io.Reader, n int) {
	w.in = in
	n, w.err = io.ReadFull(in, w.buf[:n])
	if errors.Is(w.err, io.ErrUnexpectedEOF) {
		w.err = io.EOF
	}
	w.begin = w.buf[:n]
}

// Read implements io.Reader.
func (w *windowed) Read(b []byte) (int, error) {
	switch {
	case len(w.begin) > 0:
		n := copy(b, w.begin)
		w.begin = w.begin[n:]
		return n, nil
	case w.err != nil:
		return 0, w.err
	}
	return w.in.Read(b)
}

// Headers that tell of windows: the first byte of br (RFC 7932 §9.1), and the longest header
// of a frame of zstd, magic number included (RFC 8878 §3.1.1).
const (
	brotliHeader  = 1
	maxZstdHeader = 18
)

// narrowBrotli lessens the window of br to 1<<log at most, or 256 KiB. It reports whether
// it did.
func (w *windowed) narrowBrotli(log int) bool {
	const long, base = 1, 17 // a bit, and what three more are added to
	if len(w.begin) == 0 || w.begin[0]&long == 0 {
		return false
	}
	least := byte(max(log-base, 1))
	if w.begin[0]>>1&7 <= least {
		return false
	}
	w.begin[0] = w.begin[0]&^(7<<1) | least<<1
	return true
}

// narrowZstd lessens the window of the first frame of zstd to 1<<log at most, unless it is
// more than may be asked for. It reports whether it did.
func (w *windowed) narrowZstd(log int) bool {
	const magic, descriptor, window, single = 0xFD2FB528, 4, 5, 1 << 5
	const base, mantissa = 10, 3 // 1<<base<<exponent, and eighths of that
	b := w.begin
	if len(b) <= window || binary.LittleEndian.Uint32(b) != magic {
		return false
	}
	least := byte(log-base) << mantissa
	if b[descriptor]&single == 0 {
		if b[window] <= least || b[window] > byte(maxWindowLog-base)<<mantissa {
			return false
		}
		b[window] = least
		return true
	}
	// The window is the content, of which the size is told.
	if size := zstdContent(b); size <= 1<<log || size > maxWindow {
		return false
	}
	w.begin = w.buf[:len(b)+1]
	copy(w.begin[window+1:], w.buf[window:len(b)])
	w.begin[descriptor] &^= single
	w.begin[window] = least
	return true
}

// zstdContent returns the size of the content of a single segment, 0 if it is told in less
// than four bytes: then it is little.
func zstdContent(header []byte) uint64 {
	dictionary := [4]int{0, 1, 2, 4}[header[4]&3]
	size := header[min(5+dictionary, len(header)):]
	switch header[4] >> 6 {
	case 2:
		if len(size) >= 4 {
			return uint64(binary.LittleEndian.Uint32(size))
		}
	case 3:
		if len(size) >= 8 {
			return binary.LittleEndian.Uint64(size)
		}
	}
	return 0
}

// logOf returns the logarithm to the base 2 of n, rounded up.
func logOf(n int64) int { return bits.Len64(uint64(n - 1)) }
