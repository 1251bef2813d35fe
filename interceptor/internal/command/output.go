package command

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"capstan/interceptor/internal/clients"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/interceptor/internal/sink/stream"
	"capstan/interceptor/internal/sink/text"
	"capstan/interceptor/internal/watch"
	capstanv1 "capstan/proto/capstan/v1"
)

// output writes records to standard output. The engines of several sources
// share it. Its policy is to block: a slow reader slows the engines, then the
// servers, whose rings count what they lose.
type output struct {
	// Immutable.
	w      *stream.Writer
	ending context.Context                                // after it nobody who doesn't read is waited for
	encode func(dst []byte, x *capstanv1.Exchange) []byte // nil: nothing goes to w
	failed context.CancelCauseFunc                        // called at the first write that fails
	gate   *gate                                          // which records leave
	fanout *delivery.Fanout                               // takes every record that does, too
	hub    atomic.Pointer[watch.Hub]                      // which does so for watchers; nil: there is none

	// Those who are connected to ask for something.
	api, metrics clients.Counts

	mu      sync.Mutex // serialises records and writes, and guards what follows
	buf     []byte     // records not yet written
	records uint64     // their number
	err     error      // of the first write that failed

	// Read by anybody, also while a write blocks.
	emitted, lost, bytes atomic.Uint64
	waited               atomic.Int64          // ns that writes have taken
	unread               atomic.Pointer[error] // of the first write that nobody was waited for with
}

// outputBufferLen is from where on records are written without waiting for a
// pause of the source.
const outputBufferLen = 64 << 10

// outputFlags are the flags that tell how records are written.
type outputFlags struct{ format, color string }

func newOutput(ending context.Context, w *stream.Writer, format string, color bool, g *gate, fanout *delivery.Fanout, failed context.CancelCauseFunc) (*output, error) {
	encode, err := encoder(format, color)
	if err != nil {
		return nil, err
	}
	return &output{failed: failed, w: w, ending: ending, gate: g, fanout: fanout, encode: encode}, nil
}

// encoder returns what appends a record in that format, nil if none is to be written.
func encoder(format string, color bool) (func([]byte, *capstanv1.Exchange) []byte, error) {
	switch format {
	case "text":
		return text.Encoder{Color: color}.Append, nil
	case "json":
		return ndjson.Append, nil
	case "none":
		return nil, nil
	}
	return nil, usageError{fmt.Errorf("--output %q is none of text, json, none", format)}
}

// Emit takes one record. Any goroutine may call it.
func (o *output) Emit(x *capstanv1.Exchange) {
	if !o.gate.admit(x) {
		return
	}
	if err := o.fanout.Emit(x); err != nil {
		o.failed(err)
	}
	if o.encode == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = o.encode(o.buf, x)
	o.added()
}

// added counts a record put into the buffer.
func (o *output) added() {
	o.records++
	if len(o.buf) >= outputBufferLen {
		o.write()
	}
}

// rawLen is the length of the number that Encode puts first.
const rawLen = 4

// Encode appends a record in all forms that it will be needed in, for Write: the
// length of that for the sinks, that, then that for standard output; nothing of
// one that is not to leave. Any goroutine may call it.
func (o *output) Encode(dst []byte, x *capstanv1.Exchange) []byte {
	if !o.gate.admit(x) {
		return dst
	}
	at := len(dst)
	dst, err := o.fanout.Append(append(dst, make([]byte, rawLen)...), x)
	if err != nil {
		o.failed(err)
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-rawLen))
	if o.encode != nil {
		dst = o.encode(dst, x)
	}
	return dst
}

// Write takes one record that Encode has encoded. Any goroutine may call it.
func (o *output) Write(encoded []byte) {
	if len(encoded) == 0 {
		return
	}
	n := rawLen + binary.LittleEndian.Uint32(encoded)
	o.fanout.Push(encoded[rawLen:n])
	if o.encode == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, encoded[n:]...)
	o.added()
}

// Flush writes what Emit has taken.
func (o *output) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.records > 0 {
		o.write()
	}
}

// write writes the buffer. A record is counted as written only here, and none
// of a write that fails: a half-written line is no record.
func (o *output) write() {
	if o.err == nil {
		from := time.Now()
		o.err = o.w.Write(o.ending, o.buf)
		o.waited.Add(int64(time.Since(from)))
		if o.err != nil {
			if errors.Is(o.err, stream.ErrNotRead) || errors.Is(o.err, stream.ErrBrokenOff) {
				why := o.err
				o.unread.Store(&why)
			}
			o.failed(fmt.Errorf("write records: %w", o.err))
		}
	}
	if o.err == nil {
		o.emitted.Add(o.records)
		o.bytes.Add(uint64(len(o.buf)))
	} else {
		o.lost.Add(o.records)
	}
	o.buf, o.records = o.buf[:0], 0
}

// unwritten says what was not written at the end because nobody read.
func (o *output) unwritten() error {
	if why := o.unread.Load(); why != nil {
		return &endedEarlyError{fmt.Errorf("standard output: %d records were not written: %w", o.lost.Load(), *why)}
	}
	return nil
}

func (o *output) snapshot() ledger.Output {
	out := ledger.Output{
		Emitted: o.emitted.Load(), Failed: o.lost.Load(), Bytes: o.bytes.Load(),
		Passed: o.gate.passed.Load(), Own: o.gate.ours.Load(), Denied: o.gate.denied.Load(), BodiesOmitted: o.gate.bodies.Load(),
		Sinks: o.fanout.Stats(), API: o.api.Stats(), Metrics: o.metrics.Stats(),
	}
	if hub := o.hub.Load(); hub != nil {
		out.Watch = hub.Stats()
	}
	return out
}

// blocked is how long engines have waited for standard output and the sinks.
func (o *output) blocked() time.Duration {
	d := time.Duration(o.waited.Load()) + o.fanout.Replacing()
	for _, s := range o.fanout.Stats() {
		d += s.Blocked
	}
	return d
}

// blockedSince returns a function that returns how long engines have waited since
// ctx ended, and that was not longer ago: each of several may have waited at the same time.
func (o *output) blockedSince(ctx context.Context) func() time.Duration {
	type moment struct {
		at      time.Time
		blocked time.Duration
	}
	var end atomic.Pointer[moment]
	context.AfterFunc(ctx, func() { end.Store(&moment{time.Now(), o.blocked()}) })
	return func() time.Duration {
		m := end.Load()
		if m == nil {
			return 0
		}
		return min(o.blocked()-m.blocked, time.Since(m.at))
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
