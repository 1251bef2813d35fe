package rpcapclient

import (
	"errors"
	"os"
	"time"
)

// SetReadDeadline sets when Next gives up with os.ErrDeadlineExceeded; the zero
// time means never. It holds for a Next under way, too.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return s.applyDeadline()
}

// Close ends the data connection without a word to the server, which stops
// sending then; it doesn't end the session. A Next under way, and every later
// one, returns an error that is os.ErrClosed.
func (s *Stream) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		s.conn.Close() // its error says nothing that the stream's end doesn't
		if s.client != nil {
			s.client.forget(s)
		}
	})
	return nil
}

func (c *Client) forget(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s)
}

func (s *Stream) isClosed() bool { return isDone(s.closed) }

func (s *Stream) isLost() bool { return isDone(s.lostChan) }

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// controlEnded tells the stream that the server has reported an error about the
// capture, or that the control connection is over. Nobody can rely on the server
// to end the data connection then: the reference leaves it open when a device
// fails. So what is under way is still read, and when no more has come for
// controlGrace, the stream ends with err.
func (s *Stream) controlEnded(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return
	}
	s.lost = err
	s.lostEnd = time.Now().Add(s.grace)
	close(s.lostChan)
	_ = s.applyDeadline() // fails if the connection is closed, and then Next ends anyway
}

// postpone gives a lost stream from which data still comes more time.
func (s *Stream) postpone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lostEnd, s.lastTry = time.Now().Add(s.grace), false
	_ = s.applyDeadline() // as above
}

// applyDeadline sets the connection's deadline. mu is held.
func (s *Stream) applyDeadline() error {
	t := s.deadline
	if s.lost != nil && (t.IsZero() || s.lostEnd.Before(t)) {
		t = s.lostEnd
	}
	return s.conn.SetReadDeadline(t)
}

// timeout tells whose deadline a read has missed: the caller's, which gets err,
// or that of a lost stream. A lost stream is tried once more before it is given
// up: when nobody called Next for long, its deadline passes with data waiting.
// Nil means to go on: the deadline has been moved.
func (s *Stream) timeout(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.lost == nil:
		return err
	case now.Before(s.lostEnd) && !s.deadline.IsZero() && !now.Before(s.deadline):
		s.lastTry = false
		return err
	case now.Before(s.lostEnd):
		return nil // the caller's deadline has been moved meanwhile
	case !s.lastTry:
		s.lastTry, s.lostEnd = true, now.Add(s.grace)
		return s.conn.SetReadDeadline(s.lostEnd)
	}
	s.err = s.lossError(s.lost)
	return s.err
}

// awaitLost waits for the reason of the data's end on the control connection, at
// most controlGrace and not beyond Close. It returns nil if there was none.
func (s *Stream) awaitLost() error {
	if s.client == nil {
		return nil
	}
	t := time.NewTimer(s.grace)
	defer t.Stop()
	select {
	case <-s.lostChan:
	case <-s.closed:
	case <-t.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
