// Package command is the command line of the interceptor.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"capstan/interceptor/internal/lograte"
	"capstan/interceptor/internal/source"
)

// Exit statuses, as the help text documents them.
const (
	ExitDone        = 0
	ExitUsage       = 1
	ExitCannotStart = 2
	ExitLost        = 3
)

const exitHelp = `
Exit status:
  0  done
  1  wrong usage
  2  cannot start: a source or file can't be opened
  3  ended early: a source was lost and could not be regained, a file is
     corrupt or was not read to its end, or records could not be written`

// streams are the standard streams of a command.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// Run is main without globals. It returns the exit status.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process the hard way.
	defer context.AfterFunc(ctx, stop)()

	told := newImpatient(ctx, "standard error", stderr)
	defer told.stop()
	stderr = told
	s := streams{in: stdin, out: stdout, err: stderr}
	root := &cobra.Command{
		Use:   "interceptor",
		Short: "Tell the HTTP exchanges in captured traffic",
		Long: `interceptor captures from RPCAP servers (rpcapd of Capstan or libpcap) or reads
capture files, reassembles TCP and tells each HTTP exchange as one record.
Records go to standard output, everything else to standard error.

Sources: rpcap://HOST[:PORT]/DEVICE, rpcaps://HOST[:PORT]/DEVICE (TLS),
rpcap+unix://SOCKET/DEVICE with the socket's path percent-encoded, such as
rpcap+unix://%2Frun%2Frpcapd.sock/any
` + exitHelp,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(*cobra.Command, []string) error { return usageError{errors.New("which command?")} },
	}
	root.AddCommand(runCommand(s), readCommand(s), watchCommand(s), statusCommand(s), ledgerCommand(s), setCommand(s),
		devicesCommand(s), dumpCommand(s), configCommand(s), healthCommand(s))
	for _, cmd := range root.Commands() {
		truths(cmd.Flags())
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitDone
	}
	fmt.Fprintf(stderr, "interceptor: %s\n", shownError(err))
	status := exitStatus(err)
	if status == ExitUsage {
		fmt.Fprintf(stderr, "Try %q.\n", cmd.CommandPath()+" --help")
	}
	return status
}

// shownError returns what err says, with what terminals obey escaped: names of files, and
// what captures hold, may be anybody's. An error may have several lines.
func shownError(err error) string {
	var b strings.Builder
	for _, r := range err.Error() {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		escaped := strconv.QuoteRune(r)
		b.WriteString(escaped[1 : len(escaped)-1])
	}
	return b.String()
}

// exitStatus tells the status that an error means.
func exitStatus(err error) int {
	var (
		start *source.StartError
		lost  *source.LostError
		early *endedEarlyError
	)
	switch {
	case errors.As(err, &early), errors.As(err, &lost):
		return ExitLost
	case errors.As(err, &start):
		return ExitCannotStart
	case errors.As(err, &usageError{}):
		return ExitUsage
	case isCannotStart(err):
		return ExitCannotStart
	}
	return ExitUsage // cobra's own: unknown command, wrong number of arguments
}

// cannotStartError is a command that could not begin its work.
type cannotStartError struct{ error }

func (e cannotStartError) Unwrap() error { return e.error }

func isCannotStart(err error) bool { return errors.As(err, &cannotStartError{}) }

// endedEarlyError is a command that began its work and could not go on.
type endedEarlyError struct{ error }

func (e *endedEarlyError) Unwrap() error { return e.error }

// newLogger returns a logger for standard error.
func newLogger(w io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(lograte.New(slog.NewTextHandler(w, nil))), nil
	case "json":
		return slog.New(lograte.New(slog.NewJSONHandler(w, nil))), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q is neither text nor json", format)}
}

// version tells the version that the Go tool has built in.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v, revision := info.Main.Version, ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	if v == "" || v == "(devel)" {
		v = "development build"
	}
	return v + revision + " " + info.GoVersion
}
