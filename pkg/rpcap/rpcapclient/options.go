package rpcapclient

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// Options of [Dial]. The zero value is ready for use.
type Options struct {
	// DialTimeout bounds the way to a connection: resolving the name, all
	// attempts to connect, and the TLS handshake. It holds for the data
	// connection again. 0 means [DefaultDialTimeout].
	DialTimeout time.Duration
	// RequestTimeout bounds each request, from its first byte to its answer's
	// last. 0 means [DefaultRequestTimeout].
	RequestTimeout time.Duration
	// TLS is used with rpcaps for both connections. The server's certificate
	// is verified, for the host of the URL unless ServerName is set; to skip
	// that needs an explicit InsecureSkipVerify. Nil is the zero Config.
	// Deviation: libpcap's client accepts any certificate.
	TLS *tls.Config
}

// What the zero [Options] mean.
const (
	DefaultDialTimeout    = 10 * time.Second
	DefaultRequestTimeout = 15 * time.Second
)

// closeTimeout bounds the CLOSE that Close sends.
const closeTimeout = time.Second

func (o Options) withDefaults() Options {
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	return o
}

// tlsConfig returns the configuration for connections to host.
func (o Options) tlsConfig(host string) *tls.Config {
	c := o.TLS.Clone()
	if c == nil {
		c = &tls.Config{}
	}
	if c.ServerName == "" {
		c.ServerName = host
		if a, err := netip.ParseAddr(host); err == nil {
			c.ServerName = a.WithZone("").String() // certificates know no zones
		}
	}
	return c
}
