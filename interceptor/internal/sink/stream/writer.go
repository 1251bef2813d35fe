package stream

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Writer writes to a stream that may have a reader who doesn't read, such as
// standard output. Any goroutine may call its method.
type Writer struct {
	// Immutable.
	w    io.Writer
	file *os.File        // w, if a write to it may have to wait for a reader; else nil
	raw  syscall.RawConn // of file

	turn  chan struct{} // holds a token while a write is under way
	waits bool          // it can't be told without waiting whether a write has to wait; owned by who has the turn
	rest  []byte        // of a write that waits; likewise
	stuck atomic.Bool   // the last write that was waited for got no reader
}

// NewWriter returns a Writer to w, which stays the caller's.
func NewWriter(w io.Writer) *Writer {
	var err error
	s := &Writer{w: w, turn: make(chan struct{}, 1)}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			s.file = f
		}
	}
	if s.file != nil {
		if s.raw, err = s.file.SyscallConn(); err != nil {
			s.file = nil // it is closed, and a write says so
		}
	}
	return s
}

// Why a Writer gives up.
var (
	ErrNotRead   = errors.New("it is not being read")
	ErrBrokenOff = errors.New("it is not being read, and what it holds may break off in a record")
)

const (
	// moment is how long a write may take that nobody waits for any more.
	moment = 100 * time.Millisecond
	// settling is how long one may take then that there is room for.
	settling = time.Second
	// spare is the room that an enlarged pipe has besides, for standard error may
	// be the same one.
	spare = 64 << 10
	// maxPipe is what Linux lets everybody have (fs.pipe-max-size); root may have more.
	maxPipe = 1 << 20
)

// Write writes all of b, and waits for a reader until ctx ends. Then a write that
// has begun is brought to its end, so that the stream doesn't end in the middle of
// b: a pipe is enlarged for it. Where that can't be, the error is [ErrBrokenOff];
// it is [ErrNotRead] if nothing of b was written. b is the caller's again.
func (s *Writer) Write(ctx context.Context, b []byte) error {
	if s.file == nil {
		_, err := s.w.Write(b)
		return err
	}
	if ctx.Err() != nil && s.stuck.Load() || !s.begin(ctx) {
		return ErrNotRead
	}
	if b = s.atOnce(b); len(b) == 0 {
		s.stuck.Store(false)
		<-s.turn
		return nil
	}
	s.rest = append(s.rest[:0], b...)
	done := make(chan error, 1)
	go func() { // ends with the write, at the latest with the process
		_, err := s.file.Write(s.rest)
		<-s.turn
		done <- err
	}()
	select {
	case err := <-done:
		s.stuck.Store(false)
		return err
	case <-ctx.Done():
	}
	if err, ok := within(moment, done); ok {
		return err
	}
	s.stuck.Store(true)
	if s.enlarge(len(b) + spare) {
		if err, ok := within(settling, done); ok {
			return err
		}
	}
	return ErrBrokenOff
}

// atOnce writes of b what there is room for, and returns the rest. The usual write needs
// no goroutine so.
func (s *Writer) atOnce(b []byte) (rest []byte) {
	if s.waits {
		return b
	}
	_ = s.raw.Write(func(fd uintptr) bool { // what is wrong with the file shows in the next write
		n, err := unix.Pwritev2(int(fd), [][]byte{b}, -1, unix.RWF_NOWAIT)
		if n > 0 {
			b = b[n:]
		}
		s.waits = err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EINVAL
		return true
	})
	return b
}

// begin waits for the write before, and reports whether another one may begin.
func (s *Writer) begin(ctx context.Context) bool {
	select {
	case s.turn <- struct{}{}:
		return true
	default:
	}
	select {
	case s.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func within(d time.Duration, done <-chan error) (err error, ok bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case err := <-done:
		return err, true
	case <-t.C:
		return nil, false
	}
}

// enlarge makes room for n bytes more if the stream is a pipe, and reports whether it
// could. Its writers go on then.
func (s *Writer) enlarge(n int) (done bool) {
	_ = s.raw.Control(func(fd uintptr) { // what is wrong with the file shows in the write
		size, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0)
		if err != nil {
			return
		}
		if _, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size+n); err != nil && size < maxPipe {
			_, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, maxPipe)
		}
		done = err == nil
	})
	return done
}
