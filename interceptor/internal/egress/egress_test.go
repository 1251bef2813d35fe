package egress

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// noEnvironment is an environment without anything.
func noEnvironment(string) string { return "" }

func newDialer(t *testing.T, c Config) *Dialer {
	t.Helper()
	if c.Getenv == nil {
		c.Getenv = noEnvironment
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestNoProxyRules holds the decision against httpproxy's for https URLs, as a
// table, for gRPC addresses and for HTTP.
func TestNoProxyRules(t *testing.T) {
	destinations := []string{
		"example.com:443", "www.example.com:443", "example.com:8443", "notexample.com:443", "10.1.2.3:443", "10.1.2.3:9", "192.0.2.7:443",
		"[2001:db8::1]:443", "[2001:db8::1]:4317", "localhost:443", "127.0.0.1:443", "[::1]:443", "collector.svc:4317", "a.cluster.local:443",
	}
	for _, rule := range []struct {
		list   string
		direct []string // besides localhost, which httpproxy never sends to a proxy
	}{
		{"", nil},
		{"*", destinations},
		{"example.com", []string{"example.com:443", "www.example.com:443", "example.com:8443"}},
		{".example.com", []string{"www.example.com:443"}},
		{"*.example.com", []string{"www.example.com:443"}},
		{"example.com:8443", []string{"example.com:8443"}},
		{"10.0.0.0/8", []string{"10.1.2.3:443", "10.1.2.3:9"}},
		{"10.1.2.3:9", []string{"10.1.2.3:9"}},
		{"192.0.2.7, .svc ,cluster.local", []string{"192.0.2.7:443", "collector.svc:4317", "a.cluster.local:443"}},
		{"2001:db8::/32", []string{"[2001:db8::1]:443", "[2001:db8::1]:4317"}},
		{"[2001:db8::1]:4317", []string{"[2001:db8::1]:4317"}},
	} {
		d := newDialer(t, Config{HTTPSProxy: "proxy.invalid:3128", NoProxy: rule.list})
		oracle := (&httpproxy.Config{HTTPSProxy: "proxy.invalid:3128", NoProxy: rule.list}).ProxyFunc()
		for _, to := range destinations {
			proxy, err := d.ProxyFor(to)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.HasPrefix(to, "localhost") || strings.HasPrefix(to, "127.") || strings.HasPrefix(to, "[::1]")
			for _, direct := range rule.direct {
				want = want || direct == to
			}
			if direct := proxy == nil; direct != want {
				t.Errorf("no-proxy %q: %s direct: %v, want %v", rule.list, to, direct, want)
			}
			u, err := oracle(&url.URL{Scheme: "https", Host: to})
			if err != nil || (u == nil) != (proxy == nil) {
				t.Errorf("no-proxy %q: %s: httpproxy says %v, %v", rule.list, to, u, err)
			}
			u, err = d.HTTPProxy(&http.Request{URL: &url.URL{Scheme: "http", Host: to}})
			if err != nil || (u == nil) != (proxy == nil) {
				t.Errorf("no-proxy %q: %s: over HTTP %v, %v", rule.list, to, u, err)
			}
		}
	}
}

// Explicit settings come first, the environment second, each for itself.
func TestEnvironment(t *testing.T) {
	env := map[string]string{"HTTPS_PROXY": "env.invalid:1", "NO_PROXY": "direct.invalid"}
	getenv := func(name string) string { return env[name] }
	for _, tt := range []struct {
		c      Config
		to     string
		expect string
	}{
		{Config{}, "x.invalid:443", "env.invalid:1"},
		{Config{}, "direct.invalid:443", ""},
		{Config{HTTPSProxy: "flag.invalid:2"}, "x.invalid:443", "flag.invalid:2"},
		{Config{HTTPSProxy: "flag.invalid:2"}, "direct.invalid:443", ""},
		{Config{NoProxy: "x.invalid"}, "x.invalid:443", ""},
		{Config{NoProxy: "x.invalid"}, "direct.invalid:443", "env.invalid:1"},
	} {
		tt.c.Getenv = getenv
		proxy, err := newDialer(t, tt.c).ProxyFor(tt.to)
		got := ""
		if proxy != nil {
			got = proxy.Host
		}
		if err != nil || got != tt.expect {
			t.Errorf("%+v to %s: %q, %v, want %q", tt.c, tt.to, got, err, tt.expect)
		}
	}
}

func TestBadProxy(t *testing.T) {
	for text, want := range map[string]string{
		"socks5://h:1":             `scheme "socks5"`,
		"http://user:secret@h:x/":  "neither HOST:PORT nor a URL",
		"http://user:secret@:3128": "no host",
		"http://h:1/path":          "more than a host and a port",
	} {
		if _, err := New(Config{HTTPSProxy: text, Getenv: noEnvironment}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// proxy is a CONNECT proxy that wants a user and counts its tunnels.
type proxy struct {
	answer  string // to a request that it grants; "" is "200 fine"
	mu      sync.Mutex
	tunnels []string
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	if r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwQHNz" { // user:p@ss
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		return
	}
	p.mu.Lock()
	p.tunnels = append(p.tunnels, r.Host)
	p.mu.Unlock()
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	_, _ = io.WriteString(from, "HTTP/1.1 "+cmp.Or(p.answer, "200 fine")+"\r\n\r\n")
	done := make(chan struct{})
	go func() { // ends with either connection
		defer close(done)
		_, _ = io.Copy(to, in)
		_ = to.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(from, to)
	from.Close()
	<-done
}

// greeter speaks first, and then echoes one line.
func greeter(t *testing.T, network string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, "localhost:0")
	if err != nil && network == "tcp6" {
		t.Skip(err) // a host without IPv6
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello\n")
			line, _ := bufio.NewReader(conn).ReadString('\n')
			_, _ = io.WriteString(conn, line)
			conn.Close()
		}
	}()
	return l
}

// tunnelTo has the dialer send localhost to the proxy, which the rules would not.
func tunnelTo(d *Dialer, proxyURL string) *Dialer {
	u, err := url.Parse(proxyURL)
	d.proxyFor = func(*url.URL) (*url.URL, error) { return u, err }
	return d
}

func TestTunnel(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, secure := range []bool{false, true} {
			p := new(proxy)
			server := httptest.NewUnstartedServer(p)
			scheme := "http"
			if secure {
				server.StartTLS()
				scheme = "https"
			} else {
				server.Start()
			}
			defer server.Close()
			d := newDialer(t, Config{ProxyRoots: rootsOf(server)})
			tunnelTo(d, scheme+"://user:p%40ss@"+server.Listener.Addr().String())
			l := greeter(t, network)
			conn, err := d.DialContext(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			hello, err := in.ReadString('\n')
			if err != nil || hello != "hello\n" {
				t.Errorf("%q, %v", hello, err)
			}
			fmt.Fprintln(conn, "echo")
			if echo, err := in.ReadString('\n'); err != nil || echo != "echo\n" {
				t.Errorf("%q, %v", echo, err)
			}
			if len(p.tunnels) != 1 || p.tunnels[0] != l.Addr().String() {
				t.Errorf("tunnels: %q", p.tunnels)
			}
		}
	}
}

func rootsOf(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	if c := s.Certificate(); c != nil {
		pool.AddCert(c)
	}
	return pool
}

// Any status of success makes a tunnel (RFC 9110 §9.3.6).
func TestTunnelBySuccess(t *testing.T) {
	server := httptest.NewServer(&proxy{answer: "201 Connection established"})
	defer server.Close()
	d := tunnelTo(newDialer(t, Config{}), "http://user:p%40ss@"+server.Listener.Addr().String())
	conn, err := d.DialContext(t.Context(), greeter(t, "tcp4").Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if hello, err := bufio.NewReader(conn).ReadString('\n'); err != nil || hello != "hello\n" {
		t.Errorf("%q, %v", hello, err)
	}
}

// What goes wrong at the proxy is told, and never answered by a direct
// connection.
func TestProxyFails(t *testing.T) {
	l := greeter(t, "tcp4")
	answer := func(text string) string {
		p, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		go func() { // ends with the listener
			for {
				conn, err := p.Accept()
				if err != nil {
					return
				}
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, text)
				if text != "" {
					conn.Close()
				}
			}
		}()
		return p.Addr().String()
	}
	auth := httptest.NewServer(new(proxy))
	defer auth.Close()
	for _, tt := range []struct{ name, proxy, want string }{
		{"nobody there", "http://127.0.0.1:1", "connection refused"},
		{"wants a password", auth.URL, "407"},
		{"forbids", "http://" + answer("HTTP/1.1 403 Forbidden\r\n\r\n"), `"403 Forbidden"`},
		{"is no proxy", "http://" + answer("SSH-2.0-OpenSSH\r\n"), "malformed"},
		{"ends", "http://" + answer("HTTP/1.1 200"), "EOF"},
		{"never stops", "http://" + answer("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", maxAnswer)+"\r\n\r\n"), "longer than"},
		{"says nothing", "http://" + answer(""), "deadline"},
		{"is not TLS", "https://" + answer("HTTP/1.1 400 Bad\r\n\r\n"), "tls"},
	} {
		d := tunnelTo(newDialer(t, Config{Timeout: 300 * time.Millisecond}), tt.proxy)
		conn, err := d.DialContext(t.Context(), l.Addr().String())
		if err == nil {
			conn.Close()
			t.Errorf("%s: a connection", tt.name)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	var refused *RefusedError
	_, err := tunnelTo(newDialer(t, Config{}), auth.URL).DialContext(t.Context(), "x.invalid:443")
	if !errors.As(err, &refused) || refused.Status != http.StatusProxyAuthRequired {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newDialer(t, Config{}).DialContext(ctx, l.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
