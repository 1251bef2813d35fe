package tlsfiles

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"capstan/pkg/certtest"
)

// fixture is a directory with the files of a server and its clients.
type fixture struct {
	options   Options
	authority *certtest.Authority
	log       bytes.Buffer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{authority: certtest.NewChained(t, "authority")}
	dir := t.TempDir()
	f.options = Options{Certificate: dir + "/cert.pem", Key: dir + "/key.pem"}
	f.install(t, "server", time.Now().Add(365*24*time.Hour))
	return f
}

// install writes a new certificate and key.
func (f *fixture) install(t *testing.T, name string, notAfter time.Time) {
	t.Helper()
	certificate, key := f.authority.Issue(t, name, notAfter)
	certtest.Write(t, "", f.options.Certificate, append(certificate, f.authority.Intermediate...))
	certtest.Write(t, "", f.options.Key, key)
}

func (f *fixture) open(t *testing.T) *Files {
	t.Helper()
	files, err := Open(f.options, slog.New(slog.NewTextHandler(&f.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// handshake returns what both sides say.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	conn := tls.Client(b, client)
	clientErr := make(chan error, 1)
	go func() { // ended by the handshake, or by closing the pipe
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells here what the server thinks of the client
		} else {
			b.Close()
		}
		clientErr <- err
	}()
	secured := tls.Server(a, server)
	serverErr := secured.Handshake()
	if serverErr == nil {
		_, serverErr = secured.Write([]byte{1})
	} else {
		a.Close()
	}
	return secured.ConnectionState(), serverErr, <-clientErr
}

func (f *fixture) client(certificates ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: f.authority.Pool(), ServerName: "server", Certificates: certificates}
}

func TestChainIsSent(t *testing.T) {
	f := newFixture(t)
	files := f.open(t)
	// The client knows the root only.
	state, serverErr, clientErr := handshake(t, files.Config(), f.client())
	if serverErr != nil || clientErr != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("%v, %v, %x", serverErr, clientErr, state.Version)
	}
	if f.log.Len() > 0 {
		t.Error(f.log.String())
	}
	if left := time.Until(files.Expiry()); left < 364*24*time.Hour {
		t.Errorf("expires in %v", left)
	}
}

func TestVersions(t *testing.T) {
	f := newFixture(t)
	files := f.open(t)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		client := f.client()
		client.MinVersion, client.MaxVersion = version, version
		if _, serverErr, _ := handshake(t, files.Config(), client); (serverErr == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), serverErr)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	f := newFixture(t)
	good, stranger := f.authority.Pair(t, "client"), certtest.New(t, "stranger").Pair(t, "client")
	f.options.ClientAuthority = certtest.Write(t, t.TempDir(), "ca.pem", f.authority.Root)
	for _, tc := range []struct {
		name         string
		require      bool
		certificates []tls.Certificate
		want         bool
	}{
		{"optional, none", false, nil, true},
		{"optional, good", false, []tls.Certificate{good}, true},
		{"optional, stranger", false, []tls.Certificate{stranger}, false},
		{"required, none", true, nil, false},
		{"required, good", true, []tls.Certificate{good}, true},
		{"required, stranger", true, []tls.Certificate{stranger}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.options.RequireClient = tc.require
			client := f.client()
			if tc.certificates != nil { // sent whatever the server asks for
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tc.certificates[0], nil }
			}
			state, serverErr, clientErr := handshake(t, f.open(t).Config(), client)
			if (serverErr == nil) != tc.want || (clientErr == nil) != tc.want {
				t.Errorf("%v, %v", serverErr, clientErr)
			}
			if tc.want && len(state.PeerCertificates) > 0 != (tc.certificates != nil) {
				t.Errorf("%d certificates", len(state.PeerCertificates))
			}
		})
	}
}

func TestReload(t *testing.T) {
	f := newFixture(t)
	files := f.open(t)
	cfg := files.Config() // stays the same over changes
	nameOf := func() string {
		t.Helper()
		client := f.client()
		var name string
		client.VerifyConnection = func(s tls.ConnectionState) error { name = s.PeerCertificates[0].Subject.CommonName; return nil }
		client.InsecureSkipVerify = true
		if _, serverErr, clientErr := handshake(t, cfg, client); serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
		return name
	}
	f.install(t, "second", time.Now().Add(365*24*time.Hour))
	if got := nameOf(); got != "server" {
		t.Errorf("before it is told to: %s", got)
	}
	if err := files.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := nameOf(); got != "second" {
		t.Errorf("after: %s", got)
	}
	// A certificate that doesn't belong to the key keeps the old ones.
	other, _ := f.authority.Issue(t, "third", time.Now().Add(time.Hour))
	certtest.Write(t, "", f.options.Certificate, other)
	if err := files.Reload(); err == nil || !strings.Contains(err.Error(), f.options.Certificate) {
		t.Error(err)
	}
	if got := nameOf(); got != "second" {
		t.Errorf("after a bad one: %s", got)
	}
	if err := os.Remove(f.options.Key); err != nil {
		t.Fatal(err)
	}
	if err := files.Reload(); err == nil || nameOf() != "second" {
		t.Error(err)
	}
}

func TestExpiryIsWarnedOf(t *testing.T) {
	for want, left := range map[string]time.Duration{"has expired": -time.Hour, "will expire soon": 13 * 24 * time.Hour} {
		f := newFixture(t)
		f.install(t, "server", time.Now().Add(left))
		f.open(t)
		if !strings.Contains(f.log.String(), want) || strings.Count(f.log.String(), "\n") != 1 {
			t.Errorf("want %q: %s", want, f.log.String())
		}
	}
	f := newFixture(t)
	if err := os.Chmod(f.options.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	f.open(t)
	if !strings.Contains(f.log.String(), "everybody on this host can read the TLS key") {
		t.Error(f.log.String())
	}
}

func TestBadFiles(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	empty := certtest.Write(t, dir, "empty", nil)
	secret := certtest.Write(t, dir, "encrypted", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	old := certtest.Write(t, dir, "old", []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	huge := certtest.Write(t, dir, "huge", nil)
	if err := os.Truncate(huge, maxFileLen+1); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"certificate: open " + dir + "/none": func(o *Options) { o.Certificate = dir + "/none" },
		"key: open " + dir + "/none":         func(o *Options) { o.Key = dir + "/none" },
		"certificate " + empty:               func(o *Options) { o.Certificate = empty },
		"is longer than":                     func(o *Options) { o.Certificate = huge },
		"client authority: open":             func(o *Options) { o.ClientAuthority = dir + "/none" },
		"no certificate in " + empty:         func(o *Options) { o.ClientAuthority = empty },
		"no authority for them":              func(o *Options) { o.RequireClient = true },
		secret + " is encrypted":             func(o *Options) { o.Key = secret },
		old + " is encrypted":                func(o *Options) { o.Key = old },
	} {
		o := f.options
		change(&o)
		if _, err := Open(o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
