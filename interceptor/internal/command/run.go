package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/metrics"
	"capstan/interceptor/internal/source"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// serverFlags are the flags of the commands that speak to a capture server.
type serverFlags struct {
	caFile           string
	insecure         bool
	snapLen          int
	promiscuous      bool
	startTimeout     time.Duration
	reconnectTimeout time.Duration
}

func (f *serverFlags) registerTLS(flags *pflag.FlagSet) {
	flags.StringVar(&f.caFile, "tls-ca", "", "file of PEM certificates to trust for rpcaps instead of the system's")
	flags.BoolVar(&f.insecure, "tls-insecure", false, "do not verify the server's certificate (rpcaps)")
	flags.DurationVar(&f.startTimeout, "connect-timeout", 10*time.Second, "how long to try to reach a server at the start")
}

func (f *serverFlags) registerCapture(flags *pflag.FlagSet) {
	f.registerTLS(flags)
	flags.IntVar(&f.snapLen, "snaplen", 0, "bytes to capture of each frame; 0 = all")
	flags.BoolVar(&f.promiscuous, "promiscuous", false, "ask for promiscuous mode")
	flags.DurationVar(&f.reconnectTimeout, "reconnect-timeout", 0, "how long to try to regain a lost server; 0 = for ever")
}

func (f *serverFlags) client() (rpcapclient.Options, error) {
	o := rpcapclient.Options{DialTimeout: f.startTimeout}
	if f.caFile == "" && !f.insecure {
		return o, nil
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.insecure}
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return o, cannotStartError{err}
		}
		o.TLS.RootCAs = x509.NewCertPool()
		if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return o, cannotStartError{fmt.Errorf("--tls-ca %s: no PEM certificate in it", f.caFile)}
		}
	}
	return o, nil
}

// parseSource parses the URL of a device to capture from.
func parseSource(text string) (rpcap.URL, error) {
	u, err := rpcap.ParseURL(text)
	switch {
	case err != nil:
		return u, usageError{err}
	case u.Scheme == rpcap.SchemeLocal:
		return u, usageError{fmt.Errorf("source %q names no host: write rpcap://HOST/DEVICE", text)}
	}
	return u, nil
}

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

	out       *output
	pipelines []*pipeline
}

func (r *runner) run(ctx context.Context, urls []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := r.prepare(urls, cancel); err != nil {
		return err
	}
	stopMetrics, err := metrics.Serve(r.metricsAddress, r.ledgers, r.outputCounters)
	if err != nil {
		return errors.Join(cannotStartError{err}, r.flags.sinks.close(r.out.fanout))
	}
	defer stopMetrics()
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
func (r *runner) prepare(urls []string, cancel context.CancelCauseFunc) (err error) {
	if len(urls) == 0 {
		return usageError{errors.New("no --source given")}
	}
	log, err := newLogger(r.err, r.flags.logFormat)
	if err != nil {
		return err
	}
	client, err := r.server.client()
	if err != nil {
		return err
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
		u, err := parseSource(text)
		if err != nil {
			return err
		}
		if u.Device == "" {
			return usageError{fmt.Errorf("source %q names no device: %q lists them", u, "interceptor devices "+u.String())}
		}
		if slices.ContainsFunc(r.pipelines, func(p *pipeline) bool { return p.name == u.String() }) {
			return usageError{fmt.Errorf("source %q is given twice", u)}
		}
		p := newPipeline(u.String(), r.flags, r.out)
		p.live = source.NewRPCAP(source.RPCAPConfig{
			URL: u, SnapLen: r.server.snapLen, Promiscuous: r.server.promiscuous,
			StartTimeout: r.server.startTimeout, ReconnectTimeout: r.server.reconnectTimeout,
			Client: client, Log: log,
		})
		r.pipelines = append(r.pipelines, p)
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
	errs := make([]error, len(r.pipelines))
	var wg sync.WaitGroup
	for i, p := range r.pipelines {
		wg.Go(func() {
			errs[i] = p.live.Run(ctx, p)
			p.finish()
			var start *source.StartError
			if errors.As(errs[i], &start) {
				cancel(context.Canceled)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *runner) ledgers() []ledger.Ledger {
	ledgers := make([]ledger.Ledger, len(r.pipelines))
	for i, p := range r.pipelines {
		ledgers[i] = p.ledger()
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
