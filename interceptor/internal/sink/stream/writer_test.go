package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns the ends of a stream that blocks like a standard stream does.
func pair(t *testing.T, open func(ends *[2]int) error) (r, w *os.File) {
	t.Helper()
	var ends [2]int
	if err := open(&ends); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(ends[0]), "r"), os.NewFile(uintptr(ends[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func pipe(ends *[2]int) error { return unix.Pipe2(ends[:], unix.O_CLOEXEC) }

func sockets(ends *[2]int) (err error) {
	*ends, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return err
}

func over(after time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), after)
}

// TestUnreadPipe: what a pipe holds at the end is whole, however little of it was
// read, and there is room for a few words besides.
func TestUnreadPipe(t *testing.T) {
	r, w := pair(t, pipe)
	s := NewWriter(w)
	ctx, cancel := over(50 * time.Millisecond)
	defer cancel()
	line := append(bytes.Repeat([]byte("x"), 99_999), '\n')
	if err := s.Write(ctx, line); err != nil {
		t.Errorf("a write that had begun: %v", err)
	}
	for range 3 {
		if err := s.Write(ctx, line); !errors.Is(err, ErrNotRead) {
			t.Errorf("one after it: %v", err)
		}
	}
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	w.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) != len(line)+1000 || !bytes.HasPrefix(got, line) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestReaderReturns: a reader who reads after all gets what is written then.
func TestReaderReturns(t *testing.T) {
	r, w := pair(t, pipe)
	s := NewWriter(w)
	ctx, cancel := over(0)
	defer cancel()
	for _, n := range []int{10, 100_000} {
		if err := s.Write(ctx, make([]byte, n)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := s.Write(ctx, []byte("lost")); !errors.Is(err, ErrNotRead) {
		t.Errorf("nobody reads: %v", err)
	}
	read := make(chan int64)
	go func() { // ended by Close
		n, _ := io.Copy(io.Discard, r)
		read <- n
	}()
	for _, ctx := range []context.Context{t.Context(), ctx} {
		if err := s.Write(ctx, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	}
	w.Close()
	if n := <-read; n != 100_020 {
		t.Errorf("%d bytes were read", n)
	}
}

// TestUnreadSocket: a stream that has no room for the rest is told to break off.
func TestUnreadSocket(t *testing.T) {
	r, w := pair(t, sockets)
	s := NewWriter(w)
	ctx, cancel := over(10 * time.Millisecond)
	defer cancel()
	if err := s.Write(ctx, make([]byte, 8<<20)); !errors.Is(err, ErrBrokenOff) {
		t.Errorf("got %v", err)
	}
	if err := s.Write(ctx, []byte("x")); !errors.Is(err, ErrNotRead) {
		t.Errorf("after it: %v", err)
	}
	r.Close() // ends the write
}
