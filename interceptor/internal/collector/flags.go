package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"capstan/interceptor/internal/egress"
	"capstan/interceptor/internal/tlsconf"
)

// Options say where a [Sink] delivers to, and how it gets there.
type Options struct {
	Address string // HOST:PORT of the collector
	Name    string // that its certificate must have, if not HOST
	// TLS verifies the collector, and introduces us to it.
	TLS      tlsconf.Files
	Insecure bool   // plain text
	Token    string // file with a bearer token; empty: none
	// HTTPSProxy and NoProxy are those of egress.Config; ProxyAuthorities is a
	// file that verifies an https proxy.
	HTTPSProxy, NoProxy, ProxyAuthorities string
	Node                                  string // see Hello
	NoCompression                         bool
	// Dial is that of egress.Config.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Register adds the options' flags.
func (o *Options) Register(flags *pflag.FlagSet) {
	flags.StringVar(&o.Address, "collector", "", "HOST:PORT of the collector to deliver records to")
	flags.StringVar(&o.Name, "collector-name", "", "name that its certificate must have, if not HOST")
	flags.StringVar(&o.TLS.Authorities, "collector-ca", "", "PEM file of the authorities for its certificate; default: the system's")
	flags.StringVar(&o.TLS.Certificate, "collector-cert", "", "PEM file with a client certificate for it")
	flags.StringVar(&o.TLS.Key, "collector-key", "", "PEM file with the key of that")
	flags.BoolVar(&o.Insecure, "collector-insecure", false, "deliver in plain text")
	flags.StringVar(&o.Token, "collector-token", "", "file with a bearer token for it; read again for each stream")
	flags.StringVar(&o.HTTPSProxy, "https-proxy", "", "proxy to the collector: HOST:PORT or URL, http or https; default: HTTPS_PROXY in the environment")
	flags.StringVar(&o.NoProxy, "no-proxy", "", "destinations without proxy: names, .suffixes, addresses, prefixes, *; default: NO_PROXY in the environment")
	flags.StringVar(&o.ProxyAuthorities, "proxy-ca", "", "PEM file of the authorities for an https proxy; default: the system's")
	hostname, _ := os.Hostname()
	flags.StringVar(&o.Node, "node", hostname, "name to introduce itself to the collector by")
	flags.BoolVar(&o.NoCompression, "collector-no-compression", false, "deliver uncompressed")
}

// Sink returns the sink that the options describe. agent is program/version.
// What is wrong with files is told now, although they are read again later.
func (o *Options) Sink(agent string) (*Sink, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	var creds credentials.TransportCredentials = insecure.NewCredentials()
	if !o.Insecure {
		if err := o.TLS.Check(); err != nil {
			return nil, err
		}
		creds = o.TLS.Client(o.Name)
	}
	dialer, err := o.dialer()
	if err != nil {
		return nil, err
	}
	c := SinkConfig{
		Address: o.Address, Node: o.Node, Agent: agent, Credentials: creds,
		Dial: dialer.DialContext, NoCompression: o.NoCompression,
	}
	if o.Token != "" {
		c.PerRPC = tlsconf.Token(o.Token)
		if _, err := c.PerRPC.GetRequestMetadata(context.Background()); err != nil {
			return nil, err
		}
	}
	return NewSink(c)
}

// Check tells of what would only show when there is a record to deliver. It opens nothing.
func (o *Options) Check() error {
	host, port, err := net.SplitHostPort(o.Address)
	n, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || host == "" || strings.Contains(host, "/") || perr != nil || n == 0:
		return fmt.Errorf("collector %q: not HOST:PORT", o.Address)
	case o.Node == "" || len(o.Node) > maxName || !utf8.ValidString(o.Node):
		return fmt.Errorf("collector: the node's name has to have 1 to %d bytes of UTF-8", maxName)
	case o.Insecure && (o.TLS != (tlsconf.Files{}) || o.Token != ""):
		return errors.New("collector: plain text contradicts TLS files, and a token needs TLS")
	}
	return nil
}

func (o *Options) dialer() (*egress.Dialer, error) {
	roots, err := tlsconf.Files{Authorities: o.ProxyAuthorities}.Pool()
	if err != nil {
		return nil, err
	}
	return egress.New(egress.Config{HTTPSProxy: o.HTTPSProxy, NoProxy: o.NoProxy, ProxyRoots: roots, Dial: o.Dial})
}
