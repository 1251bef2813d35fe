package command

import (
	"bytes"
	"context"
	"io"
	"time"

	"capstan/interceptor/internal/sink/stream"
)

// told is standard error. Somebody who doesn't read it can delay the end, but not
// for long.
type told struct {
	ending context.Context // after it nobody is waited for
	stop   func()
	w      *stream.Writer
}

// toldLimit is how long after the first signal standard error is waited for.
const toldLimit = time.Second

// newTold returns standard error of a command that ends with ctx. Its stop has to
// be called.
func newTold(ctx context.Context, w io.Writer) *told {
	t := &told{w: stream.NewWriter(w)}
	t.ending, t.stop = after(ctx, toldLimit)
	return t
}

// Write implements io.Writer. Any goroutine may call it.
func (t *told) Write(b []byte) (int, error) {
	if err := t.w.Write(t.ending, bytes.Clone(b)); err != nil { // b is the caller's again, whatever becomes of the write
		return 0, err
	}
	return len(b), nil
}
