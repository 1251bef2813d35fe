package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"capstan/interceptor/internal/terminal"
	"capstan/interceptor/internal/tlsconf"
	capstanv1 "capstan/proto/capstan/v1"
)

// clientFlags tell how to reach a running interceptor.
type clientFlags struct {
	address string
	name    string
	tls     tlsconf.Files
}

func (f *clientFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.address, "api", "a", autoSocket, "API of the interceptor: path of its socket, or HOST:PORT; auto: "+autoHelp)
	flags.StringVar(&f.tls.Authorities, "tls-ca", "", "PEM file of the authorities for its certificate at HOST:PORT; default: the system's")
	flags.StringVar(&f.tls.Certificate, "tls-cert", "", "PEM file with the client certificate for HOST:PORT")
	flags.StringVar(&f.tls.Key, "tls-key", "", "PEM file with the key of that certificate")
	flags.StringVar(&f.name, "tls-name", "", "name that the certificate must have, if not HOST")
}

// maxReceive is more than an interceptor sends.
const maxReceive = 64 << 20

// connect returns a client, which doesn't connect before it is used.
func (f *clientFlags) connect() (capstanv1.InterceptorClient, *grpc.ClientConn, error) {
	if f.address == autoSocket {
		f.address = defaultSocket()
	}
	if f.address == "" {
		return nil, nil, usageError{errors.New("--api is not given")}
	}
	target, creds := "passthrough:///"+f.address, insecure.NewCredentials()
	if strings.Contains(f.address, "/") || !strings.Contains(f.address, ":") {
		target = "unix:" + f.address
	} else {
		if err := f.tls.Check(); err != nil {
			return nil, nil, cannotStartError{err}
		}
		creds = f.tls.Client(f.name)
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)))
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--api %q: %w", f.address, err)}
	}
	return capstanv1.NewInterceptorClient(conn), conn, nil
}

// with calls f with a client.
func (f *clientFlags) with(do func(capstanv1.InterceptorClient) error) error {
	client, conn, err := f.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return f.failed(do(client))
}

// failed says what a failed call means for the command.
func (f *clientFlags) failed(err error) error {
	s, ok := status.FromError(err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return &endedEarlyError{err}
	case s.Code() == codes.InvalidArgument:
		return usageError{errors.New(s.Message())}
	case s.Code() == codes.Unavailable:
		return cannotStartError{fmt.Errorf("no interceptor answers at %s: %s", f.address, s.Message())}
	}
	return cannotStartError{errors.New(s.Message())}
}

func watchCommand(s streams) *cobra.Command {
	var (
		client clientFlags
		query  terminal.Query
		lines  = terminal.Lines{Version: version()}
		color  string
	)
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow the records of a running interceptor",
		Long: `watch shows the records of a running interceptor as they come: on the whole
terminal, or line by line where standard output is none or --output is given.
A filter is a CEL expression over exchange, such as
  exchange.response.status >= 500 && exchange.request.method == "POST"
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if lines.Color, err = useColor(s.out, color); err != nil {
				return err
			}
			full := !cmd.Flags().Changed("output") && !cmd.Flags().Changed("count") && isScreen(s)
			return client.with(func(c capstanv1.InterceptorClient) error {
				if full {
					return terminal.Screen(cmd.Context(), c, query, client.address, s.in, s.out)
				}
				out := newImpatient(cmd.Context(), "standard output", s.out)
				defer out.stop()
				return lines.Watch(cmd.Context(), c, query, out, s.err)
			})
		},
	}
	client.register(cmd.Flags())
	cmd.Flags().StringVarP(&query.Filter, "filter", "f", "", "CEL expression that is true for the records wanted")
	cmd.Flags().Uint32VarP(&query.Backlog, "backlog", "b", 100, "how many of the latest records to begin with")
	cmd.Flags().BoolVar(&query.OmitBodies, "no-bodies", false, "leave out what bodies contain")
	cmd.Flags().StringVarP(&lines.Format, "output", "o", "text", "line by line: text, json (one object per line) or har")
	cmd.Flags().IntVarP(&lines.Count, "count", "n", 0, "line by line, and end after so many records; 0 = never")
	cmd.Flags().StringVar(&color, "color", "auto", "colour in text lines: auto, always or never")
	return cmd
}

// isScreen reports whether there is a terminal for a screen and keys.
func isScreen(s streams) bool {
	in, ok := s.in.(*os.File)
	term := os.Getenv("TERM")
	return ok && isTerminal(in) && isTerminal(s.out) && term != "" && term != "dumb"
}

func statusCommand(s streams) *cobra.Command {
	var (
		client   clientFlags
		asJSON   bool
		interval time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell what a running interceptor is doing",
		Long: `status tells of a running interceptor: its sources, rates and sinks, what could
not be read, and why.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return client.with(func(c capstanv1.InterceptorClient) error {
				if asJSON {
					return terminal.StatusJSON(cmd.Context(), c, s.out)
				}
				return terminal.Status(cmd.Context(), c, interval, s.out)
			})
		},
	}
	client.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON (capstan.v1.GetStatusResponse)")
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "time over which rates are measured; 0 = no rates")
	return cmd
}

func ledgerCommand(s streams) *cobra.Command {
	var (
		client clientFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Tell where every frame and byte went in a running interceptor",
		Long:  "ledger prints the account of a running interceptor.\n" + exitHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return client.with(func(c capstanv1.InterceptorClient) error {
				return terminal.Ledger(cmd.Context(), c, asJSON, s.out)
			})
		},
	}
	client.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON (capstan.v1.GetLedgerResponse)")
	return cmd
}

func setCommand(s streams) *cobra.Command {
	var (
		client   clientFlags
		source   string
		settings capstanv1.CaptureSettings
	)
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change what a running interceptor captures",
		Long: `set changes the capture of one source until the interceptor's next start. What
is not given stays as it is. Another filter is used at once; for another device
or share of connections the capture is opened anew, and it is told for how long
nothing was captured.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if given := cmd.Flags().Changed; !given("device") && !given("filter") && !given("one-in-flows") {
				return usageError{errors.New("set what: --filter, --device or --one-in-flows?")}
			}
			return client.with(func(c capstanv1.InterceptorClient) error {
				request, err := merged(cmd.Context(), c, source, &settings, cmd.Flags().Changed)
				if err != nil {
					return err
				}
				answer, err := c.SetCapture(cmd.Context(), request)
				if err != nil {
					return err
				}
				if d := answer.GetInterruption(); d != nil {
					fmt.Fprintf(s.out, "set; nothing was captured for %v\n", d.AsDuration().Round(time.Millisecond))
				} else {
					fmt.Fprintln(s.out, "set, without interruption")
				}
				return nil
			})
		},
	}
	client.register(cmd.Flags())
	cmd.Flags().StringVarP(&source, "source", "s", "", "which source, by the name that status tells; may be left out if there is one")
	cmd.Flags().StringVar(&settings.Device, "device", "", "device with its parameters, such as any?dir=in")
	cmd.Flags().StringVar(&settings.Filter, "filter", "", "capture filter (pcap-filter(7)); empty: everything")
	cmd.Flags().Uint32Var(&settings.OneInFlows, "one-in-flows", 1, "keep one connection in so many")
	return cmd
}

// merged fills in the settings that are not given with those in force.
func merged(ctx context.Context, c capstanv1.InterceptorClient, source string, s *capstanv1.CaptureSettings, given func(string) bool) (*capstanv1.SetCaptureRequest, error) {
	now, err := c.GetStatus(ctx, &capstanv1.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	for _, src := range now.GetSources() {
		if source != "" && src.GetName() != source {
			continue
		}
		if !given("device") {
			s.Device = src.GetSettings().GetDevice()
		}
		if !given("filter") {
			s.Filter = src.GetSettings().GetFilter()
		}
		if !given("one-in-flows") {
			s.OneInFlows = src.GetSettings().GetOneInFlows()
		}
		break
	}
	return &capstanv1.SetCaptureRequest{Source: source, Settings: s}, nil
}
