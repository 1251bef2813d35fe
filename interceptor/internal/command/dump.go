package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"capstan/interceptor/internal/source"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

func dumpCommand(s streams) *cobra.Command {
	var (
		server    serverFlags
		file      string
		logFormat string
		count     uint64
	)
	cmd := &cobra.Command{
		Use:   "dump URL",
		Short: "Stream the frames of a device as pcapng",
		Long: `dump captures from a device of an RPCAP server and writes a pcapng stream, to
standard output or a file, until it is interrupted.
` + exitHelp,
		Args: oneURL,
		RunE: func(cmd *cobra.Command, args []string) error {
			d := dumper{streams: s, server: &server, limit: count}
			return d.run(cmd.Context(), args[0], file, logFormat)
		},
	}
	server.registerCapture(cmd.Flags())
	cmd.Flags().StringVarP(&file, "write", "w", "-", "file to write; - is standard output")
	cmd.Flags().Uint64VarP(&count, "count", "c", 0, "stop after this many frames; 0 = never")
	cmd.Flags().StringVar(&logFormat, "log-format", "text", "format of log lines: text or json")
	return cmd
}

// dumper writes frames to a pcapng stream. It implements source.Sink.
type dumper struct {
	streams
	server *serverFlags
	limit  uint64

	w      *capfile.Writer
	ids    map[capture.LinkType]int
	name   string
	frames uint64
	cancel context.CancelCauseFunc
}

var errEnough = errors.New("as many frames as wanted")

func (d *dumper) run(ctx context.Context, text, file, logFormat string) error {
	log, err := newLogger(d.err, logFormat)
	if err != nil {
		return err
	}
	cfg, err := d.server.source(ctx, text, log)
	if err != nil {
		return err
	}
	defer d.server.close()
	out, closeOut, err := d.open(ctx, file)
	if err != nil {
		return err
	}
	ctx, d.cancel = context.WithCancelCause(ctx)
	defer d.cancel(nil)
	d.name, d.ids = cfg.URL.Device, make(map[capture.LinkType]int)
	if d.w, err = capfile.NewWriter(out, "capstan interceptor "+version()); err != nil {
		return errors.Join(cannotStartError{err}, closeOut())
	}
	live := source.NewRPCAP(cfg)
	defer d.server.followFilter(log, live)()
	start := time.Now()
	err = live.Run(ctx, d)
	counters := live.Counters()
	for _, id := range d.ids {
		_ = d.w.WriteStatistics(id, capfile.Statistics{ // errors stick to the writer
			Start: start.UnixNano(), End: time.Now().UnixNano(),
			Received: counters.ServerReceived, Dropped: counters.ServerDropped,
		})
	}
	if werr := errors.Join(d.w.Flush(), closeOut()); werr != nil {
		err = errors.Join(err, &endedEarlyError{fmt.Errorf("write %s: %w", file, werr)})
	}
	fmt.Fprintf(d.err, "%d frames written; the server captured %d and lost %d\n", d.frames, counters.ServerReceived, counters.ServerDropped)
	return err
}

func (d *dumper) open(ctx context.Context, file string) (io.Writer, func() error, error) {
	if file == "-" {
		if isTerminal(d.out) {
			return nil, nil, usageError{errors.New("pcapng is no text for a terminal: use -w FILE or a pipe")}
		}
		out := newImpatient(ctx, "standard output", d.out)
		return out, func() error { out.stop(); return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, nil, cannotStartError{err}
	}
	return f, f.Close, nil
}

// Frame implements source.Sink.
func (d *dumper) Frame(f *capture.Frame) {
	if d.limit > 0 && d.frames == d.limit {
		return
	}
	id, ok := d.ids[f.LinkType]
	if !ok {
		var err error
		if id, err = d.w.AddInterface(capfile.Interface{Name: d.name, LinkType: f.LinkType, SnapLen: d.server.snapLen}); err != nil {
			d.cancel(err)
			return
		}
		d.ids[f.LinkType] = id
	}
	if err := d.w.WriteFrame(id, f); err != nil {
		d.cancel(err)
		return
	}
	if d.frames++; d.frames == d.limit {
		d.cancel(errEnough)
	}
}

// Drained implements source.Sink.
func (d *dumper) Drained() {
	if err := d.w.Flush(); err != nil {
		d.cancel(err)
	}
}

// Idle implements source.Sink.
func (d *dumper) Idle(time.Duration) {}

// Lost implements source.Sink.
func (d *dumper) Lost() {}
