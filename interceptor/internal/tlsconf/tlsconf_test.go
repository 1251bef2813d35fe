package tlsconf

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan/pkg/certtest"
)

// side is the files of one side.
func side(t *testing.T, own, other *certtest.Authority, name string) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{Authorities: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	certtest.Write(t, "", f.Authorities, other.Root)
	issue(t, own, f, name, time.Now().Add(time.Hour))
	return f
}

func issue(t *testing.T, a *certtest.Authority, f Files, name string, notAfter time.Time) {
	t.Helper()
	cert, key := a.Issue(t, name, notAfter)
	certtest.Write(t, "", f.Certificate, append(cert, a.Intermediate...))
	certtest.Write(t, "", f.Key, key)
}

// handshake returns what the client says of a handshake and a first byte.
func handshake(t *testing.T, server, client Files, name string) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	go func() { // ends with the handshake or the pipe
		conn := tls.Server(b, server.Server())
		if conn.Handshake() == nil {
			_, _ = conn.Write([]byte{1})
		}
		b.Close()
	}()
	conn, _, err := client.Client(name).ClientHandshake(t.Context(), "server:4417", a)
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells here what the server thinks
	}
	return err
}

func TestMutualAuthentication(t *testing.T) {
	serverCA, clientCA, other := certtest.NewChained(t, "servers"), certtest.New(t, "clients"), certtest.New(t, "others")
	server := side(t, serverCA, clientCA, "server")
	client := side(t, clientCA, serverCA, "node")
	stranger := side(t, other, serverCA, "node")
	anonymous := Files{Authorities: client.Authorities}
	trusting := side(t, clientCA, other, "node")
	for _, tt := range []struct {
		name, server string
		client       Files
		want         string
	}{
		{"good", "", client, ""},
		{"good, by name", "server", client, ""},
		{"wrong name", "elsewhere", client, "not elsewhere"},
		{"unknown client", "", stranger, "certificate required"},
		{"client without certificate", "", anonymous, "certificate required"},
		{"unknown server", "", trusting, "unknown authority"},
	} {
		err := handshake(t, server, tt.client, tt.server)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) && !strings.Contains(err.Error(), "unknown certificate authority") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Files are read for each handshake: a certificate that has expired, or a file
// that is broken, costs connections only until it is replaced.
func TestReload(t *testing.T) {
	ca := certtest.New(t, "ca")
	server, client := side(t, ca, ca, "server"), side(t, ca, ca, "node")
	connects := func(want bool) {
		t.Helper()
		if err := handshake(t, server, client, ""); (err == nil) != want {
			t.Fatalf("%v, want success %t", err, want)
		}
	}
	connects(true)
	issue(t, ca, server, "server", time.Now().Add(-time.Minute))
	connects(false)
	issue(t, ca, server, "server", time.Now().Add(time.Hour))
	connects(true)
	certtest.Write(t, "", client.Key, []byte("no key"))
	connects(false)
	issue(t, ca, client, "node", time.Now().Add(time.Hour))
	connects(true)
	certtest.Write(t, "", server.Authorities, []byte("nothing"))
	connects(false)
}

func TestCheck(t *testing.T) {
	ca := certtest.New(t, "ca")
	good := side(t, ca, ca, "x")
	empty := certtest.Write(t, t.TempDir(), "empty.pem", nil)
	large := certtest.Write(t, t.TempDir(), "large.pem", make([]byte, maxFile+1))
	for _, tt := range []struct {
		files Files
		want  string
	}{
		{good, ""},
		{Files{}, ""},
		{Files{Certificate: good.Certificate}, "come together"},
		{Files{Certificate: good.Key, Key: good.Key}, good.Key},
		{Files{Authorities: empty}, "no certificate in"},
		{Files{Authorities: large}, "longer than"},
		{Files{Authorities: "/nowhere"}, "no such file"},
	} {
		if err := tt.files.Check(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.files, err, tt.want)
		}
	}
}

func TestToken(t *testing.T) {
	file := certtest.Write(t, t.TempDir(), "token", []byte("first\n"))
	token := Token(file)
	if !token.RequireTransportSecurity() {
		t.Error("sent in plain text")
	}
	for _, tt := range []struct{ content, want string }{{"first\n", "Bearer first"}, {" second", "Bearer second"}, {"", ""}, {"two words", ""}, {"a\r\nInjected: x", ""}} {
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := token.GetRequestMetadata(t.Context())
		if got["authorization"] != tt.want || (err == nil) != (tt.want != "") || err != nil && tt.content != "" && strings.Contains(err.Error(), tt.content) {
			t.Errorf("%q: %q, %v", tt.content, got, err)
		}
	}
	os.Remove(file)
	if _, err := token.GetRequestMetadata(t.Context()); err == nil {
		t.Error("a file that isn't there")
	}
}

func TestHandshakeOverAConnection(t *testing.T) {
	serverCA, clientCA := certtest.New(t, "servers"), certtest.New(t, "clients")
	server, client := side(t, serverCA, clientCA, "server"), side(t, clientCA, serverCA, "node")
	missing := client
	missing.Authorities = filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct {
		name, want string
		client     Files
	}{{"server", "", client}, {"another", "another", client}, {"server", "no such file", missing}} {
		a, b := net.Pipe()
		done := make(chan struct{})
		go func() { // ends with the handshake or the pipe
			defer close(done)
			conn := tls.Server(b, server.Server())
			if conn.Handshake() == nil {
				_, _ = conn.Write([]byte{1})
			}
			b.Close()
		}()
		conn, err := tt.client.Handshake(t.Context(), a, tt.name)
		switch {
		case tt.want == "" && err == nil:
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close() // the other end may be closed already, to which it says so
			if err != nil {
				t.Error(err)
			}
		case err == nil || tt.want == "" || !strings.Contains(err.Error(), tt.want):
			t.Errorf("for %s: %v, want %q", tt.name, err, tt.want)
		default:
			if _, err := a.Write([]byte{1}); err == nil {
				t.Error("the connection is open")
			}
		}
		<-done
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"a b \n": "a b ", "x\r\ny": "x", "z": "z", "": "", "\nz": ""} {
		name := filepath.Join(dir, "secret")
		certtest.Write(t, "", name, []byte(text))
		if got, err := Secret(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	if _, err := Secret(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing file has a secret")
	}
}
