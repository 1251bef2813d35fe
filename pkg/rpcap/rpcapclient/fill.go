package rpcapclient

import (
	"errors"
	"fmt"
	"io"

	"capstan/pkg/rpcap"
)

// drop discards what is buffered of a message to skip, or reads more.
func (s *Stream) drop() error {
	n := min(int64(s.skip), int64(s.end-s.start))
	s.start += int(n)
	s.skip -= uint32(n)
	if s.skip == 0 {
		return nil
	}
	return s.fill(1)
}

// fill reads until n bytes are unread. They fit: n is bounded by the framer.
func (s *Stream) fill(n int) error {
	s.publish()
	s.makeRoom(n)
	for empty := 0; s.end-s.start < n; empty++ {
		m, err := s.conn.Read(s.buf[s.end:])
		s.end += m
		if m > 0 {
			empty = 0
			if s.isLost() {
				s.postpone()
			}
		}
		if s.end-s.start >= n {
			return nil // an error comes again
		}
		if err == nil && empty < maxEmptyReads {
			continue
		}
		if err = s.readError(err); err != nil {
			return err
		}
	}
	return nil
}

// maxEmptyReads is how many reads of nothing, without an error, are taken.
const maxEmptyReads = 100

// makeRoom moves what is unread, less than a message, to the buffer's start
// when the rest gets short. Frames that were handed out are invalid by now.
func (s *Stream) makeRoom(n int) {
	if s.start == s.end {
		s.start, s.end = 0, 0
	}
	if n > len(s.buf) {
		grown := make([]byte, n)
		s.end = copy(grown, s.buf[s.start:s.end])
		s.start, s.buf = 0, grown
	}
	if len(s.buf)-s.start < n || len(s.buf)-s.end < len(s.buf)/8 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
}

// readError judges an error of the data connection. Nil means to go on.
func (s *Stream) readError(err error) error {
	switch {
	case err == nil:
		s.err = fmt.Errorf("data connection: %w", io.ErrNoProgress)
	case isTimeout(err):
		return s.timeout(err)
	case s.isClosed():
		s.err = errStreamClosed
	case err == io.EOF:
		s.err = s.ending()
	default:
		s.err = fmt.Errorf("data connection: %w", terminated(err))
	}
	return s.err
}

// ending is the error for the end of the data.
func (s *Stream) ending() error {
	if s.expectEnd.Load() && !s.inside() {
		return io.EOF
	}
	lost := s.awaitLost()
	switch {
	case s.isClosed():
		return errStreamClosed
	case s.expectEnd.Load() && !s.inside():
		return io.EOF // EndCapture was called while we waited
	}
	return s.lossError(lost)
}

// inside reports whether a message has begun and not ended.
func (s *Stream) inside() bool { return s.end > s.start || s.skip > 0 }

// lossError is the error of a stream that the server didn't end properly. lost
// is what the control connection told, nil if nothing.
func (s *Stream) lossError(lost error) error {
	var remote *rpcap.RemoteError
	var terminated *TerminatedError
	switch {
	case errors.As(lost, &remote):
		return fmt.Errorf("capture: %w", lost)
	case lost != nil && !errors.As(lost, &terminated):
		return fmt.Errorf("control connection: %w", lost)
	case s.inside():
		return &TerminatedError{Err: io.ErrUnexpectedEOF}
	}
	return &TerminatedError{Err: io.EOF}
}
