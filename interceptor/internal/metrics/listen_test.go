package metrics

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/interceptor/internal/ledger"
)

// abandonedSocket leaves a socket that nobody listens on.
func abandonedSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHealthOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "interceptor.sock")
	address := unixPrefix + path
	if err := Health(t.Context(), address, true); err == nil {
		t.Error("nobody is alive")
	}
	abandonedSocket(t, path)
	l := []ledger.Ledger{{Name: "a", Live: true}}
	stop, err := Serve(Config{Address: address, Ledgers: func() []ledger.Ledger { return l }, Output: func() ledger.Output { return ledger.Output{} }})
	if err != nil {
		t.Fatal(err)
	}
	if err := Health(t.Context(), address, true); err != nil {
		t.Errorf("alive: %v", err)
	}
	if err := Health(t.Context(), address, false); err == nil || err.Error() != "not connected to a" {
		t.Errorf("a lost source: %v", err)
	}
	l[0].Source.Connected = true
	if err := Health(t.Context(), address, false); err != nil {
		t.Errorf("connected: %v", err)
	}
	if _, err := Serve(Config{Address: address}); err == nil || !strings.Contains(err.Error(), "somebody listens") {
		t.Errorf("a second one: %v", err)
	}
	stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestListenRemovesSocketsOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Serve(Config{Address: unixPrefix + path}); err == nil {
		t.Error("a file is taken for a socket")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("%q, %v", data, err)
	}
}
