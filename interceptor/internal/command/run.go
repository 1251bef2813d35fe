package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/metrics"
	"capstan/interceptor/internal/source"
)

func runCommand(s streams) *cobra.Command {
	var (
		flags   recordFlags
		server  serverFlags
		sources []string
		metrics string
		status  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "run --source URL…",
		Short: "Capture live and tell each exchange as it completes",
		Long: `run captures from one or more devices of RPCAP servers until it is interrupted.
A lost server is regained by itself; the interval without capture is reported.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := runner{streams: s, flags: &flags, server: &server, metricsAddress: metrics, statusInterval: status}
			return r.run(cmd.Context(), sources)
		},
	}
	flags.register(cmd.Flags())
	server.registerCapture(cmd.Flags())
	cmd.Flags().StringArrayVarP(&sources, "source", "s", nil, "device to capture from; may be given several times")
	cmd.Flags().StringVar(&metrics, "metrics-address", "", "HOST:PORT to serve Prometheus metrics and health on")
	cmd.Flags().DurationVar(&status, "status-interval", 10*time.Second, "time between status lines on standard error; 0 = none")
	return cmd
}

// runner is one execution of the run command.
type runner struct {
	streams
	flags          *recordFlags
	server         *serverFlags
	metricsAddress string
	statusInterval time.Duration

	log     *slog.Logger
	out     *output
	sources []*capturing
}

func (r *runner) run(ctx context.Context, urls []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer r.server.close()
	if err := r.prepare(ctx, urls, cancel); err != nil {
		return err
	}
	stopMetrics, err := metrics.Serve(r.metricsAddress, r.ledgers, r.outputCounters)
	if err != nil {
		return errors.Join(cannotStartError{err}, r.flags.sinks.close(r.out.fanout))
	}
	defer stopMetrics()
	captures := make([]filterSetter, len(r.sources))
	for i, c := range r.sources {
		captures[i] = c
	}
	defer r.server.followFilter(r.log, captures...)()
	stopStatus := r.reportStatus()
	err = r.captureUntil(ctx, cancel)
	stopStatus()
	err = errors.Join(err, r.flags.sinks.close(r.out.fanout))
	var start *source.StartError
	if !errors.As(err, &start) { // otherwise there is nothing to account for
		ledger.WriteTable(r.err, r.ledgers(), r.out.snapshot())
	}
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return &endedEarlyError{cause} // records could not be written
	}
	return err
}

// prepare makes a pipeline for each source, before anything is started.
func (r *runner) prepare(ctx context.Context, urls []string, cancel context.CancelCauseFunc) (err error) {
	if len(urls) == 0 {
		return usageError{errors.New("no --source given")}
	}
	log, err := newLogger(r.err, r.flags.logFormat)
	if err != nil {
		return err
	}
	r.log = log
	if err := r.flags.check(); err != nil {
		return err
	}
	if len(urls) > 1 && r.server.listen != "" {
		return usageError{errors.New("--listen waits for one daemon, so it goes with one --source")}
	}
	fanout, err := r.flags.sinks.open(log)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.flags.sinks.close(fanout))
		}
	}()
	if r.out, err = newOutput(r.streams.out, r.flags.output, fanout, cancel); err != nil {
		return err
	}
	for _, text := range urls {
		cfg, err := r.server.source(ctx, text, log)
		if err != nil {
			return err
		}
		name := cfg.URL.String()
		if slices.ContainsFunc(r.sources, func(c *capturing) bool { return c.name == name }) {
			return usageError{fmt.Errorf("source %q is given twice", name)}
		}
		r.sources = append(r.sources, newCapturing(name, cfg, r.flags, r.out))
	}
	return nil
}

// endLimit bounds how long the end may take: longer than a source takes to end
// its capture with a server that doesn't answer.
const endLimit = 8 * time.Second

// errNotRead is why a capture can't end: an engine waits for its reader.
var errNotRead = errors.New("standard output is not being read: what is buffered was not written")

// captureUntil is capture, but doesn't wait for ever for a reader of the
// records that has stopped to read. What runs on then ends with the process.
func (r *runner) captureUntil(ctx context.Context, cancel context.CancelCauseFunc) error {
	done := make(chan error, 1)
	go func() { done <- r.capture(ctx, cancel) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(endLimit):
		return &endedEarlyError{errNotRead}
	}
}

// capture runs all sources until ctx ends, or none is left. A source that can't
// start ends the others; one that is lost later doesn't.
func (r *runner) capture(ctx context.Context, cancel context.CancelCauseFunc) error {
	errs := make([]error, len(r.sources))
	var wg sync.WaitGroup
	for i, c := range r.sources {
		wg.Go(func() {
			errs[i] = c.run(ctx)
			var start *source.StartError
			if errors.As(errs[i], &start) {
				cancel(context.Canceled)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *runner) ledgers() (ledgers []ledger.Ledger) {
	for _, c := range r.sources {
		ledgers = append(ledgers, c.ledgers()...)
	}
	return ledgers
}

func (r *runner) outputCounters() ledger.Output { return r.out.snapshot() }

// reportStatus prints a status line now and then until the function that it
// returns is called.
func (r *runner) reportStatus() (stop func()) {
	if r.statusInterval <= 0 {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(r.statusInterval)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				fmt.Fprintln(r.err, ledger.StatusLine(r.ledgers(), r.out.snapshot()))
			}
		}
	}()
	return func() { close(quit); <-done }
}
