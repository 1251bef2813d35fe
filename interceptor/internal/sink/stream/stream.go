// Package stream writes records to a stream, such as standard output.
package stream

import (
	"context"
	"fmt"

	"capstan/interceptor/internal/delivery"
)

// Sink writes to a stream. It implements delivery.Sink.
type Sink struct {
	w    *Writer
	form *delivery.Form
	buf  []byte
}

// New returns a sink that writes to w, which stays the caller's.
func New(w *Writer, form *delivery.Form) *Sink { return &Sink{w: w, form: form} }

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
		return fmt.Errorf("write records: %w", err)
	}
	if reject != nil {
		return reject
	}
	return nil
}

// Close implements delivery.Sink.
func (*Sink) Close() error { return nil }
