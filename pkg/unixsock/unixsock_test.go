//go:build linux

package unixsock

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// abandon leaves a socket that nobody listens on.
func abandon(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestListenReplacing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	for _, name := range []string{"s", "s.1", "s.65535", "s.65536", "s.0", "s.x", "t.1"} {
		abandon(t, filepath.Join(dir, name))
	}
	if err := os.WriteFile(filepath.Join(dir, "s.2"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used, err := Listen(filepath.Join(dir, "s.3"))
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	l, err := ListenReplacing(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, stays := range map[string]bool{
		"s": true, "s.1": false, "s.65535": false, // data sockets of a daemon that is gone
		"s.2": true, "s.3": true, // no socket; somebody listens
		"s.65536": true, "s.0": true, "s.x": true, "t.1": true, // not ours
	} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: %v, want it to stay: %v", name, err, stays)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != Mode {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if _, err := ListenReplacing(path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a socket in use is taken: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenReplacing(filepath.Join(dir, "file")); err == nil {
		t.Error("a file is replaced by a socket")
	}
}

func TestPeerOf(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p, err := PeerOf(conn); err != nil || int(p.UID) != os.Getuid() || int(p.PID) != os.Getpid() {
		t.Errorf("%v, %v", p, err)
	}
}

// TestGroups: those of the process itself, which is its own peer.
func TestGroups(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := GroupsOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range own {
		if i >= len(got) || uint32(g) != got[i] {
			t.Fatalf("%d, want %d", got, own)
		}
	}
}
