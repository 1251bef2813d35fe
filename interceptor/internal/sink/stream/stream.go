// Package stream writes records to a stream, such as standard output.
package stream

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"capstan/interceptor/internal/delivery"
)

// Sink writes to a stream. It implements delivery.Sink.
type Sink struct {
	w    *Writer
	form *delivery.Form
	left func(error) // called when a write finds that the reader has left
	buf  []byte
}

// New returns a sink that writes to w, which stays the caller's. It calls left, with
// the error, whenever a write finds that the reader has left: none will come again.
func New(w *Writer, form *delivery.Form, left func(error)) *Sink {
	return &Sink{w: w, form: form, left: left}
}

// Deliver implements delivery.Sink. What can't be decoded is rejected. Of a batch
// that could not be written some records may be in the stream; they come again.
func (s *Sink) Deliver(ctx context.Context, batch []*delivery.Record) error {
	var reject *delivery.RejectError
	s.buf = s.buf[:0]
	for _, r := range batch {
		var err error
		if s.buf, err = r.Append(s.buf, s.form); err != nil {
			if reject == nil {
				reject = &delivery.RejectError{Err: err}
			}
			reject.Rejected++
		}
	}
	if err := s.w.Write(ctx, s.buf); err != nil {
		err = fmt.Errorf("write records: %w", err)
		if errors.Is(err, syscall.EPIPE) {
			s.left(err)
		}
		return err
	}
	if reject != nil {
		return reject
	}
	return nil
}

// Close implements delivery.Sink.
func (*Sink) Close() error { return nil }
