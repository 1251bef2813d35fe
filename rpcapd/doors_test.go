//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/pkg/certtest"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/config"
)

// dialer returns how a client in n reaches the daemon at address, by TLS unless
// cfg is nil.
func dialer(t *testing.T, n *netns.NS, address string, cfg *tls.Config) func(port uint16) net.Conn {
	return func(port uint16) net.Conn {
		if port == 0 {
			port = rpcap.DefaultPort
		}
		conn, err := n.DialContext(t.Context(), "tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
		if err != nil {
			t.Fatal(err)
		}
		if cfg == nil {
			return conn
		}
		secured := tls.Client(conn, cfg)
		if err := secured.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return secured
	}
}

// loginClient logs in with a password.
func loginClient(t *testing.T, dial func(uint16) net.Conn, user, password string) *client {
	t.Helper()
	c := &client{t: t, dial: dial, conn: dial(0)}
	t.Cleanup(func() { c.conn.Close() })
	_ = c.conn.SetDeadline(time.Now().Add(time.Minute))
	c.r = rpcap.NewReader(c.conn, nil)
	c.call(&rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: user, Password: []byte(password)}, &rpcap.AuthReply{})
	return c
}

// refused sends a request that must be answered by an ERROR.
func (c *client) refused(request rpcap.Message, code rpcap.ErrorCode, text string) {
	c.t.Helper()
	var answer rpcap.Error
	c.call(request, &answer)
	if answer.Code != code || !strings.Contains(answer.Text, text) {
		c.t.Errorf("%v: %v %q, want %v %q", request.Type(), answer.Code, answer.Text, code, text)
	}
}

// TestTLS captures by TLS on both connections, before and after the files of
// the certificate have changed.
func TestTLS(t *testing.T) {
	host, peer := link(t)
	dir := t.TempDir()
	authority := certtest.NewChained(t, "authority")
	install := func(name string) {
		certificate, key := authority.Issue(t, name, time.Now().Add(365*24*time.Hour))
		certtest.Write(t, dir, "cert.pem", append(certificate, authority.Intermediate...))
		certtest.Write(t, dir, "key.pem", key)
	}
	install("first")
	s := serve(t, host, "-Sn", "-X", dir+"/cert.pem", "-K", dir+"/key.pem")
	capture := func(name string) {
		t.Helper()
		c := newClient(t, dialer(t, peer, "10.9.8.1", &tls.Config{RootCAs: authority.Pool(), ServerName: name}))
		data := c.capture("cap0", 65535, testFilter(12))
		sendFrames(t, peer, "gen0", testFrame(1, nil), testFrame(2, nil), testFrame(4, nil))
		packets, _ := c.end(data)
		if len(packets) != 2 {
			t.Errorf("%s: %d packets", name, len(packets))
		}
		c.conn.Close()
	}
	capture("first")
	install("second")
	capture("first") // until it is told
	hangUp(t, s, "configuration file")
	capture("second")
	certtest.Write(t, dir, "key.pem", []byte("nonsense"))
	hangUp(t, s, "TLS certificate stays as it was")
	capture("second")
	s.stop()
}

// hangUp sends SIGHUP and waits until the log tells about it.
func hangUp(t *testing.T, s *server, text string) {
	t.Helper()
	before := strings.Count(s.stderr.String(), text)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "log: "+text, func() bool { return strings.Count(s.stderr.String(), text) > before })
}

func TestCase106MissingCertificate(t *testing.T) {
	n := namespace(t)
	out, status := outcome(t, n, command("-S", "-X", filepath.Join(t.TempDir(), "none")))
	if status != exitFailed || !strings.HasPrefix(out, "rpcapd: error: Can't initialize SSL: ") {
		t.Errorf("%d %q", status, out)
	}
}

// A client that the allow list keeps out is told inside TLS.
func TestRefusalInsideTLS(t *testing.T) {
	n := namespace(t)
	dir := t.TempDir()
	authority := certtest.New(t, "authority")
	certificate, key := authority.Issue(t, "server", time.Now().Add(time.Hour))
	s := serve(t, n, "-Sn", "-l", "192.0.2.1", "-X", certtest.Write(t, dir, "cert.pem", certificate), "-K", certtest.Write(t, dir, "key.pem", key))
	conn := dialer(t, n, "127.0.0.1", &tls.Config{RootCAs: authority.Pool(), ServerName: "server"})(0)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &client{t: t, conn: conn, r: rpcap.NewReader(conn, nil)}
	c.refused(&rpcap.AuthRequest{}, rpcap.CodeHostNoAuth, "The host is not in the allowed host list. Connection refused.")
	s.stop()
}

// TestLoginAndPolicy goes the whole way from a hash made by the command to
// frames that the policy lets through, and the record of it.
func TestLoginAndPolicy(t *testing.T) {
	host, peer := link(t)
	dir := t.TempDir()
	credentials := certtest.Write(t, dir, "credentials", []byte(hashOf(t, host, "alice", "correct horse")+hashOf(t, host, "eve", "battery staple")))
	policy := certtest.Write(t, dir, "policy.yaml", []byte("users:\n  alice:\n    devices: [\"cap*\"]\n    snaplen: 40\n    filter: ether[15] & 2 = 0\n"))
	record := filepath.Join(dir, "audit.log")
	s := serve(t, host, "--credentials", credentials, "--policy", policy, "--audit-log", record, "--metrics-address", "10.9.8.1:9100")
	dial := dialer(t, peer, "10.9.8.1", nil)

	eve := loginClient(t, dial, "eve", "battery staple")
	eve.refused(&rpcap.OpenRequest{Device: "cap0"}, rpcap.CodeOpen, "You don't have permission to perform this capture on that device")
	alice := loginClient(t, dial, "alice", "correct horse")
	alice.refused(&rpcap.OpenRequest{Device: "lo"}, rpcap.CodeOpen, "You don't have permission to perform this capture on that device")
	var list rpcap.FindAllIfReply
	if alice.call(&rpcap.FindAllIfRequest{}, &list); len(list.Interfaces) != 1 || list.Interfaces[0].Name != "cap0" {
		t.Errorf("%+v", list)
	}
	data := alice.capture("cap0", 65535, testFilter(12))
	sendFrames(t, peer, "gen0", testFrame(2, nil), testFrame(4, nil), testFrame(5, nil), testFrame(8, nil))
	packets, _ := alice.end(data)
	numbers := []int{}
	for _, p := range packets {
		number, _ := isTest(p.data, 12)
		numbers = append(numbers, number)
		if len(p.data) != 40 {
			t.Errorf("%d bytes of a frame", len(p.data))
		}
	}
	if !slices.Equal(numbers, []int{4, 8}) { // even for the client, without the bit for the policy
		t.Errorf("frames %v", numbers)
	}
	if !strings.Contains(s.stderr.String(), "a password came over the network in clear") {
		t.Error(s.stderr.String())
	}
	metrics := scrape(t, peer, "10.9.8.1:9100")
	for _, line := range []string{"rpcapd_logins_total 2", "rpcapd_denied_opens_total 2", `rpcapd_filter_loads_total{where="kernel"} 1`} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, metrics)
		}
	}
	checkRecord(t, record)

	// A policy that is broken stays out; a good one holds for the next login.
	certtest.Write(t, dir, "policy.yaml", []byte("users:\n  eve:\n    filtre: tcp\n"))
	hangUp(t, s, "policy stays as it was")
	if text := s.stderr.String(); !strings.Contains(text, `policy.yaml:3: users.eve.filtre: no such key; did you mean filter?`) {
		t.Error(text)
	}
	certtest.Write(t, dir, "policy.yaml", []byte("users:\n  eve:\n"))
	if err := os.Rename(record, record+".1"); err != nil {
		t.Fatal(err)
	}
	hangUp(t, s, "no configuration file to read again")
	loginClient(t, dial, "eve", "battery staple").call(&rpcap.OpenRequest{Device: "lo"}, &rpcap.OpenReply{})
	eventually(t, "a new file for the record", func() bool { text, _ := os.ReadFile(record); return strings.Contains(string(text), `"user":"eve"`) })
	s.stop()
}

// hashOf returns what "rpcapd hash-password" prints.
func hashOf(t *testing.T, n *netns.NS, user, password string) string {
	t.Helper()
	cmd := command("hash-password", user)
	cmd.Stdin = strings.NewReader(password + "\n")
	line, status := outcome(t, n, cmd)
	if status != exitDone || !strings.HasPrefix(line, user+":$argon2id$") {
		t.Fatalf("%d %q", status, line)
	}
	return line
}

func scrape(t *testing.T, n *netns.NS, address string) string {
	t.Helper()
	transport := &http.Transport{DialContext: n.DialContext}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkRecord checks the record of TestLoginAndPolicy's first half.
func checkRecord(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(string(text)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, strings.TrimSpace(e.User+" "+string(e.Kind)+" "+e.Device+" "+e.Result))
		if !strings.HasPrefix(e.Peer, "10.9.8.2:") {
			t.Errorf("%+v", e)
		}
		if e.Kind == audit.KindEnd && (e.Counts.Sent != 2 || e.Counts.Bytes != 2*68) {
			t.Errorf("%+v", e.Counts)
		}
	}
	want := []string{"eve login  ok", "eve open cap0 refused", "alice login  ok", "alice open lo refused", "alice open cap0 ok", "alice start cap0", "alice end cap0"}
	if !slices.Equal(kinds, want) {
		t.Errorf("%q\nwant %q", kinds, want)
	}
	if strings.Contains(string(text), "horse") {
		t.Error("a password is in the record")
	}
}

func TestHealthCommand(t *testing.T) {
	n := namespace(t)
	dir := t.TempDir()
	authority := certtest.New(t, "authority")
	certificate, key := authority.Issue(t, "localhost", time.Now().Add(time.Hour))
	cert, keyFile := certtest.Write(t, dir, "cert.pem", certificate), certtest.Write(t, dir, "key.pem", key)
	ca := certtest.Write(t, dir, "ca.pem", authority.Root)
	socket := socketPath(t)
	unixURL := "rpcap+unix://" + strings.ReplaceAll(socket, "/", "%2F") + "/"
	for _, tc := range []struct {
		name          string
		daemon, probe []string
		status        int
		text          string
	}{
		{"TCP", []string{"-n"}, nil, 0, "healthy: "},
		{"TCP with password", nil, nil, 0, "healthy: it asks for a password"},
		{"unix socket", []string{"--unix-socket", socket}, []string{"--server", unixURL}, 0, "healthy: "},
		{"TLS", []string{"-Sn", "-X", cert, "-K", keyFile}, []string{"--server", "rpcaps://127.0.0.1/", "--tls-ca", ca}, 0, "healthy: "},
		{"TLS, not trusted", []string{"-Sn", "-X", cert, "-K", keyFile}, []string{"--server", "rpcaps://127.0.0.1/"}, 1, "unhealthy: "},
		{"TLS by a plain client", []string{"-Sn", "-X", cert, "-K", keyFile}, nil, 1, "TLS is required by this server"},
		{"kept out", []string{"-n", "-l", "192.0.2.1"}, nil, 1, "unhealthy: "},
		{"nobody there", nil, []string{"--server", "rpcap://127.0.0.1:9/"}, 1, "unhealthy: "},
		{"bad URL", nil, []string{"--server", "rpcap://[::1/"}, 2, "rpcapd health: "},
		{"bad option", nil, []string{"--no-such"}, 2, "not defined: -no-such"},
		{"stray word", nil, []string{"stray"}, 2, `"stray" is no option`},
		{"help", nil, []string{"--help"}, 0, "USAGE: rpcapd health"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, n, tc.daemon...)
			out, status := outcome(t, n, command(append([]string{"health"}, tc.probe...)...))
			if status != tc.status || !strings.Contains(out, tc.text) {
				t.Errorf("%d %q, want %d %q", status, out, tc.status, tc.text)
			}
			s.stop()
		})
	}
	t.Run("a server that says nothing", func(t *testing.T) {
		l, err := n.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out, status := outcome(t, n, command("health", "--timeout", "200ms", "--server", "rpcap://"+l.Addr().String()+"/"))
		if status != 1 || !strings.Contains(out, "unhealthy: ") {
			t.Errorf("%d %q", status, out)
		}
	})
}

// Bad files keep the daemon from starting, with a text that names file and line.
func TestBadSecurityFiles(t *testing.T) {
	netnstest.RequireCapture(t)
	n := netnstest.New(t)
	dir := t.TempDir()
	bad := certtest.Write(t, dir, "bad", []byte("x: 1\n"))
	filter := certtest.Write(t, dir, "filter", []byte("users:\n  a:\n    filter: tcp portt 5\n"))
	for want, args := range map[string][]string{
		"credentials: " + bad + ": line 1: the hash is neither": {"--credentials", bad},
		"policy: " + bad + ":1: x: no such key":                 {"--policy", bad},
		"policy: " + filter + ":3: users.a.filter: ":            {"--policy", filter},
		"audit log: open " + dir:                                {"--audit-log", dir},
		"--tls-require-client-cert needs --tls-client-ca":       {"-S", "--tls-require-client-cert"},
		"--tls-client-ca needs -S":                              {"--tls-client-ca", "x"},
	} {
		if out, status := outcome(t, n, command(args...)); status == exitDone || !strings.Contains(out, want) {
			t.Errorf("%v: %d %q, want %q", args, status, out, want)
		}
	}
}

// That nobody will be able to log in is told before somebody tries.
func TestUnreadableAccountsAreWarnedOf(t *testing.T) {
	unreadable := auth.System{Shadow: t.TempDir()} // a directory, which even root can't read
	for _, tc := range []struct {
		cfg  config.Config
		want bool
	}{
		{config.Config{TCP: true}, true},
		{config.Config{Inetd: true}, true},
		{config.Config{UnixSocket: "/s"}, false},
		{config.Config{TCP: true, Settings: config.Settings{NullAuth: true}}, false},
	} {
		var log bytes.Buffer
		if _, err := accounts(tc.cfg, unreadable, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "nobody can log in with a password of this system"); got != tc.want {
			t.Errorf("%+v: %s", tc.cfg, log.String())
		}
	}
}
