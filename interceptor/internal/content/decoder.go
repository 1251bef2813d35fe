package content

import (
	"bytes"
	"errors"
	"io"

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
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{MaxDecoded: defaultMaxDecoded, MaxRatio: defaultMaxRatio}
}

const (
	defaultMaxDecoded = 4 << 20
	defaultMaxRatio   = 200
	// freeRatio is how many bytes may come of any body, however short.
	freeRatio = 64 << 10
	// maxCodings is how many codings one after the other are undone.
	maxCodings = 4
	// maxWindow is the largest window that zstd may ask for (RFC 9659 §3).
	maxWindow = 8 << 20
	// stepLen is how much is decoded at a time.
	stepLen = 8 << 10
)

// Decoder decodes bodies, one at a time. It keeps a decoder of each coding that
// it has met, for reuse: at most about 50 MiB, nearly all of it for the windows of
// br and zstd. It belongs to one goroutine. The zero value decodes with the defaults.
type Decoder struct {
	Config

	source bytes.Reader
	step   [stepLen]byte
	free   [numCodings]*stage
	chain  []*stage // in use
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
	d.source.Reset(encoded)
	defer d.release()
	var in io.Reader = &d.source
	for i := len(list) - 1; i >= 0; i-- { // the last one applied is undone first
		s, err := d.stage(list[i])
		if err == nil {
			err = s.Reset(in)
		}
		if err != nil {
			return dst, Result{Decoding: outcome(err, whole)}
		}
		s.left = d.allowed(len(encoded))
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
	s := d.free[c]
	d.free[c] = nil
	if s == nil {
		var err error
		if s, err = newStage(c); err != nil {
			return nil, err
		}
	}
	d.chain = append(d.chain, s)
	return s, nil
}

// release keeps one of each decoder in use.
func (d *Decoder) release() {
	for _, s := range d.chain {
		d.free[s.coding] = s
	}
	d.source.Reset(nil)
	d.chain = d.chain[:0]
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
