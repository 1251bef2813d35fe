package command

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/spf13/cobra"

	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/source"
)

func readCommand(s streams) *cobra.Command {
	var flags recordFlags
	var full bool
	cmd := &cobra.Command{
		Use:   "read FILE…",
		Short: "Tell the exchanges in capture files",
		Long: `read takes pcap and pcapng files, plain or compressed with gzip or zstd, one after
the other; - is standard input.
A file that ends in the middle of a frame yields all exchanges up to there and
a warning.
` + exitHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("no file given; - is standard input")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadSettings(cmd.Flags())
			if err != nil {
				return err
			}
			return read(cmd.Context(), s, &flags, c, full, args)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&full, "ledger", false, "print what became of every frame and byte to standard error")
	return cmd
}

func read(ctx context.Context, s streams, flags *recordFlags, c *settings, full bool, files []string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := flags.check(); err != nil {
		return err
	}
	log, err := newLogger(s.err, flags.logFormat)
	if err != nil {
		return err
	}
	defer flags.begin()()
	flags.reads = true
	out, sinks, err := flags.openOutput(ctx, s.out, c, log, cancel)
	if err != nil {
		return err
	}
	var ledgers []ledger.Ledger
	var failed error
	for _, name := range files {
		p := newPipeline(name, name, nil, flags.shards, flags, out)
		err := source.ReadFile(ctx, name, s.in, p)
		p.finish()
		ledgers = append(ledgers, p.ledger())
		if ctx.Err() != nil {
			break
		}
		failed = errors.Join(failed, readError(err, p, log))
	}
	failed = errors.Join(failed, sinks.close(), sinks.dropped(), out.unwritten()) // a file is there to be told whole
	if full {
		ledger.WriteTable(s.err, ledgers, out.snapshot())
	}
	if disk := new(unwritableError); errors.As(context.Cause(ctx), &disk) {
		return &endedEarlyError{errors.Join(disk, failed)}
	}
	if ctx.Err() != nil && failed == nil {
		return &endedEarlyError{context.Cause(ctx)} // interrupted, or records could not be written
	}
	return failed
}

// readError tells a file that can't be opened from one that can't be finished. One that is
// cut short is told in the log.
func readError(err error, p *pipeline, log *slog.Logger) error {
	if err == nil {
		return nil
	}
	var cut *source.CutShortError
	if errors.As(err, &cut) {
		log.Warn("the capture file is cut short", "file", p.name, "frames", cut.Frames, "reason", cut.Err.Error())
		return nil
	}
	var path *fs.PathError
	if errors.As(err, &path) || p.ledger().Engine.Frames == 0 {
		return cannotStartError{err}
	}
	return &endedEarlyError{err}
}
