package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/own"
	"capstan/interceptor/internal/sink/stream"
	"capstan/interceptor/internal/spool"
)

// sinkFlags name where records go besides standard output, for who needs no
// file to say so.
type sinkFlags struct {
	collector          collector.Options
	collectorSpool     string
	collectorSpoolSize int64
	file               config.FileSink
	fileSize           int64
	drain              time.Duration
}

func (f *sinkFlags) register(flags *pflag.FlagSet) {
	f.collector.Register(flags)
	flags.StringVar(&f.collectorSpool, "collector-spool", "", "directory to keep records in until the collector has them; empty: they wait in memory, and the oldest are dropped if it is too slow")
	flags.Int64Var(&f.collectorSpoolSize, "collector-spool-size", 1<<30, "bytes that the collector's spool may have")
	flags.StringVar(&f.file.Path, "file", "", "file to write records to as JSON lines, which rotates")
	flags.Int64Var(&f.fileSize, "file-rotate-size", 100<<20, "bytes of such a file; 0 = any")
	flags.DurationVar(&f.file.RotateAge, "file-rotate-age", 0, "age of such a file; 0 = any")
	flags.IntVar(&f.file.Keep, "file-keep", 0, "full files to keep; 0 = all")
	flags.BoolVar(&f.file.Zstd, "file-zstd", false, "compress the file")
	flags.DurationVar(&f.drain, "drain-timeout", 5*time.Second, "how long the end, or a change of sinks, may wait for what is queued; 0 = not at all")
	sizes(flags, "collector-spool-size", "file-rotate-size")
	positive(flags, "collector-spool-size")
	notNegative(flags, "file-rotate-size", "file-rotate-age", "file-keep", "drain-timeout")
}

// sinks are those of the flags, then those of a file.
func (f *sinkFlags) sinks(file *config.File) ([]config.Sink, error) {
	var list []config.Sink
	if f.collector.Address != "" {
		s := config.Sink{Name: "collector", Policy: delivery.DropOldest.String(), Collector: fromOptions(&f.collector)}
		if f.collectorSpool != "" {
			s.Policy, s.SpoolDir, s.SpoolBytes = delivery.Spool.String(), f.collectorSpool, config.Size(f.collectorSpoolSize)
		}
		list = append(list, s)
	}
	if f.file.Path != "" {
		c := f.file
		c.RotateSize = config.Size(f.fileSize)
		list = append(list, config.Sink{Name: "file", Policy: delivery.Block.String(), File: &c})
	}
	for _, s := range file.Sinks {
		for _, other := range list {
			if other.Name == s.Name {
				return nil, usageError{fmt.Errorf("--%s is a sink called %q, and so is one of the configuration file", s.Name, s.Name)}
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// outlets are the sinks that records go to.
type outlets struct {
	// Immutable.
	stdout *stream.Writer
	left   func(error) // called when the reader of stdout has left, or nothing more is to be read
	reads  bool        // files, which can be read again
	stop   func()      // ends the wait for who doesn't read; nil: there is none
	color  bool
	drain  time.Duration
	ending context.Context      // after it engines wait for no sink; ends drain after the first signal
	waited func() time.Duration // that they have waited since that signal; nil: they haven't
	spent  time.Duration        // of drain, by whoever closes
	own    *own.Connections
	log    *slog.Logger
	// memory bounds a sink's queue that has no bound of its own; 0 = as delivery does.
	memory int

	fanout *delivery.Fanout
	opened map[*delivery.Queue]config.Sink // owned by whoever changes them
}

// openSinks opens all of list, or none.
func openSinks(o *outlets, list []config.Sink) error {
	o.opened = map[*delivery.Queue]config.Sink{}
	queues, err := o.open(list)
	o.fanout = delivery.NewFanout(queues...)
	if err != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing to drain
		return cannotStartError{errors.Join(err, o.fanout.Close(ctx))}
	}
	return nil
}

// open opens each sink of list that it can.
func (o *outlets) open(list []config.Sink) (queues []*delivery.Queue, err error) {
	for _, c := range list {
		q, openErr := o.openQueue(&c)
		if openErr != nil {
			err = errors.Join(err, fmt.Errorf("sink %s: %w", c.Name, openErr))
			continue
		}
		queues = append(queues, q)
		o.opened[q] = c
	}
	return queues, err
}

// openOrTry opens each sink of list, those that it can't later.
func (o *outlets) openOrTry(list []config.Sink) (queues []*delivery.Queue) {
	for _, c := range list {
		q, err := o.openQueue(&c)
		if err != nil {
			q = delivery.OpenQueue(o.queueConfig(&c), err, func() (delivery.Sink, error) { return o.openSink(&c) })
		}
		queues = append(queues, q)
		o.opened[q] = c
	}
	return queues
}

func (o *outlets) openQueue(c *config.Sink) (*delivery.Queue, error) {
	s, err := o.openSink(c)
	if err != nil {
		return nil, err
	}
	q, err := delivery.NewQueue(o.queueConfig(c), s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return q, nil
}

// queueShare is the part of the memory that a queue may have: queues share the
// records, so that several take little more than one.
const queueShare = 8

func (o *outlets) queueConfig(c *config.Sink) delivery.Config {
	policy, _ := delivery.ParsePolicy(c.Policy) // files are checked
	maxBytes := int(c.MaxBytes)
	if maxBytes == 0 && o.memory > 0 {
		maxBytes = min(delivery.DefaultMaxBytes, o.memory/queueShare)
	}
	return delivery.Config{
		Name: c.Name, Kind: c.Kind(), Policy: policy, Form: o.form(c), FormAlone: c.Stdout != nil || c.File != nil, MaxRecords: c.MaxRecords, MaxBytes: maxBytes,
		Spool: spool.Options{Dir: c.SpoolDir, MaxBytes: int64(c.SpoolBytes)}, Log: o.log,
	}
}

// change makes list the sinks. Those that stay as they are go on; the others
// are drained and closed. What can't be opened is tried again until it can. The
// error is of closing.
func (o *outlets) change(list []config.Sink) error {
	ctx, cancel := context.WithTimeout(o.ending, o.drain)
	defer cancel()
	find := func(c config.Sink, in []config.Sink) bool {
		for i := range in {
			if reflect.DeepEqual(in[i], c) {
				return true
			}
		}
		return false
	}
	var stay, come []config.Sink
	for _, c := range o.opened {
		if find(c, list) {
			stay = append(stay, c)
		}
	}
	for _, c := range list {
		if !find(c, stay) {
			come = append(come, c)
		}
	}
	if len(come) == 0 && len(stay) == len(o.opened) {
		return nil // replacing waits for emitters, which may wait for a sink
	}
	keep := func(q *delivery.Queue) bool {
		if find(o.opened[q], stay) {
			return true
		}
		delete(o.opened, q)
		return false
	}
	return o.fanout.Replace(ctx, keep, func() []*delivery.Queue { return o.openOrTry(come) })
}

// spend has a wait at the end be part of what close may take.
func (o *outlets) spend(wait func()) {
	from := time.Now()
	wait()
	o.spent += time.Since(from)
}

// close delivers what is queued, and says what could not be. The time that engines
// have waited for room since the end began is part of what that may take. What a
// policy has dropped while the sinks were open is only counted: it was chosen.
func (o *outlets) close() error {
	if o.stop != nil {
		defer o.stop()
	}
	left := o.drain - o.spent
	if o.waited != nil {
		left -= o.waited()
	}
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	return o.lost(o.fanout.Close(ctx), "were not delivered", func(s *delivery.SinkStats) uint64 { return s.Undelivered + s.SpoolFull })
}

// dropped says what policies have dropped while the sinks were open.
func (o *outlets) dropped() error {
	return o.lost(nil, "were dropped, as the policy is", func(s *delivery.SinkStats) uint64 { return s.Dropped - s.Undelivered + s.Shed })
}

// lost is err, and the records that count counts of each sink.
func (o *outlets) lost(err error, how string, count func(*delivery.SinkStats) uint64) error {
	for _, s := range o.fanout.Stats() {
		if n := count(&s); n > 0 {
			err = errors.Join(err, fmt.Errorf("sink %s: %d records %s", s.Name, n, how))
		}
	}
	if err != nil {
		return &endedEarlyError{err}
	}
	return nil
}

// useColor reports whether text for w is to be in colour.
func useColor(w io.Writer, when string) (bool, error) {
	switch when {
	case "always":
		return true, nil
	case "auto":
		return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", nil
	case "never":
		return false, nil
	}
	return false, usageError{fmt.Errorf("--color %q is none of auto, always, never", when)}
}
