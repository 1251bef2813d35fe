//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"capstan/pkg/logtest"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// The recipe of docs/ssh-tunnel.md, with a real ssh between two namespaces.
func TestSSHTunnel(t *testing.T) {
	for _, program := range []string{"ssh", "sshd", "ssh-keygen"} {
		netnstest.RequireProgram(t, program)
	}
	host, peer := link(t)
	dir := t.TempDir()
	key := startSSHD(t, host, dir)
	s := serve(t, host, "-n", "-b", "127.0.0.1", "-t", "2004")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	tunnel := exec.Command("ssh", "-F", "none", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
		"-o", "ExitOnForwardFailure=yes", "-N", "-L", "2002:127.0.0.1:2002", "-L", "2004:127.0.0.1:2004", me.Username+"@10.9.8.1")
	var log logtest.Buffer
	tunnel.Stdout, tunnel.Stderr = &log, &log
	start(t, peer, tunnel)
	eventually(t, "the tunnel", func() bool { return reachable(peer, "127.0.0.1:2004") })
	clients := []*client{tcpClient(t, peer, "127.0.0.1"), tcpClient(t, peer, "127.0.0.1")}
	var streams []*stream
	for _, c := range clients { // their captures have the same peer and the same port
		streams = append(streams, c.capture("cap0", 200, testFilter(12)))
	}
	sendFrames(t, peer, "gen0", testFrame(2, nil), testFrame(3, nil), testFrame(4, nil))
	for i, c := range clients {
		packets, _ := c.end(streams[i])
		if len(packets) != 2 {
			t.Errorf("client %d: %d packets, want 2\nssh: %s", i, len(packets), log.String())
		}
	}
	s.stop()
}

// reachable tells whether a connection can be made. The connection that tells
// is closed at once.
func reachable(n *netns.NS, address string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := n.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// startSSHD runs an ssh server in n that lets this user in by the key whose
// file is returned.
func startSSHD(t *testing.T, n *netns.NS, dir string) (key string) {
	t.Helper()
	key = filepath.Join(dir, "user")
	hostKey := filepath.Join(dir, "host")
	for _, path := range []string{key, hostKey} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	// Debian's sshd wants this directory, which its service makes.
	const separation = "/run/sshd"
	if err := os.Mkdir(separation, 0o755); err == nil {
		t.Cleanup(func() { os.Remove(separation) })
	} else if !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf("ListenAddress 10.9.8.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n", hostKey, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("sshd")
	if err != nil {
		t.Fatal(err)
	}
	sshd := exec.Command(path, "-D", "-e", "-f", config)
	var log logtest.Buffer
	sshd.Stderr = &log
	start(t, n, sshd)
	eventually(t, "sshd", func() bool { return reachable(n, "10.9.8.1:22") })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("sshd: %s", log.String())
		}
	})
	return key
}

// start runs a program in n until the end of the test.
func start(t *testing.T, n *netns.NS, cmd *exec.Cmd) {
	t.Helper()
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
