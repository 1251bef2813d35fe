package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"capstan/interceptor/internal/sink/stream"
)

// impatient is a standard stream whose reader, who doesn't read, can delay the end of
// a command, but not for long.
type impatient struct {
	name   string
	ending context.Context // after it nobody is waited for
	stop   func()
	w      *stream.Writer
}

// patience is how long after the first signal an impatient stream waits.
const patience = time.Second

// newImpatient returns w, called name, for a command that ends with ctx. Its stop
// has to be called.
func newImpatient(ctx context.Context, name string, w io.Writer) *impatient {
	s := &impatient{name: name, w: stream.NewWriter(w)}
	s.ending, s.stop = after(ctx, patience)
	return s
}

// Write implements io.Writer. Any goroutine may call it.
func (s *impatient) Write(b []byte) (int, error) {
	if err := s.w.Write(s.ending, b); err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	return len(b), nil
}
