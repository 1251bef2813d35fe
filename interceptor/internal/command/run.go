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
	"github.com/spf13/pflag"

	"capstan/interceptor/internal/api"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/metrics"
	"capstan/interceptor/internal/source"
)

// runFlags are the flags of run.
type runFlags struct {
	recordFlags
	server         serverFlags
	sources        []string
	metricsAddress string
	pprof          bool
	statusInterval time.Duration
	tellHostAccess bool
	api            apiFlags
}

func (f *runFlags) register(flags *pflag.FlagSet) {
	f.recordFlags.register(flags)
	f.server.registerCapture(flags)
	f.api.register(flags)
	flags.StringArrayVarP(&f.sources, "source", "s", nil, "device to capture from; may be given several times")
	flags.StringVar(&f.metricsAddress, "metrics-address", "", "HOST:PORT, or unix:PATH, to serve Prometheus metrics and health on")
	flags.BoolVar(&f.pprof, "pprof", false, "serve profiles at the address for metrics, too, at /debug/pprof/: they tell what is in memory to whoever reaches it")
	flags.DurationVar(&f.statusInterval, "status-interval", 10*time.Second, "time between status lines on standard error; 0 = none")
	notNegative(flags, "status-interval")
	flags.BoolVar(&f.tellHostAccess, "tell-host-access", false, "for pods: warn of hostNetwork, hostPID and privileged, if missing")
	truths(flags)
}

func runCommand(s streams) *cobra.Command {
	r := runner{streams: s}
	cmd := &cobra.Command{
		Use:   "run --source URL…",
		Short: "Capture live and tell each exchange as it completes",
		Long: `run captures from one or more devices of RPCAP servers until it is interrupted.
A lost server is regained by itself; the interval without capture is reported.
SIGHUP reads the configuration file again: sinks, rules, masks, body limits and
the filter change, and no connection is lost.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			r.started = cmd.Flags()
			if r.settings, err = loadSettings(r.started); err != nil {
				return err
			}
			return r.run(cmd.Context())
		},
	}
	r.flags.register(cmd.Flags())
	return cmd
}

// runner is one execution of the run command.
type runner struct {
	streams
	flags    runFlags
	started  *pflag.FlagSet // which flags belong to
	settings *settings
	log      *slog.Logger

	out     *output
	sinks   *outlets
	sources []*capturing
}

func (r *runner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer r.flags.server.close()
	defer r.flags.begin()()
	if err := r.prepare(ctx, cancel); err != nil {
		return err
	}
	stopMetrics, err := metrics.Serve(metrics.Config{
		Address: r.flags.metricsAddress, Ledgers: r.ledgers, Output: r.outputCounters, Budget: r.flags.budget, Pprof: r.flags.pprof, Clients: &r.out.metrics,
	})
	if err != nil {
		return errors.Join(cannotStartError{err}, r.sinks.close())
	}
	defer stopMetrics()
	stopAPI, err := r.serveAPI()
	if err != nil {
		return errors.Join(err, r.sinks.close())
	}
	captures := make([]filterSetter, len(r.sources))
	for i, c := range r.sources {
		captures[i] = c
	}
	defer r.flags.server.followFilter(r.log, captures...)()
	stopStatus, stopReloads := r.reportStatus(), r.reloadOnHangup(ctx)
	err = r.captureUntil(ctx, cancel)
	stopStatus()
	r.sinks.spend(stopReloads)
	stopAPI()
	err = errors.Join(err, r.sinks.close(), r.out.unwritten())
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
func (r *runner) prepare(ctx context.Context, cancel context.CancelCauseFunc) (err error) {
	urls := r.flags.sources
	if len(urls) == 0 {
		return usageError{errors.New("no --source given")}
	}
	if r.log, err = newLogger(r.err, r.flags.logFormat); err != nil {
		return err
	}
	if err := r.flags.check(); err != nil {
		return err
	}
	if r.flags.tellHostAccess {
		tellHostAccess(r.log)
	}
	if len(urls) > 1 && r.flags.server.listen != "" {
		return usageError{errors.New("--listen waits for one daemon, so it goes with one --source")}
	}
	r.flags.captures = len(urls)
	if r.out, r.sinks, err = r.flags.openOutput(ctx, r.streams.out, r.settings, r.log, cancel); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.sinks.close())
		}
	}()
	r.announce()
	for _, text := range urls {
		cfg, err := r.flags.server.source(ctx, text, r.log)
		if err != nil {
			return err
		}
		name := cfg.URL.String()
		if slices.ContainsFunc(r.sources, func(c *capturing) bool { return c.name == name }) {
			return usageError{fmt.Errorf("source %q is given twice", name)}
		}
		r.sources = append(r.sources, newCapturing(name, cfg, &r.flags.recordFlags, r.out))
	}
	return nil
}

// endLimit bounds how long the end may take beyond what records are waited for:
// longer than a source takes to end its capture with a server that doesn't answer.
const endLimit = 8 * time.Second

// errNoEnd is why a capture is left to the end of the process.
var errNoEnd = errors.New("the capture doesn't end: what is still under way is not in the account")

// captureUntil is capture, but doesn't wait for ever for its end.
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
	case <-time.After(r.flags.sinks.drain + endLimit):
		return &endedEarlyError{errNoEnd}
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

// serveAPI serves the API on the pipelines.
func (r *runner) serveAPI() (stop func(), err error) {
	hub, stop, err := r.flags.api.serve(&r.out.api, api.Backend{
		Ledgers: r.ledgers, Output: r.outputCounters, Sources: r.liveSources, MemoryLimit: r.flags.budget.Limit(),
	}, r.log)
	if hub != nil {
		r.out.fanout.Tap(hub)
		r.out.hub.Store(hub)
		r.flags.budget.OnShed(hub.Shed)
	}
	return stop, err
}

// liveSources returns what captures now, by the names of ledgers.
func (r *runner) liveSources() map[string]api.Source {
	live := make(map[string]api.Source)
	for _, c := range r.sources {
		for _, p := range c.current() {
			live[p.name] = p.live
		}
	}
	return live
}

func (r *runner) outputCounters() ledger.Output { return r.out.snapshot() }

// reportStatus prints a status line now and then until the function that it
// returns is called.
func (r *runner) reportStatus() (stop func()) {
	if r.flags.statusInterval <= 0 {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(r.flags.statusInterval)
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
