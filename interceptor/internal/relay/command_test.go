package relay

import (
	"bytes"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"capstan/pkg/certtest"
)

// Mistakes are told at the start, not when the first record is on its way, and
// by the exit status that the usage promises.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	words := certtest.Write(t, dir, "token", []byte("two words"))
	run := func(more ...string) []string {
		return append([]string{
			"run", "--listen", "127.0.0.1:0", "--insecure-listen", "--spool-dir", filepath.Join(dir, "spool"), "--collector", "127.0.0.1:9",
		}, more...)
	}
	sink := func(more ...string) []string {
		return append([]string{"sink", "--listen", "127.0.0.1:0", "--insecure-listen", "--spool-dir", filepath.Join(dir, "spool")}, more...)
	}
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"bogus"}, exitUsage, `unknown command "bogus"`},
		{run("more"), exitUsage, `unknown command "more"`},
		{run("--bogus"), exitUsage, "unknown flag"},
		{[]string{"run"}, exitUsage, "--spool-dir is not given"},
		{run("--spool-size", "100"), exitUsage, "--spool-size 100 is less than 1MiB"},
		{run("--spool-size", "64KiB"), exitUsage, "--spool-size 64KiB is less than"},
		{run("--spool-size", "1MB"), exitUsage, `"1MB" is no number of bytes`},
		{run("--spool-size", "1MiB", "--spool-dir", "/proc/spool"), exitFailed, "/proc/spool"},
		{sink("--rotate-size", "-1"), exitUsage, `"-1" is no number of bytes`},
		{sink("--rotate-size", "64MiB", "--directory", "/nowhere"), exitFailed, "/nowhere"},
		{run("--drain-timeout", "-1s"), exitUsage, "--drain-timeout -1s"},
		{run("--tls-key", "x"), exitUsage, "contradict"},
		{run("--insecure-listen=false"), exitUsage, "are needed"},
		{run("--insecure-listen=false", "--tls-cert", "/nowhere", "--tls-key", "/nowhere", "--tls-client-ca", "/nowhere"), exitFailed, "/nowhere"},
		{run("--collector", ""), exitUsage, "--collector is not given"},
		{run("--collector", "collector.example"), exitUsage, `"collector.example": not HOST:PORT`},
		{run("--collector", ":4417"), exitUsage, "not HOST:PORT"},
		{run("--collector", "http://collector.example:4417"), exitUsage, "not HOST:PORT"},
		{run("--collector", "collector.example:grpc"), exitUsage, "not HOST:PORT"},
		{run("--node", ""), exitUsage, "node's name"},
		{run("--node", strings.Repeat("n", 254)), exitUsage, "node's name"},
		{run("--node", "\xff"), exitUsage, "node's name"},
		{run("--collector-ca", "/nowhere"), exitUsage, "/nowhere"},
		{run("--collector-token", "/nowhere"), exitUsage, "/nowhere"},
		{run("--collector-token", words), exitUsage, "holds no single word"},
		{run("--collector-insecure", "--collector-token", words), exitUsage, "needs TLS"},
		{run("--https-proxy", "http://user:secret word@proxy:1"), exitUsage, "neither HOST:PORT nor a URL"},
		{run("--spool-dir", "/proc/spool"), exitFailed, "/proc/spool"},
		{run("--listen", "127.0.0.1:99999"), exitFailed, "99999"},
		{run("--admin-address", "127.0.0.1:99999"), exitFailed, "99999"},
		{sink(), exitUsage, "--directory is not given"},
		{sink("--directory", "/nowhere"), exitFailed, "/nowhere"},
		{[]string{"status", "--admin-address", "127.0.0.1:99999"}, exitFailed, "99999"},
	} {
		var stdout, stderr bytes.Buffer
		status := Run(t.Context(), tt.args, &stdout, &stderr)
		if status != tt.status || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%q: %d, want %d and %q in\n%s", tt.args, status, tt.status, tt.want, stderr.String())
		}
		for _, secret := range []string{"secret word", "two words"} {
			if strings.Contains(stderr.String(), secret) {
				t.Errorf("%q tells a secret: %s", tt.args, stderr.String())
			}
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := Run(t.Context(), nil, &stdout, &stderr); status != exitDone || !strings.Contains(stdout.String(), "Available Commands") {
		t.Errorf("%d\n%s%s", status, stdout.String(), stderr.String())
	}
}

// The admin is in this network: what asks it doesn't use the proxy out of it.
func TestStatusGoesDirectly(t *testing.T) {
	if f := statusClient.Transport.(*http.Transport).Proxy; f != nil {
		t.Error("through a proxy")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) })}
	go func() { defer close(done); _ = server.Serve(l) }() // ended by Close
	defer func() { server.Close(); <-done }()
	var stdout, stderr bytes.Buffer
	if status := Run(t.Context(), []string{"status", "--admin-address", l.Addr().String()}, &stdout, &stderr); status != exitFailed || !strings.Contains(stderr.String(), "418") {
		t.Errorf("%d %s", status, stderr.String())
	}
}
