package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/sink/file"
	"capstan/interceptor/internal/spool"
)

// sinkFlags name where records go besides standard output.
type sinkFlags struct {
	collector          collector.Options
	collectorSpool     string
	collectorSpoolSize int64
	file               file.Config
	drain              time.Duration
}

func (f *sinkFlags) register(flags *pflag.FlagSet) {
	f.collector.Register(flags)
	flags.StringVar(&f.collectorSpool, "collector-spool", "", "directory to keep records in until the collector has them; empty: they wait in memory, and the oldest are dropped if it is too slow")
	flags.Int64Var(&f.collectorSpoolSize, "collector-spool-size", 1<<30, "bytes that this may have")
	flags.StringVar(&f.file.Path, "file", "", "file to write records to as JSON lines, which rotates")
	flags.Int64Var(&f.file.MaxBytes, "file-rotate-size", 100<<20, "bytes of such a file")
	flags.DurationVar(&f.file.MaxAge, "file-rotate-age", 0, "age of such a file; 0 = any")
	flags.IntVar(&f.file.Keep, "file-keep", 0, "full files to keep; 0 = all")
	flags.BoolVar(&f.file.Compress, "file-zstd", false, "compress the file")
	flags.DurationVar(&f.drain, "drain-timeout", 5*time.Second, "how long the end may wait for collector and file")
}

// open starts the sinks that are asked for.
func (f *sinkFlags) open(log *slog.Logger) (*delivery.Fanout, error) {
	var queues []*delivery.Queue
	add := func(c delivery.Config, s delivery.Sink, err error) error {
		if err != nil {
			return cannotStartError{err}
		}
		c.Log = log
		q, err := delivery.NewQueue(c, s)
		if err != nil {
			return cannotStartError{errors.Join(err, s.Close())}
		}
		queues = append(queues, q)
		return nil
	}
	var err error
	if f.collector.Address != "" {
		c := delivery.Config{Name: "collector", Policy: delivery.DropOldest}
		if f.collectorSpool != "" {
			c.Policy, c.Spool = delivery.Spool, spool.Options{Dir: f.collectorSpool, MaxBytes: f.collectorSpoolSize}
		}
		s, serr := f.collector.Sink("capstan-interceptor/" + version())
		err = add(c, s, serr)
	}
	if err == nil && f.file.Path != "" {
		s, serr := file.New(f.file)
		err = add(delivery.Config{Name: "file", Policy: delivery.Block}, s, serr)
	}
	fanout := delivery.NewFanout(queues...)
	if err != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing to drain
		return nil, errors.Join(err, fanout.Close(ctx))
	}
	return fanout, nil
}

// closeSinks delivers what is queued, and says what could not be.
func (f *sinkFlags) close(fanout *delivery.Fanout) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.drain)
	defer cancel()
	err := fanout.Close(ctx)
	for _, q := range fanout.Queues() {
		if s := q.Stats(); s.Dropped+s.SpoolFull > 0 {
			err = errors.Join(err, fmt.Errorf("sink %s: %d records were not delivered", q.Name(), s.Dropped+s.SpoolFull))
		}
	}
	if err != nil {
		return &endedEarlyError{err}
	}
	return nil
}
