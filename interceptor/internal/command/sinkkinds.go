package command

import (
	"errors"
	"net"
	"os"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/own"
	"capstan/interceptor/internal/sink/file"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/interceptor/internal/sink/stream"
	"capstan/interceptor/internal/sink/text"
	"capstan/interceptor/internal/tlsconf"
)

// openSink opens a sink of any kind.
func (o *outlets) openSink(c *config.Sink) (delivery.Sink, error) {
	switch {
	case c.Stdout != nil:
		encode := stream.Encode(text.Encoder{Color: o.color}.Append)
		if c.Stdout.Format == "json" {
			encode = ndjson.Append
		}
		return stream.New(o.stdout, encode), nil
	case c.File != nil:
		return openFile(c.File)
	case c.Collector != nil:
		options := toOptions(c.Collector)
		options.Dial = o.dial()
		return options.Sink(agent())
	}
	return nil, errors.New("this version has no sinks of the kind " + c.Kind())
}

// dial connects so that the connection is known to be our own.
func (o *outlets) dial() own.DialFunc { return o.own.Dialer(new(net.Dialer).DialContext) }

// agent introduces the interceptor to others.
func agent() string { return "capstan-interceptor/" + version() }

func openFile(c *config.FileSink) (delivery.Sink, error) {
	return file.New(file.Config{
		Path: c.Path, MaxBytes: int64(c.RotateSize), MaxAge: c.RotateAge, Keep: c.Keep, Compress: c.Zstd, Sync: c.SyncToDevice,
	})
}

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
