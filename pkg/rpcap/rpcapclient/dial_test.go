package rpcapclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

func tlsTrusting(pool *x509.CertPool) *tls.Config { return &tls.Config{RootCAs: pool} }

func TestDialAuthenticates(t *testing.T) {
	const refused = "Authentication failed"
	for _, tc := range []struct {
		name, password string
		answer         rpcap.Message
	}{
		{"right", "secret", &rpcap.AuthReply{}},
		{"wrong", "sesame", &rpcap.Error{Code: rpcap.CodeAuthFailed, Text: refused}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := rpcaptest.Start(t, rpcaptest.Config{},
				rpcaptest.Expect(&rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: "bob", Password: []byte(tc.password)}),
				rpcaptest.Send(tc.answer), rpcaptest.ExpectEnd())
			u := server.URL()
			u.User, u.Password = "bob", tc.password
			c, err := Dial(t.Context(), u, Options{})
			if err == nil {
				c.Close()
			}
			if tc.name == "right" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRemote(t, err, rpcap.CodeAuthFailed, refused)
			if strings.Contains(err.Error(), tc.password) {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
	u := rpcaptest.Start(t, rpcaptest.Config{}, rpcaptest.ExpectEnd()).URL()
	u.User, u.Password = "bob", strings.Repeat("x", 65536)
	if _, err := Dial(t.Context(), u, Options{}); err == nil || !strings.Contains(err.Error(), "65535") {
		t.Errorf("a password that is too long: %v", err)
	}
}

func TestDialFails(t *testing.T) {
	server, err := rpcaptest.Serve(rpcaptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	nobody := server.URL()
	server.Close() // nobody listens there any more
	for _, tc := range []struct {
		u    rpcap.URL
		want string
	}{
		{nobody, "Is the server properly installed? Cannot connect to 127.0.0.1: "},
		{rpcap.URL{Scheme: rpcap.SchemeUnix, SocketPath: "/nonexistent/rpcapd.sock"}, "Is the server properly installed? Cannot connect to /nonexistent/rpcapd.sock: "},
		{rpcap.URL{Device: "eth0"}, "local device"},
	} {
		if c, err := Dial(t.Context(), tc.u, Options{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, %v, want an error with %q", tc.u, c, err, tc.want)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(cancelled, nobody, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A server that takes connections and says nothing must not hold Dial up.
func TestDialSilentServer(t *testing.T) {
	server := rpcaptest.Start(t, rpcaptest.Config{}, rpcaptest.Do("read", func(s *rpcaptest.Session) error {
		_, err := io.Copy(io.Discard, s.Control)
		return err
	}))
	if _, err := Dial(t.Context(), server.URL(), Options{RequestTimeout: 20 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("%v", err)
	}
}

func TestCandidates(t *testing.T) {
	parse := netip.MustParseAddr
	in := []netip.Addr{parse("2001:db8::1"), parse("192.0.2.1"), parse("fe80::1%eth0"), parse("::ffff:192.0.2.2")}
	want := []netip.Addr{parse("192.0.2.1"), parse("192.0.2.2"), parse("2001:db8::1"), parse("fe80::1%eth0")}
	if got := candidates(in); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The second candidate is tried when the first refuses.
func TestDialFirstGoesOn(t *testing.T) {
	server := rpcaptest.Start(t, rpcaptest.Config{}, rpcaptest.ExpectEnd())
	u := server.URL()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// Nothing listens on 127.0.0.2, since the server is bound to 127.0.0.1.
	conn, err := dialFirst(ctx, []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, u.Port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// Case 142: libpcap accepts any certificate, this client verifies it.
func TestCase142CertificateIsVerified(t *testing.T) {
	serverTLS, pool, err := rpcaptest.SelfSigned("127.0.0.1", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	otherTLS, _, err := rpcaptest.SelfSigned("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	letIn := []rpcaptest.Step{rpcaptest.Authenticate(), rpcaptest.ExpectEnd()}
	for _, tc := range []struct {
		name   string
		server *tls.Config
		client *tls.Config
		host   string // in the URL
		ok     bool
	}{
		{"trusted address", serverTLS, tlsTrusting(pool), "127.0.0.1", true},
		{"trusted name", serverTLS, tlsTrusting(pool), "localhost", true},
		{"explicit name", serverTLS, &tls.Config{RootCAs: pool, ServerName: "localhost"}, "127.0.0.1", true},
		{"self-signed", serverTLS, nil, "127.0.0.1", false},
		{"another name", serverTLS, &tls.Config{RootCAs: pool, ServerName: "example.com"}, "127.0.0.1", false},
		{"another host's certificate", otherTLS, tlsTrusting(pool), "127.0.0.1", false},
		{"opted out", otherTLS, &tls.Config{InsecureSkipVerify: true}, "127.0.0.1", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, err := rpcaptest.Serve(rpcaptest.Config{TLS: tc.server}, letIn...)
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			u := server.URL()
			u.Host = tc.host
			c, err := Dial(t.Context(), u, Options{TLS: tc.client})
			if (err == nil) != tc.ok {
				t.Errorf("dial: %v", err)
			}
			var invalid *tls.CertificateVerificationError
			if !tc.ok && !errors.As(err, &invalid) {
				t.Errorf("%v is not about the certificate", err)
			}
			if err == nil {
				c.Close()
			}
		})
	}
}

// The data connection is verified like the control connection.
func TestDataCertificateIsVerified(t *testing.T) {
	serverTLS, pool, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	otherTLS, _, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	handshakes := 0
	changing := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if handshakes++; handshakes == 1 {
			return serverTLS, nil
		}
		return otherTLS, nil
	}}
	server, err := rpcaptest.Serve(rpcaptest.Config{TLS: changing}, rpcaptest.Authenticate(), rpcaptest.Open("eth0"),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(0))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c := dialServer(t, server, Options{TLS: tlsTrusting(pool)})
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	var invalid *tls.CertificateVerificationError
	if s, err := c.Start(t.Context(), StartRequest{}); !errors.As(err, &invalid) {
		t.Errorf("%v, %v", s, err)
	}
}

func TestTLSConfigName(t *testing.T) {
	for host, want := range map[string]string{"example.com": "example.com", "192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1"} {
		if got := (Options{}).tlsConfig(host); got.ServerName != want || got.InsecureSkipVerify {
			t.Errorf("%s: %q", host, got.ServerName)
		}
	}
	own := &tls.Config{ServerName: "x"}
	if got := (Options{TLS: own}).tlsConfig("y"); got.ServerName != "x" || got == own {
		t.Errorf("own name is not kept, or the caller's configuration not copied")
	}
}

// A client without TLS at a server with TLS gets an ERROR in plain; the other
// way round an alert.
func TestTLSMismatch(t *testing.T) {
	const text = "TLS is required by this server"
	plain := rpcaptest.Start(t, rpcaptest.Config{}, rpcaptest.Expect(&rpcap.AuthRequest{}),
		rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeTLSRequired, Text: text}), rpcaptest.CloseControl())
	_, err := Dial(t.Context(), plain.URL(), Options{})
	wantRemote(t, err, rpcap.CodeTLSRequired, text)

	server := rpcaptest.Start(t, rpcaptest.Config{}, rpcaptest.Do("refuse", func(s *rpcaptest.Session) error {
		if _, err := s.Control.Read(make([]byte, 4096)); err != nil {
			return err
		}
		_, err := s.Control.Write([]byte{0x15, 3, 1, 0, 2, 2, 40})
		return err
	}))
	u := server.URL()
	u.Scheme = rpcap.SchemeTLS
	if _, err := Dial(t.Context(), u, Options{}); err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Errorf("%v", err)
	}
}

// CVE-2023-7256: libpcap's client freed the result of a failed look-up twice.
// Here each failure is an error that names the step, as often as it happens.
func TestCVE_2023_7256_FailedLookUp(t *testing.T) {
	u := rpcap.URL{Scheme: rpcap.SchemeTCP, Host: "no such host", Port: 1}
	for range 3 {
		if c, err := Dial(t.Context(), u, Options{}); err == nil || !strings.Contains(err.Error(), "resolve the server's name") {
			t.Errorf("%v, %v", c, err)
		}
	}
}
