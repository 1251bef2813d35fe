package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials/insecure"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/egress"
	"capstan/interceptor/internal/own"
	"capstan/interceptor/internal/sink/file"
	"capstan/interceptor/internal/sink/kafka"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/interceptor/internal/sink/otlp"
	"capstan/interceptor/internal/sink/stream"
	"capstan/interceptor/internal/sink/text"
	"capstan/interceptor/internal/tlsconf"
)

// openSink opens a sink of any kind.
func (o *outlets) openSink(c *config.Sink) (delivery.Sink, error) {
	switch {
	case c.Stdout != nil:
		return stream.New(o.stdout, o.form(c), o.left), nil
	case c.File != nil:
		s, err := openFile(c.File)
		if err == nil && o.reads {
			s = &unwaited{s, c.Name, o.left}
		}
		return s, err
	case c.Kafka != nil:
		return o.openKafka(c.Kafka)
	case c.OTLP != nil:
		return o.openOTLP(c.OTLP)
	case c.Collector != nil:
		options := toOptions(c.Collector)
		options.Dial = o.dial()
		return options.Sink(agent())
	}
	return nil, errors.New("a sink of no kind") // files are checked
}

// form returns the form that a sink appends records in, nil if that is not text.
func (o *outlets) form(c *config.Sink) *delivery.Form {
	switch {
	case c.Stdout != nil && c.Stdout.Format != "json":
		if o.color {
			return colorText
		}
		return plainText
	case c.Stdout != nil, c.File != nil, c.Kafka != nil && c.Kafka.Format == "json":
		return ndjson.Lines
	}
	return nil
}

var (
	plainText = &delivery.Form{Append: text.Encoder{}.Append}
	colorText = &delivery.Form{Append: text.Encoder{Color: true}.Append}
)

// dial connects so that the connection is known to be our own.
func (o *outlets) dial() own.DialFunc { return o.own.Dialer(new(net.Dialer).DialContext) }

// agent introduces the interceptor to others.
func agent() string { return "capstan-interceptor/" + version() }

func openFile(c *config.FileSink) (delivery.Sink, error) {
	return file.New(file.Config{
		Path: c.Path, MaxBytes: int64(c.RotateSize), MaxAge: c.RotateAge, Keep: c.Keep, Compress: c.Zstd, Sync: c.SyncToDevice,
	})
}

// unwaited is a sink on a disk that nobody waits for when it is full, or broken: whoever
// reads files can do so again, unlike one who captures.
type unwaited struct {
	delivery.Sink
	name string
	left func(error)
}

// Deliver implements delivery.Sink. The batch is tried again while the reading ends.
func (u *unwaited) Deliver(ctx context.Context, batch []*delivery.Record) error {
	err := u.Sink.Deliver(ctx, batch)
	for _, lasting := range []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EROFS, unix.EIO} {
		if errors.Is(err, lasting) {
			u.left(&unwritableError{u.name, err})
		}
	}
	return err
}

// unwritableError is why the reading of files ended early.
type unwritableError struct {
	sink string
	err  error
}

func (e *unwritableError) Error() string { return fmt.Sprintf("the sink %s: %v", e.sink, e.err) }

func (e *unwritableError) Unwrap() error { return e.err }

func toOptions(c *config.Collector) *collector.Options {
	o := &collector.Options{
		Address: c.Address, Name: c.Name, Insecure: c.Insecure, Token: c.TokenFile,
		TLS:        tlsconf.Files{Authorities: c.CA, Certificate: c.Cert, Key: c.Key},
		HTTPSProxy: string(c.HTTPSProxy), NoProxy: c.NoProxy, ProxyAuthorities: c.ProxyCA, Node: c.Node, NoCompression: c.NoCompression,
	}
	if o.Node == "" {
		o.Node, _ = os.Hostname()
	}
	return o
}

// fromOptions is the inverse of toOptions.
func fromOptions(o *collector.Options) *config.Collector {
	return &config.Collector{
		Address: o.Address, Name: o.Name, Insecure: o.Insecure, TokenFile: o.Token,
		CA: o.TLS.Authorities, Cert: o.TLS.Certificate, Key: o.TLS.Key,
		HTTPSProxy: config.Secret(o.HTTPSProxy), NoProxy: o.NoProxy, ProxyCA: o.ProxyAuthorities, Node: o.Node, NoCompression: o.NoCompression,
	}
}

// tlsFiles are the files of a sink's TLS, checked.
func tlsFiles(c *config.TLS) (tlsconf.Files, error) {
	f := tlsconf.Files{Authorities: c.CA, Certificate: c.Cert, Key: c.Key}
	return f, f.Check()
}

// dialBy connects like dial, by a proxy: that of c, or of the environment if
// that is to count where c has none.
func (o *outlets) dialBy(c *config.Proxy, environment bool) (own.DialFunc, error) {
	if c.URL == "" && !environment {
		return o.dial(), nil
	}
	roots, err := tlsconf.Files{Authorities: c.CA}.Pool()
	if err != nil {
		return nil, err
	}
	d, err := egress.New(egress.Config{HTTPSProxy: string(c.URL), NoProxy: c.NoProxy, ProxyRoots: roots, Dial: o.dial()})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _, address string) (net.Conn, error) { return d.DialContext(ctx, address) }, nil
}

// secured returns dial, whose connections are secured then.
func secured(dial own.DialFunc, f tlsconf.Files, name string) own.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		server := name
		if server == "" {
			server, _, _ = net.SplitHostPort(address)
		}
		return f.Handshake(ctx, conn, server)
	}
}

func (o *outlets) openKafka(c *config.Kafka) (delivery.Sink, error) {
	// HTTPS_PROXY is for the web: no client of Kafka uses it.
	dial, err := o.dialBy(&c.Proxy, false)
	if err != nil {
		return nil, err
	}
	cfg := kafka.Config{
		Brokers: c.Brokers, Topic: c.Topic, JSON: c.Format == "json", Key: kafkaKeys[c.Key],
		Compression: c.Compression, MaxRecord: int(c.MaxRecord), Dial: dial, ClientID: "capstan-interceptor",
	}
	if c.TLS.Enabled {
		files, err := tlsFiles(&c.TLS)
		if err != nil {
			return nil, err
		}
		cfg.Dial = secured(dial, files, c.TLS.Name)
	}
	cfg.SASL = kafka.SASL(c.SASL.Mechanism, c.SASL.User, func() (string, error) { return tlsconf.Secret(c.SASL.PasswordFile) })
	return kafka.New(cfg)
}

var kafkaKeys = map[string]kafka.Key{"connection": kafka.KeyConnection, "server": kafka.KeyServer, "none": kafka.KeyNone}

func (o *outlets) openOTLP(c *config.OTLP) (delivery.Sink, error) {
	files, err := tlsFiles(&c.TLS)
	if err != nil {
		return nil, err
	}
	dial, err := o.dialBy(&c.Proxy, c.TLS.Enabled || strings.HasPrefix(c.Endpoint, "https:"))
	if err != nil {
		return nil, err
	}
	headers := map[string]string{own.Header: o.own.Instance()}
	for name, value := range c.Headers {
		headers[name] = string(value)
	}
	cfg := otlp.Config{
		Endpoint: c.Endpoint, HTTP: c.Protocol == "http", Traces: c.Traces, Metrics: c.Metrics, Gzip: c.Compression == "gzip",
		Headers: headers, Service: c.Service, Agent: agent(), Timeout: c.Timeout,
		Credentials: insecure.NewCredentials(), Dial: dial, DialTLS: secured(dial, files, c.TLS.Name),
	}
	if c.TLS.Enabled {
		cfg.Credentials = files.Client(c.TLS.Name)
	}
	return otlp.New(cfg)
}
