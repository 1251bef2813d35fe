package rpcap

import (
	"fmt"
	"io"
)

// Reader takes whole messages off a control channel, so that whoever handles
// them can never lose the framing. It is for one goroutine.
type Reader struct {
	r     io.Reader
	limit func(Type) int
	buf   []byte // buf[start:end] is unread
	start int
	end   int
	used  int // bytes of the message returned last, dropped by the next call
}

const (
	readerInitialLen = 4 << 10
	readerKeepLen    = 256 << 10 // a larger buffer is given back after its message
	maxEmptyReads    = 100       // reads of nothing, without an error, until the reader behind is called broken
)

// NewReader returns a Reader on r. limit returns the largest body it takes for
// a type; nil means [BodyLimit].
func NewReader(r io.Reader, limit func(Type) int) *Reader {
	if limit == nil {
		limit = BodyLimit
	}
	return &Reader{r: r, limit: limit, buf: make([]byte, readerInitialLen)}
}

// BodyTooLongError is a message whose announced body exceeds the limit of its
// type. Nothing of the body was read; the stream can't be used any more.
type BodyTooLongError struct {
	Header Header
	Limit  int
}

// Error names type, length and limit.
func (e *BodyTooLongError) Error() string {
	return fmt.Sprintf("%v announces a body of %d bytes, more than the %d allowed", e.Header.Type, e.Header.Len, e.Limit)
}

// Next returns the next message's header and body. The body is valid until the
// next call of any method.
//
// io.EOF means that the stream ended between two messages, io.ErrUnexpectedEOF
// that it ended inside one. After a timeout of r the call may be repeated and
// goes on where it stopped.
func (r *Reader) Next() (Header, []byte, error) {
	r.drop()
	if err := r.fill(HeaderLen); err != nil {
		if err == io.EOF && r.end > r.start {
			err = io.ErrUnexpectedEOF
		}
		return Header{}, nil, err
	}
	h := ParseHeader(r.buf[r.start:])
	if limit := r.limit(h.Type); int64(h.Len) > int64(limit) {
		return h, nil, &BodyTooLongError{Header: h, Limit: limit}
	}
	if err := r.fill(HeaderLen + int(h.Len)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return h, nil, err
	}
	r.used = HeaderLen + int(h.Len)
	from := r.start + HeaderLen
	return h, r.buf[from : from+int(h.Len) : from+int(h.Len)], nil
}

// Peek waits for n bytes beyond the message returned last and returns them
// without taking them. They are valid until the next call. The message returned
// last is not.
func (r *Reader) Peek(n int) ([]byte, error) {
	r.drop()
	err := r.fill(n)
	return r.buf[r.start : r.start+min(n, r.end-r.start)], err
}

// Discard drops n bytes that Peek has shown.
func (r *Reader) Discard(n int) { r.start += min(n, r.end-r.start) }

// Buffered returns how many bytes beyond the message returned last are there
// already.
func (r *Reader) Buffered() int { return r.end - r.start - r.used }

func (r *Reader) drop() {
	r.start += r.used
	r.used = 0
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buf) > readerKeepLen {
			r.buf = make([]byte, readerInitialLen)
		}
	}
}

// fill reads until n bytes are unread. The buffer grows with what arrives, not
// with what a header announces, so that a liar costs no memory.
func (r *Reader) fill(n int) error {
	for empty := 0; r.end-r.start < n; {
		if r.end == len(r.buf) {
			r.makeRoom()
		}
		m, err := r.r.Read(r.buf[r.end:])
		r.end += m
		if err != nil && r.end-r.start < n {
			return err
		}
		if empty++; m > 0 {
			empty = 0
		} else if empty == maxEmptyReads {
			return io.ErrNoProgress
		}
	}
	return nil
}

func (r *Reader) makeRoom() {
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
		return
	}
	grown := make([]byte, 2*len(r.buf))
	copy(grown, r.buf[:r.end])
	r.buf = grown
}
