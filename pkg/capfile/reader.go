package capfile

import (
	"bufio"
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
	rd := &Reader{in: input{r: bufio.NewReaderSize(r, readBufferLen)}}
	magic, err := rd.in.peek(4)
	if err != nil {
		return nil, err
	}
	switch little, big := binary.LittleEndian.Uint32(magic), binary.BigEndian.Uint32(magic); {
	case little == blockSection: // reads the same either way
		rd.format = &pcapng{in: &rd.in}
		return rd, nil
	case isPcapMagic(little):
		rd.format, err = newPcap(&rd.in, binary.LittleEndian)
	case isPcapMagic(big):
		rd.format, err = newPcap(&rd.in, binary.BigEndian)
	default:
		return nil, ErrNotCapture
	}
	if err != nil {
		return nil, err
	}
	return rd, nil
}

// Next reads the next frame. f.Data is valid until the next call.
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

// Buffered returns how many bytes of the file are read and not yet handed out:
// with none, Next may have to wait for a pipe.
func (r *Reader) Buffered() int { return r.in.r.Buffered() - r.in.used }

// input reads a file in pieces whose length is known, without copying those
// that fit its buffer, and knows its position.
type input struct {
	r      *bufio.Reader
	offset int64  // of the next unread byte
	used   int    // bytes handed out last, discarded by the next call
	big    []byte // for a piece longer than the buffer
	err    error
}

// peek returns the next n bytes (n at most readBufferLen) without taking them.
func (in *input) peek(n int) ([]byte, error) {
	in.skipUsed()
	b, err := in.r.Peek(n)
	if err == io.EOF && len(b) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// take returns the next n bytes, valid until the next call. io.EOF is returned
// only if there isn't a single one.
func (in *input) take(n int) ([]byte, error) {
	in.skipUsed()
	if n <= readBufferLen {
		b, err := in.peek(n)
		if err != nil {
			return nil, err
		}
		in.used = n
		in.offset += int64(n)
		return b, nil
	}
	if cap(in.big) < n {
		in.big = make([]byte, n)
	}
	m, err := io.ReadFull(in.r, in.big[:n])
	in.offset += int64(m)
	return in.big[:m], err
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

func (in *input) skipUsed() {
	_, _ = in.r.Discard(in.used) // cannot fail: the bytes were peeked
	in.used = 0
}

func (in *input) corrupt(format string, args ...any) error {
	return &CorruptError{Offset: in.offset, Reason: fmt.Sprintf(format, args...)}
}
