package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/sink/file"
	"capstan/interceptor/internal/spool"
	"capstan/interceptor/internal/tlsconf"
)

// Exit statuses.
const (
	exitDone   = 0
	exitUsage  = 1
	exitFailed = 2
)

// Run is main without globals. It returns the exit status.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process the hard way.
	defer context.AfterFunc(ctx, stop)()
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	root := &cobra.Command{
		Use:   "relay",
		Short: "Carry records from interceptors to a collector outside",
		Long: `relay receives records from interceptors, or from other relays, keeps them on its
disk until they are delivered, and forwards them to a collector: through an
HTTP(S) proxy where one is configured.

Exit status: 0 done, 1 wrong usage, 2 it could not start or ended early.`,
		Version: version(), SilenceUsage: true, SilenceErrors: true,
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(runCommand(log), sinkCommand(log), statusCommand(stdout))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "relay: %v\n", err)
		if errors.As(err, &usageError{}) {
			return exitUsage
		}
		return exitFailed
	}
	return exitDone
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// noArgs is cobra.NoArgs with an error for the right exit status.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// receiveFlags tell how records come in.
type receiveFlags struct {
	listen, admin string
	files         tlsconf.Files
	insecure      bool
	spoolDir      string
	spoolSize     config.Size
	drain         time.Duration
}

func (f *receiveFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.listen, "listen", ":4417", "address to receive records on")
	flags.StringVar(&f.files.Certificate, "tls-cert", "", "PEM file with this server's certificate; read again for each connection")
	flags.StringVar(&f.files.Key, "tls-key", "", "PEM file with its key")
	flags.StringVar(&f.files.Authorities, "tls-client-ca", "", "PEM file of the authorities that senders' certificates must be signed by")
	flags.BoolVar(&f.insecure, "insecure-listen", false, "receive in plain text from anybody")
	flags.StringVar(&f.spoolDir, "spool-dir", "", "directory to keep records in until they are delivered")
	f.spoolSize = 1 << 30
	flags.Var(&f.spoolSize, "spool-size", "bytes that the spool may have")
	flags.StringVar(&f.admin, "admin-address", "", "HOST:PORT for /metrics, /healthz, /readyz and /status; empty: none")
	flags.DurationVar(&f.drain, "drain-timeout", 10*time.Second, "how long to go on delivering after the end was asked for")
}

// minSpool is the smallest spool: what a batch has by default.
const minSpool config.Size = 1 << 20

func (f *receiveFlags) options() (options, error) {
	c := options{listen: f.listen, admin: f.admin, drain: f.drain, queue: delivery.Config{
		Name: "next", Spool: spool.Options{Dir: f.spoolDir, MaxBytes: int64(f.spoolSize)},
	}}
	switch {
	case f.spoolDir == "":
		return c, usageError{errors.New("--spool-dir is not given: records need a place until they are delivered")}
	case f.spoolSize < minSpool:
		return c, usageError{fmt.Errorf("--spool-size %v is less than %v, which a batch may have", f.spoolSize, minSpool)}
	case f.drain < 0:
		return c, usageError{fmt.Errorf("--drain-timeout %v is no time", f.drain)}
	case f.insecure && f.files != (tlsconf.Files{}):
		return c, usageError{errors.New("--insecure-listen and TLS files contradict each other")}
	case f.insecure:
		return c, nil
	case f.files.Certificate == "" || f.files.Key == "" || f.files.Authorities == "":
		return c, usageError{errors.New("--tls-cert, --tls-key and --tls-client-ca are needed (or --insecure-listen, for a network that you trust)")}
	}
	if err := f.files.Check(); err != nil {
		return c, err
	}
	c.tls = &f.files
	return c, nil
}

func runCommand(log *slog.Logger) *cobra.Command {
	var in receiveFlags
	var out collector.Options
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Receive records and forward them to a collector",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := in.options()
			if err != nil {
				return err
			}
			if out.Address == "" {
				return usageError{errors.New("--collector is not given")}
			}
			sink, err := out.Sink("capstan-relay/" + version())
			if err != nil {
				return usageError{err}
			}
			return start(cmd.Context(), c, sink, log)
		},
	}
	in.register(cmd.Flags())
	out.Register(cmd.Flags())
	return cmd
}

func start(ctx context.Context, c options, sink delivery.Sink, log *slog.Logger) error {
	r, err := newRelay(c, sink, log)
	if err != nil {
		return errors.Join(err, sink.Close())
	}
	return r.run(ctx)
}

func sinkCommand(log *slog.Logger) *cobra.Command {
	var in receiveFlags
	var out file.Config
	var dir string
	var remember int
	cmd := &cobra.Command{
		Use:   "sink",
		Short: "Receive records and write them to files: a small collector",
		Long: `sink is a collector that writes the records it receives, one JSON object per
line, to files that rotate. Records that come again are left out as long as their
ids are remembered.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := in.options()
			if err != nil {
				return err
			}
			if dir == "" {
				return usageError{errors.New("--directory is not given")}
			}
			out.Path, out.Sync = filepath.Join(dir, "records.ndjson"), true
			if out.Compress {
				out.Path += ".zst"
			}
			f, err := file.New(out)
			if err != nil {
				return err
			}
			return start(cmd.Context(), c, newOnce(f, remember), log)
		},
	}
	in.register(cmd.Flags())
	cmd.Flags().StringVar(&dir, "directory", "", "directory for the files")
	out.MaxBytes = 100 << 20
	cmd.Flags().Var((*config.Size)(&out.MaxBytes), "rotate-size", "bytes of a file; 0 = any")
	cmd.Flags().DurationVar(&out.MaxAge, "rotate-age", 0, "age of a file; 0 = any")
	cmd.Flags().IntVar(&out.Keep, "keep", 0, "full files to keep; 0 = all")
	cmd.Flags().BoolVar(&out.Compress, "zstd", false, "compress the files")
	cmd.Flags().IntVar(&remember, "remember", 1_000_000, "ids to remember, to leave repeats out; 0 = none")
	return cmd
}

func statusCommand(stdout io.Writer) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell what a running relay does",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := fetchStatus(cmd.Context(), address)
			if err != nil {
				return err
			}
			return printStatus(stdout, r)
		},
	}
	cmd.Flags().StringVar(&address, "admin-address", "127.0.0.1:4418", "HOST:PORT that the relay's admin listens on")
	return cmd
}

func printStatus(w io.Writer, r report) error {
	state := "ready"
	if !r.Ready {
		state = "not ready"
	}
	fmt.Fprintln(w, state)
	for _, p := range r.Problems {
		fmt.Fprintln(w, "  "+p)
	}
	q := r.Queue
	fmt.Fprintf(w, "%d accepted, %d found at the start, %d delivered, %d rejected, %d lost in damaged spool, %d on disk (%d bytes)\n",
		q.Accepted, q.Recovered, q.Delivered, q.Rejected, q.SpoolLost, q.Spooled, q.SpoolBytes)
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "NODE\tCONNECTED\tRECORDS\tLAST RECORD\tLAG\tPEER")
	for _, n := range r.Nodes {
		last := "-"
		if !n.LastRecord.IsZero() {
			last = n.LastRecord.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(tw, "%+q\t%t\t%d\t%s\t%v\t%s\n", n.Name, n.Streams > 0, n.Records, last, n.Lag.Round(time.Millisecond), n.Peer)
	}
	return tw.Flush()
}
