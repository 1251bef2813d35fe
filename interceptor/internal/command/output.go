package command

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/interceptor/internal/sink/text"
	capstanv1 "capstan/proto/capstan/v1"
)

// output writes records to standard output. The engines of several sources
// share it. Its policy is to block: a slow reader slows the engines, then the
// servers, whose rings count what they lose.
type output struct {
	failed context.CancelCauseFunc // called at the first write that fails

	mu       sync.Mutex // guards everything below, and serialises records
	w        *bufio.Writer
	encode   func(dst []byte, x *capstanv1.Exchange) []byte
	buf      []byte
	unsaid   uint64 // records in w since the last flush
	counters ledger.Output
	err      error
}

// outputFlags are the flags that tell how records are written.
type outputFlags struct{ format, color string }

func newOutput(w io.Writer, flags outputFlags, failed context.CancelCauseFunc) (*output, error) {
	o := &output{failed: failed, w: bufio.NewWriterSize(w, 64<<10)}
	color := false
	switch flags.color {
	case "always":
		color = true
	case "auto":
		color = isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	case "never":
	default:
		return nil, usageError{fmt.Errorf("--color %q is none of auto, always, never", flags.color)}
	}
	switch flags.format {
	case "text":
		o.encode = text.Encoder{Color: color}.Append
	case "json":
		o.encode = ndjson.Append
	default:
		return nil, usageError{fmt.Errorf("--output %q is neither text nor json", flags.format)}
	}
	return o, nil
}

// Emit writes one record. Any goroutine may call it.
func (o *output) Emit(x *capstanv1.Exchange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = o.encode(o.buf[:0], x)
	if o.err == nil {
		_, o.err = o.w.Write(o.buf)
	}
	o.unsaid++
	o.account(uint64(len(o.buf)))
}

// account books a record that went into the buffer.
func (o *output) account(n uint64) {
	if o.err != nil {
		o.counters.Failed++
		o.failed(fmt.Errorf("write records: %w", o.err))
		return
	}
	o.counters.Emitted++
	o.counters.Bytes += n
}

// Flush hands what is buffered to the reader.
func (o *output) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.unsaid == 0 || o.err != nil {
		return
	}
	if o.err = o.w.Flush(); o.err != nil {
		o.failed(fmt.Errorf("write records: %w", o.err))
	}
	o.unsaid = 0
}

func (o *output) snapshot() ledger.Output {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counters
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
