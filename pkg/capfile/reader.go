package capfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"capstan/pkg/capture"
)

// Limits on what a file may announce; beyond them it is taken for corrupt.
const (
	// MaxFrameLen bounds a captured frame. Linux hands out frames of up to
	// 512 KiB (BIG TCP), libpcap's own limit for most link types is 256 KiB.
	MaxFrameLen = 16 << 20
	// maxBlockLen bounds a pcapng block that holds no frame.
	maxBlockLen = 16 << 20
	// maxInterfaces bounds the interfaces of one pcapng section.
	maxInterfaces = 1 << 16
)

const readBufferLen = 256 << 10

// CorruptError tells where a file stops making sense. What was read before it
// is good; nothing after it can be found again.
type CorruptError struct {
	Offset int64 // in bytes from the start of the file
	Reason string
}

// Error names the offset and the reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt at byte %d: %s", e.Offset, e.Reason)
}

// ErrNotCapture is a file whose first bytes are those of no capture format.
var ErrNotCapture = errors.New("neither a pcap nor a pcapng file")

// Reader reads the frames of one capture file in order.
type Reader struct {
	in     input
	format interface {
		next(*capture.Frame) error
	}
}

// NewReader reads the start of a file and returns a Reader of its frames. An
// empty file gives io.EOF, one that is cut inside its first header
// io.ErrUnexpectedEOF, anything else that isn't a capture [ErrNotCapture].
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{in: input{r: r, buffers: new(ownBuffer)}}
	magic, err := rd.in.peek(4)
	if err != nil {
		return nil, err
	}
	switch little, big := binary.LittleEndian.Uint32(magic), binary.BigEndian.Uint32(magic); {
	case little == blockSection: // reads the same either way
		rd.format = &pcapng{in: &rd.in}
		return rd, nil
	case isPcapMagic(little):
		rd.format, err = newPcap(&rd.in, littleEndian)
	case isPcapMagic(big):
		rd.format, err = newPcap(&rd.in, bigEndian)
	default:
		return nil, ErrNotCapture
	}
	if err != nil {
		return nil, err
	}
	return rd, nil
}

// GuessForm looks for old forms of pcap that no magic number tells, whose records have
// a few bytes more. It has to come before the first frame, and is for a file that is
// there: of one that is being written, it would wait for the second frame.
func (r *Reader) GuessForm() {
	if p, ok := r.format.(*pcap); ok {
		p.recordLen += p.ownFields()
	}
}

// Lend makes the reader read into buffers of b from now on. The data of frames
// lie in the buffer that b lent last, and the reader leaves them alone.
func (r *Reader) Lend(b capture.Buffers) { r.in.buffers = b }

// Next reads the next frame. f.Data is valid until the next call, unless buffers
// are lent.
//
// io.EOF means that the file ended where a frame may end; an error that wraps
// io.ErrUnexpectedEOF that it was cut inside one; a [*CorruptError] that the
// rest can't be read. The error is the same on every later call.
func (r *Reader) Next(f *capture.Frame) error {
	if r.in.err != nil {
		return r.in.err
	}
	if err := r.format.next(f); err != nil {
		r.in.err = err
		return err
	}
	return nil
}

// input reads a file in pieces whose length is known, without copying but what
// is at the end of a buffer, and knows its position.
type input struct {
	r          io.Reader
	buffers    capture.Buffers
	buf        []byte // buf[start:end] is unread
	start, end int
	offset     int64 // of the next unread byte
	ended      error // of r
	err        error
}

// ownBuffer lends a reader the same buffer again and again.
type ownBuffer struct{ b []byte }

// Exchange implements capture.Buffers.
func (o *ownBuffer) Exchange(n int) []byte {
	if len(o.b) < n {
		o.b = make([]byte, max(n, readBufferLen))
	}
	return o.b
}

// fill reads until n bytes are there, and returns why there are less.
func (in *input) fill(n int) error {
	if in.end-in.start >= n {
		return nil
	}
	if len(in.buf)-in.start < n {
		next := in.buffers.Exchange(n)
		in.end = copy(next, in.buf[in.start:in.end])
		in.start, in.buf = 0, next
	}
	for empty := 0; in.end-in.start < n && in.ended == nil; empty++ {
		var m int
		m, in.ended = in.r.Read(in.buf[in.end:])
		in.end += m
		switch {
		case m > 0:
			empty = 0
		case empty == maxEmptyReads:
			in.ended = io.ErrNoProgress
		}
	}
	switch {
	case in.end-in.start >= n:
		return nil // what ended is told later
	case in.ended == io.EOF && in.end > in.start:
		return io.ErrUnexpectedEOF
	}
	return in.ended
}

// maxEmptyReads is how many reads of nothing, without an error, are taken.
const maxEmptyReads = 100

// peek returns the next n bytes without taking them.
func (in *input) peek(n int) ([]byte, error) {
	err := in.fill(n)
	return in.buf[in.start:min(in.start+n, in.end)], err
}

// take returns the next n bytes, valid until the next call. io.EOF is returned
// only if there isn't a single one.
func (in *input) take(n int) ([]byte, error) {
	b, err := in.peek(n)
	if err == nil {
		in.start += n
		in.offset += int64(n)
	}
	return b, err
}

// body is take for what must follow something that was there.
func (in *input) body(n int) ([]byte, error) {
	b, err := in.take(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("cut short at byte %d: %w", in.offset, err)
	}
	return b, nil
}

func (in *input) corrupt(format string, args ...any) error {
	return &CorruptError{Offset: in.offset, Reason: fmt.Sprintf(format, args...)}
}
