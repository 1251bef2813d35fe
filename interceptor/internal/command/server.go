package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/remote"
	"capstan/interceptor/internal/source"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// serverFlags are the flags of the commands that speak to a capture server.
type serverFlags struct {
	caFile       string
	insecure     bool
	passwordFile string
	startTimeout time.Duration

	// Of a capture.
	snapLen          int
	promiscuous      bool
	filter           string
	filterFile       string
	transport        remote.Transport
	sampling         remote.Sampling
	listen           string
	reconnectTimeout time.Duration
	flags            *pflag.FlagSet

	listener *rpcapclient.Listener // of source
}

// defaultStartTimeout is how long to try to reach a server that is dialled.
const defaultStartTimeout = 10 * time.Second

// register adds the flags of every command.
func (f *serverFlags) register(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.caFile, "tls-ca", "", "file of PEM certificates to trust for rpcaps instead of the system's")
	flags.BoolVar(&f.insecure, "tls-insecure", false, "do not verify the server's certificate (rpcaps)")
	flags.StringVar(&f.passwordFile, "password-file", "", "file with the password of the URL's user; default is that in "+remote.PasswordVariable)
	flags.DurationVar(&f.startTimeout, "connect-timeout", defaultStartTimeout, "how long to try to reach a server at the start")
	positive(flags, "connect-timeout")
}

// registerCapture adds those of the commands that capture, too.
func (f *serverFlags) registerCapture(flags *pflag.FlagSet) {
	f.register(flags)
	flags.IntVar(&f.snapLen, "snaplen", 0, "bytes to capture of each frame; 0 = all")
	flags.BoolVar(&f.promiscuous, "promiscuous", false, "ask for promiscuous mode")
	flags.StringVarP(&f.filter, "filter", "f", "", "what to capture, as a filter expression (pcap-filter(7)), such as 'tcp port 80'")
	flags.StringVar(&f.filterFile, "filter-file", "", "file with the filter expression; SIGHUP reads it again and replaces the filter of the running capture")
	flags.TextVar(&f.transport, "transport", remote.Transport{}, "which `side` opens the data connection: connect (this one), accept (the server), datagram (none: UDP, which may lose frames)")
	flags.TextVar(&f.sampling, "sampling", remote.Sampling{}, "`rule` to thin out by: count:N one frame in N, timer:N one frame and then none for N ms")
	flags.StringVar(&f.listen, "listen", "", "[HOST]:PORT to wait at for a daemon in active mode, which is the host of the source (0.0.0.0: any host); without --connect-timeout for ever")
	flags.DurationVar(&f.reconnectTimeout, "reconnect-timeout", 0, "how long to try to regain a lost server; 0 = for ever")
	sizes(flags, "snaplen")
	notNegative(flags, "snaplen", "reconnect-timeout")
}

// client returns the options of a session with u, and completes u's password.
func (f *serverFlags) client(u *rpcap.URL) (rpcapclient.Options, error) {
	o := rpcapclient.Options{DialTimeout: f.startTimeout}
	if err := remote.Password(u, f.passwordFile); err != nil {
		return o, cannotStartError{err}
	}
	var err error
	if o.TLS, err = remote.TLS(f.caFile, f.insecure); err != nil {
		return o, cannotStartError{err}
	}
	return o, nil
}

// source returns the configuration of a capture from the device that text
// names. It may hold a listener until close is called.
func (f *serverFlags) source(ctx context.Context, text string, log *slog.Logger) (source.RPCAPConfig, error) {
	u, err := parseSource(text)
	if err != nil {
		return source.RPCAPConfig{}, err
	}
	filter, err := f.expression()
	if err != nil {
		return source.RPCAPConfig{}, err
	}
	if u.Scheme == rpcap.SchemeTLS && f.transport.Transport == rpcapclient.TransportDatagram {
		return source.RPCAPConfig{}, usageError{errors.New("--transport datagram: datagrams can't be sent over TLS (rpcaps)")}
	}
	options, err := f.client(&u)
	if err != nil {
		return source.RPCAPConfig{}, err
	}
	cfg := source.RPCAPConfig{
		URL: u, SnapLen: f.snapLen, Promiscuous: f.promiscuous, Filter: filter, Transport: f.transport.Transport, Sampling: f.sampling,
		StartTimeout: f.startTimeout, ReconnectTimeout: f.reconnectTimeout, Client: options, Log: log,
	}
	if f.listen == "" {
		return cfg, nil
	}
	if !f.flags.Changed("connect-timeout") {
		cfg.StartTimeout = -1 // a daemon tries each half minute or so
	}
	cfg.Listener, err = f.listenFor(ctx, u, options)
	f.listener = cfg.Listener
	return cfg, err
}

// maxFilter is the length of the longest filter expression.
const maxFilter = 64 << 10

// expression returns the filter expression.
func (f *serverFlags) expression() (string, error) {
	if err := f.checkFilter(); err != nil || f.filterFile == "" {
		return f.filter, err
	}
	file, err := os.Open(f.filterFile)
	if err != nil {
		return "", cannotStartError{fmt.Errorf("--filter-file: %w", err)}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFilter+1)) // CheckFilter refuses what is too long
	if err == nil {
		err = remote.CheckFilter(string(text))
	}
	if err != nil {
		return "", cannotStartError{fmt.Errorf("--filter-file %s: %w", f.filterFile, err)}
	}
	return strings.TrimSpace(string(text)), nil
}

// checkFilter tells what is wrong with the flags of the filter.
func (f *serverFlags) checkFilter() error {
	if f.filterFile != "" && f.filter != "" {
		return usageError{errors.New("--filter and --filter-file can't be used together")}
	}
	if err := remote.CheckFilter(f.filter); err != nil {
		return usageError{fmt.Errorf("--filter: %w", err)}
	}
	return nil
}

// filterSetter is a capture whose filter can be replaced while it runs.
type filterSetter interface{ SetFilter(expression string) }

// followFilter reads the file of the filter again for each SIGHUP, and sets the
// filter of the captures, until stop is called.
func (f *serverFlags) followFilter(log *slog.Logger, captures ...filterSetter) (stop func()) {
	if f.filterFile == "" {
		return func() {}
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var wg sync.WaitGroup
	wg.Go(func() { // ended by stop
		for range hangups {
			expression, err := f.expression()
			if err != nil {
				log.Warn("the filter is not replaced", "err", err)
				continue
			}
			for _, c := range captures {
				c.SetFilter(expression)
			}
		}
	})
	return func() { signal.Stop(hangups); close(hangups); wg.Wait() }
}

// close frees what source holds.
func (f *serverFlags) close() {
	if f.listener != nil {
		f.listener.Close()
	}
}

// listenFor listens for the daemon on u's host.
func (f *serverFlags) listenFor(ctx context.Context, u rpcap.URL, options rpcapclient.Options) (*rpcapclient.Listener, error) {
	if u.Scheme == rpcap.SchemeUnix {
		return nil, usageError{errors.New("--listen is for daemons that connect by TCP, not for a unix socket")}
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return nil, usageError{fmt.Errorf("--listen: %w", err)}
	}
	allowed, err := hostPrefixes(ctx, u.Host)
	if err != nil {
		return nil, cannotStartError{err}
	}
	if _, err := netip.ParseAddr(u.Host); err != nil { // otherwise it is the address that the daemon connects from
		options.TLS.ServerName = u.Host
	}
	l, err := rpcapclient.Listen(ctx, f.listen, rpcapclient.ListenOptions{
		Options: options, Allow: allowed, User: u.User, Password: u.Password, Secure: u.Scheme == rpcap.SchemeTLS,
	})
	if err != nil {
		return nil, cannotStartError{err}
	}
	return l, nil
}

// hostPrefixes returns the addresses of a host; nil, which stands for every
// host, for an unspecified address.
func hostPrefixes(ctx context.Context, host string) ([]netip.Prefix, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve the daemon's name: %w", err)
	}
	var prefixes []netip.Prefix
	for _, a := range addrs {
		if a = a.Unmap(); a.IsUnspecified() {
			return nil, nil
		}
		prefixes = append(prefixes, netip.PrefixFrom(a.WithZone(""), a.BitLen()))
	}
	return prefixes, nil
}

// parseSource parses the URL of a device to capture from.
func parseSource(text string) (rpcap.URL, error) {
	u, err := rpcap.ParseURL(text)
	switch {
	case err != nil:
		return u, usageError{err}
	case u.Scheme == rpcap.SchemeLocal:
		return u, usageError{fmt.Errorf("source %q names no host: write rpcap://HOST/DEVICE", text)}
	case u.Device == "":
		return u, usageError{fmt.Errorf("source %q names no device: %q lists them", u, "interceptor devices "+u.String())}
	}
	return u, nil
}
