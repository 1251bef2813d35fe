// Package egress makes the connections that leave the cluster: through an
// HTTP(S) proxy where one is configured, for gRPC as for HTTP. Which
// destinations the proxy is not for is decided by golang.org/x/net/http/httpproxy,
// whose documentation defines the list. A proxy that fails is an error, never a
// reason to connect directly.
package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Config says which proxy there is. An explicit HTTPSProxy or NoProxy replaces
// what the environment says of it.
type Config struct {
	// HTTPSProxy is the proxy: HOST:PORT, or a URL with http or https. A user
	// and password in it are sent to it (basic authentication). Empty means
	// the environment's HTTPS_PROXY.
	HTTPSProxy string
	// NoProxy lists destinations to connect to directly: names, .suffixes, IP
	// addresses, CIDR prefixes, each with an optional port, or "*" for all.
	// Empty means the environment's NO_PROXY.
	NoProxy string
	// ProxyRoots verify an https proxy; nil means the system's authorities.
	ProxyRoots *x509.CertPool
	// Timeout bounds the way to a connection; 0 means 30 s.
	Timeout time.Duration
	// Dial makes the TCP connections; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Getenv is os.Getenv but for tests.
	Getenv func(string) string
}

const defaultTimeout = 30 * time.Second

// Dialer makes connections. Any goroutine may use it.
type Dialer struct {
	proxyFor func(*url.URL) (*url.URL, error)
	roots    *x509.CertPool
	timeout  time.Duration
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a Dialer. The error never tells the proxy's password.
func New(c Config) (*Dialer, error) {
	getenv := c.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	either := func(explicit string, names ...string) string {
		for _, n := range names {
			if explicit == "" {
				explicit = getenv(n)
			}
		}
		return strings.TrimSpace(explicit)
	}
	proxy := either(c.HTTPSProxy, "HTTPS_PROXY", "https_proxy")
	if err := checkProxy(proxy); err != nil {
		return nil, err
	}
	rules := httpproxy.Config{HTTPSProxy: proxy, NoProxy: either(c.NoProxy, "NO_PROXY", "no_proxy")}
	d := &Dialer{proxyFor: rules.ProxyFunc(), roots: c.ProxyRoots, timeout: c.Timeout, dial: c.Dial}
	if d.dial == nil {
		d.dial = new(net.Dialer).DialContext
	}
	if d.timeout <= 0 {
		d.timeout = defaultTimeout
	}
	return d, nil
}

// checkProxy refuses what httpproxy would take in silence and use in no or
// another way.
func checkProxy(text string) error {
	if text == "" {
		return nil
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // its text quotes the URL
		return errors.New("proxy: neither HOST:PORT nor a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("proxy: scheme %q is neither http nor https", u.Scheme)
	case u.Hostname() == "":
		return errors.New("proxy: no host")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return fmt.Errorf("proxy %s: more than a host and a port", u.Host)
	}
	return nil
}

// ProxyFor returns the proxy for a destination, nil if it is connected to
// directly.
func (d *Dialer) ProxyFor(address string) (*url.URL, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("destination %q: %w", address, err)
	}
	proxy, err := d.proxyFor(&url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)})
	if err != nil {
		return nil, errors.New("proxy: neither HOST:PORT nor a URL")
	}
	return proxy, nil
}

// HTTPProxy is ProxyFor for http.Transport.Proxy. Requests to http and https
// URLs go by the same rules.
func (d *Dialer) HTTPProxy(r *http.Request) (*url.URL, error) {
	return d.proxyFor(&url.URL{Scheme: "https", Host: r.URL.Host})
}

// DialContext connects to address, HOST:PORT, over TCP: directly, or through a
// tunnel of the proxy, which resolves the name then.
func (d *Dialer) DialContext(ctx context.Context, address string) (net.Conn, error) {
	proxy, err := d.ProxyFor(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if proxy == nil {
		return d.dial(ctx, "tcp", address)
	}
	conn, err := d.dialProxy(ctx, proxy)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	tunnel, err := connect(ctx, conn, proxy.User, address)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	return tunnel, nil
}

// dialProxy connects to the proxy itself.
func (d *Dialer) dialProxy(ctx context.Context, proxy *url.URL) (net.Conn, error) {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	}
	conn, err := d.dial(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil || proxy.Scheme != "https" {
		return conn, err
	}
	secured := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.roots, ServerName: proxy.Hostname()})
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// maxAnswer bounds the header of the proxy's answer.
const maxAnswer = 64 << 10

// connect asks the proxy on conn for a tunnel (RFC 9110 §9.3.6).
func connect(ctx context.Context, conn net.Conn, user *url.Userinfo, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails if it is closed
	defer stop()
	request := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if user != nil {
		password, _ := user.Password()
		request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return nil, reason(ctx, err)
	}
	limited := &io.LimitedReader{R: conn, N: maxAnswer}
	in := bufio.NewReader(limited)
	answer, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		if limited.N <= 0 {
			err = fmt.Errorf("the header of its answer is longer than %d bytes", maxAnswer)
		}
		return nil, reason(ctx, err)
	}
	if answer.StatusCode/100 != 2 { // all of these make a tunnel
		return nil, &RefusedError{Status: answer.StatusCode, Text: answer.Status}
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	early, err := in.Peek(in.Buffered())
	if err != nil || len(early) == 0 {
		return conn, err
	}
	return &tunnel{Conn: conn, early: early}, nil
}

// reason is the context's end, if that is why err came.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// RefusedError is a proxy's answer that gives no tunnel.
type RefusedError struct {
	Status int    // such as 407
	Text   string // such as "407 Proxy Authentication Required"
}

// Error tells the status, and for 407 what to do.
func (e *RefusedError) Error() string {
	if e.Status == http.StatusProxyAuthRequired {
		return fmt.Sprintf("it refuses the tunnel: %q; user and password are part of its address: http://USER:PASSWORD@HOST:PORT", e.Text)
	}
	return fmt.Sprintf("it refuses the tunnel: %q", e.Text)
}

// tunnel is a connection of which the first bytes came with the proxy's answer.
type tunnel struct {
	net.Conn
	early []byte
}

// Read implements net.Conn.
func (t *tunnel) Read(p []byte) (int, error) {
	if len(t.early) > 0 {
		n := copy(p, t.early)
		t.early = t.early[n:]
		return n, nil
	}
	return t.Conn.Read(p)
}
