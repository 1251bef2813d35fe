package content

import (
	"bufio"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// stage undoes one coding. Reset begins another body.
type stage struct {
	resetter
	coding coding
	left   int64 // what may still be read
	window int   // logarithm of the largest that it may have had; 0: it has one of its coding
	header windowed
}

type resetter interface {
	io.Reader
	Reset(io.Reader) error
}

func newStage(c coding, windowLog int) (*stage, error) {
	s := &stage{coding: c}
	switch c {
	case gzipCoding:
		s.resetter = new(gzip.Reader)
	case deflateCoding:
		s.resetter = new(deflate)
	case brotliCoding:
		s.resetter = brotli.NewReader(nil)
	case zstdCoding:
		// Without concurrency it starts no goroutine.
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(1<<windowLog))
		if err != nil {
			return nil, err
		}
		s.resetter = z
	}
	return s, nil
}

// flateLen is about what a decoder of DEFLATE takes, its window included.
const flateLen = 50 << 10

// len returns about how many bytes of memory s takes, at the most.
func (s *stage) len() int {
	if s.window == 0 {
		return flateLen
	}
	return 1 << s.window
}

// begin begins with another body, which may decode to allowed bytes and need a window of
// 1<<windowLog. What asks for more is decoded as far as that makes no difference: br
// has words of its own farther back than a window but for 16 bytes (RFC 7932 §9.1).
func (s *stage) begin(in io.Reader, allowed int64, windowLog int) error {
	const behind = 16
	narrowed := false
	switch s.coding {
	case brotliCoding:
		s.header.reset(in, brotliHeader)
		narrowed, in = s.header.narrowBrotli(windowLog), &s.header
	case zstdCoding:
		s.header.reset(in, maxZstdHeader)
		narrowed, in = s.header.narrowZstd(windowLog), &s.header
	}
	if s.coding == brotliCoding || s.coding == zstdCoding {
		s.window = max(s.window, windowLog)
	}
	s.left = allowed
	if narrowed {
		s.left = min(allowed, 1<<windowLog-behind)
	}
	return s.Reset(in)
}

// Read reads what is decoded, and fails with errLimit where there is more of it
// than may be.
func (s *stage) Read(b []byte) (int, error) {
	n, err := s.resetter.Read(b)
	if int64(n) > s.left {
		n, err = int(s.left), errLimit
	}
	s.left -= int64(n)
	return n, err
}

// deflate undoes the coding of that name, which is zlib's format (RFC 1950) by
// the standard, and DEFLATE without it (RFC 1951) by many.
type deflate struct {
	io.Reader
	in   bufio.Reader
	zlib io.ReadCloser
	raw  io.ReadCloser
}

// Reset implements resetter.
func (d *deflate) Reset(in io.Reader) error {
	d.in.Reset(in)
	h, err := d.in.Peek(2)
	if err != nil {
		return err
	}
	const method, check = 8, 31 // RFC 1950 §2.2
	if h[0]&0x0f == method && (int(h[0])<<8|int(h[1]))%check == 0 {
		return d.resetZlib()
	}
	if d.raw == nil {
		d.raw = flate.NewReader(&d.in)
	} else if err = d.raw.(flate.Resetter).Reset(&d.in, nil); err != nil {
		return err
	}
	d.Reader = d.raw
	return nil
}

func (d *deflate) resetZlib() (err error) {
	if d.zlib == nil {
		d.zlib, err = zlib.NewReader(&d.in)
	} else {
		err = d.zlib.(zlib.Resetter).Reset(&d.in, nil)
	}
	d.Reader = d.zlib
	return err
}
