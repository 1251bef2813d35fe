// Package health asks a running daemon whether it serves.
package health

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
	"capstan/pkg/smallfile"
)

// Usage is the text of --help.
const Usage = `USAGE: rpcapd health [--server URL] [--timeout TIME] [--tls-ca FILE | --insecure]

Connects to a daemon, logs in without credentials and lists the interfaces.

  --server URL     the daemon: rpcap://HOST[:PORT]/, rpcaps://HOST[:PORT]/, or
                   rpcap+unix:// and the socket's path, with %2F for each slash
                   (default: rpcap://127.0.0.1/)
  --timeout TIME   for all of it (default: 5s)
  --tls-ca FILE    who may have signed the daemon's certificate, PEM (default:
                   the system's authorities)
  --insecure       take any certificate

A daemon that lets nobody in without a password is healthy when it says so,
which it counts as a failed login; a probe had better use its unix socket.

EXIT STATUS: 0 healthy; 1 not; 2 bad usage.
`

// The exit statuses.
const (
	healthy   = 0
	unhealthy = 1
	badUsage  = 2
)

// options are those of the command line.
type options struct {
	server   string
	timeout  time.Duration
	ca       string
	insecure bool
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("health", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.server, "server", "rpcap://127.0.0.1/", "")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "")
	f.StringVar(&o.ca, "tls-ca", "", "")
	f.BoolVar(&o.insecure, "insecure", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no option", f.Arg(0))
	}
	return o, nil
}

// Run is the command. It returns the exit status.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, Usage)
		return healthy
	}
	var u rpcap.URL
	if err == nil {
		u, err = rpcap.ParseURL(o.server)
	}
	if err != nil {
		fmt.Fprintf(stderr, "rpcapd health: %v\n", err)
		return badUsage
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	text, err := probe(ctx, u, o)
	if err != nil {
		fmt.Fprintf(stderr, "unhealthy: %s\n", oneLine(err.Error()))
		return unhealthy
	}
	fmt.Fprintln(stdout, "healthy: "+text)
	return healthy
}

// probe tells how a daemon is well, or why it isn't.
func probe(ctx context.Context, u rpcap.URL, o options) (string, error) {
	tlsConfig, err := o.tlsConfig()
	if err != nil {
		return "", err
	}
	c, err := rpcapclient.Dial(ctx, u, rpcapclient.Options{TLS: tlsConfig})
	refused := (*rpcap.RemoteError)(nil)
	switch {
	case errors.As(err, &refused) && refused.Code == rpcap.CodeAuthFailed:
		return "it asks for a password", nil
	case err != nil:
		return "", err
	}
	defer c.Close()
	interfaces, err := c.Interfaces(ctx)
	switch {
	case errors.As(err, &refused) && refused.Code == rpcap.CodeNoRemoteIf:
		return "no interfaces", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("%d interfaces", len(interfaces)), nil
}

func (o options) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{InsecureSkipVerify: o.insecure}
	if o.ca != "" {
		var err error
		if cfg.RootCAs, err = smallfile.Authorities(o.ca); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// oneLine keeps what a server sent from looking like more than that.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
