package content

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	capstanv1 "capstan/proto/capstan/v1"
)

// Config bounds a Decoder. The zero value of a field stands for its default.
type Config struct {
	// MaxDecoded is how many bytes one body may decode to. Default 4 MiB.
	MaxDecoded int64
	// MaxRatio is how many bytes may come of one, once there are more than 64 KiB.
	// Text rarely exceeds 20, and gzip can't exceed 1,032. Default 200.
	MaxRatio int64
	// MaxWindow is how many bytes the windows of br and zstd may take together, 128 KiB at
	// least for each coding; what decodes to more is decoded only so far if it asks for a
	// larger one. Default 8 MiB.
	MaxWindow int64
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{MaxDecoded: defaultMaxDecoded, MaxRatio: defaultMaxRatio, MaxWindow: maxWindow}
}

const (
	defaultMaxDecoded = 4 << 20
	defaultMaxRatio   = 200
	// freeRatio is how many bytes may come of any body, however short.
	freeRatio = 64 << 10
	// maxCodings is how many codings one after the other are undone.
	maxCodings = 4
	// maxWindow is the largest window that zstd may ask for (RFC 9659 §3).
	maxWindow    = 1 << maxWindowLog
	maxWindowLog = 23
	// minWindowLog is that of the smallest that a body is narrowed to: zstd's longest block.
	minWindowLog = 17
	// stepLen is how much is decoded at a time.
	stepLen = 8 << 10
)

// Decoder decodes bodies, one at a time. It keeps the decoders that it has had in use at
// a time, for reuse, nearly all of it for the windows of br and zstd, which grow to what
// Config.MaxWindow says, and gzip's, of 50 KiB. It belongs to one goroutine. The zero value decodes with the defaults.
type Decoder struct {
	Config

	source bytes.Reader
	step   [stepLen]byte
	free   [numCodings][]*stage // the latest last
	chain  []*stage             // in use
}

// Result is what became of a body.
type Result struct {
	Size     uint64 // of what it decodes to, as far as that is known
	Decoding capstanv1.Decoding
}

// errLimit ends the decoding of what decodes to too much.
var errLimit = errors.New("decodes to too much")

// Decode undoes codings, which are the values of Content-Encoding in the order
// of the fields, and appends at most room bytes of what encoded decodes to to
// dst. whole tells whether encoded is all of the body. Without a coding, or with
// identity alone, it appends nothing and Decoding is UNSPECIFIED.
func (d *Decoder) Decode(dst, encoded []byte, whole bool, codings []string, room int) ([]byte, Result) {
	var applied [maxCodings]coding
	list, ok := parse(applied[:0], codings)
	if !ok {
		return dst, Result{Decoding: capstanv1.Decoding_DECODING_UNSUPPORTED}
	}
	if len(list) == 0 {
		return dst, Result{}
	}
	allowed := d.allowed(len(encoded))
	d.source.Reset(encoded)
	defer d.release()
	var in io.Reader = &d.source
	for i := len(list) - 1; i >= 0; i-- { // the last one applied is undone first
		s, err := d.stage(list[i])
		if err == nil {
			err = s.begin(in, allowed, d.windowLog(allowed, len(list)))
		}
		if err != nil {
			return dst, Result{Decoding: outcome(err, whole)}
		}
		in = s
	}
	dst, size, err := d.read(dst, in, room)
	return dst, Result{Size: size, Decoding: outcome(err, whole)}
}

// allowed returns how much may come of n bytes.
func (d *Decoder) allowed(n int) int64 {
	most, ratio := d.MaxDecoded, d.MaxRatio
	if most <= 0 {
		most = defaultMaxDecoded
	}
	if ratio <= 0 {
		ratio = defaultMaxRatio
	}
	return min(most, max(freeRatio, ratio*int64(n)))
}

// windowLog returns the logarithm of the window that one of so many codings may need, where
// all decodes to no more than allowed.
func (d *Decoder) windowLog(allowed int64, codings int) int {
	return max(min(logOf(allowed), d.maxWindowLog())-logOf(int64(codings)), minWindowLog)
}

// maxWindowLog returns the logarithm of the largest window.
func (d *Decoder) maxWindowLog() int {
	if d.MaxWindow <= 0 {
		return maxWindowLog
	}
	return min(max(logOf(d.MaxWindow+1)-1, minWindowLog), maxWindowLog)
}

// read appends what in yields to dst, up to room bytes, and counts all of it.
func (d *Decoder) read(dst []byte, in io.Reader, room int) ([]byte, uint64, error) {
	size := uint64(0)
	for {
		n, err := in.Read(d.step[:])
		size += uint64(n)
		kept := min(n, room)
		dst = append(dst, d.step[:kept]...)
		room -= kept
		if err != nil {
			return dst, size, err
		}
	}
}

// stage returns a decoder of c, to be reset.
func (d *Decoder) stage(c coding) (*stage, error) {
	var s *stage
	if free := d.free[c]; len(free) > 0 {
		s = free[len(free)-1]
		d.free[c] = free[:len(free)-1]
	} else {
		var err error
		if s, err = newStage(c, d.maxWindowLog()); err != nil {
			return nil, err
		}
	}
	d.chain = append(d.chain, s)
	return s, nil
}

// release keeps the decoders in use. The first is the first again: those behind it need
// less, since a body with several codings has smaller windows.
func (d *Decoder) release() {
	for _, s := range slices.Backward(d.chain) {
		d.free[s.coding] = append(d.free[s.coding], s)
	}
	d.source.Reset(nil)
	d.chain = d.chain[:0]
}

// Len returns about how many bytes of memory the decoders take that are kept, at the most.
func (d *Decoder) Len() (n int) {
	for _, free := range d.free {
		for _, s := range free {
			n += s.len()
		}
	}
	return n
}

// Release lets go of the decoders kept for reuse.
func (d *Decoder) Release() { clear(d.free[:]) }

// outcome tells why a body was decoded to err and no further.
func outcome(err error, whole bool) capstanv1.Decoding {
	switch {
	case errors.Is(err, io.EOF) && whole:
		return capstanv1.Decoding_DECODING_COMPLETE
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return capstanv1.Decoding_DECODING_PARTIAL
	case errors.Is(err, errLimit), errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return capstanv1.Decoding_DECODING_LIMIT
	}
	return capstanv1.Decoding_DECODING_INVALID
}
