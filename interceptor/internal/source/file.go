package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// CutShortError is a capture file that ends inside a frame: all frames before
// it were delivered.
type CutShortError struct {
	Name   string
	Frames uint64
	Err    error
}

// Error names the file and how far it could be read.
func (e *CutShortError) Error() string {
	return fmt.Sprintf("%s: %v (%d whole frames were read)", e.Name, e.Err, e.Frames)
}

// Unwrap returns the cause.
func (e *CutShortError) Unwrap() error { return e.Err }

// shownName returns a file's name for people: quoted where a terminal would not just show
// it.
func shownName(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// isRegular reports whether r is a regular file.
func isRegular(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	is, err := f.Stat()
	return err == nil && is.Mode().IsRegular()
}

// ReadFile yields the frames of a capture file (pcap or pcapng, also compressed with
// gzip or zstd) in order; the name "-" means stdin. It returns nil at the file's end, a [*CutShortError]
// if it ends in the middle of a frame, ctx's error if that is cancelled. A sink that
// implements capture.Buffers lends the memory for the frames.
//
// A file that is a pipe tells when it has nothing more to read, but not for how long
// its source was silent, which the frames' times tell.
func ReadFile(ctx context.Context, name string, stdin io.Reader, sink Sink) error {
	in, shown := stdin, shownName(name)
	if name != "-" {
		f, err := openFile(name, shown)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	frames, err := readFrames(ctx, in, sink)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &CutShortError{Name: shown, Frames: frames, Err: err}
	}
	return fmt.Errorf("%s: %w", shown, err)
}

// openFile opens a file, which errors name as shown. A named pipe is opened at once,
// though nobody writes to it: reading waits.
func openFile(name, shown string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if p := new(os.PathError); errors.As(err, &p) {
		p.Path = shown
	}
	return f, err
}

// readFrames hands the frames of in to sink, and returns how many there were.
func readFrames(ctx context.Context, in io.Reader, sink Sink) (frames uint64, err error) {
	plain, err := uncompressed(withPauses(ctx, in, sink))
	if err != nil {
		return 0, orEmpty(err)
	}
	defer plain.Close()
	r, err := capfile.NewReader(plain)
	if err != nil {
		return 0, orEmpty(err)
	}
	if isRegular(in) {
		r.GuessForm()
	}
	if b, ok := sink.(capture.Buffers); ok {
		r.Lend(b)
	}
	var f capture.Frame
	for ; ; frames++ {
		if frames%1024 == 0 && ctx.Err() != nil {
			return frames, ctx.Err()
		}
		switch err := r.Next(&f); err {
		case nil:
			sink.Frame(&f)
		case io.EOF:
			return frames, nil
		default:
			return frames, err
		}
	}
}

// orEmpty names the end of a file at its start.
func orEmpty(err error) error {
	if err == io.EOF {
		return errors.New("the file is empty")
	}
	return err
}
