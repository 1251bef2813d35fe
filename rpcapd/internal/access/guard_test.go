package access

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/policy"
)

const secret = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1" // MD5-crypt of "secret"

// host is the accounts of a system in files.
func host(t *testing.T) auth.System {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return auth.System{
		Passwd: file("passwd", "root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\neve:x:1002:1002::/:/bin/sh\n"),
		Shadow: file("shadow", "root:"+secret+":::::::\nalice:"+secret+":::::::\nbob:"+secret+":::::::\neve:"+secret+":::::::\n"),
		Group:  file("group", "root:x:0:\nwireshark:x:110:alice\n"),
	}
}

var peer = netip.MustParseAddr("192.0.2.1")

func rightsOf(t *testing.T, g *Guard, user string) policy.Rights {
	t.Helper()
	rights, err := g.Login(t.Context(), peer, user, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return rights
}

// A login is no right: who isn't root, in the group or in the policy can't
// capture, however right the password is.
func TestRights(t *testing.T) {
	source := host(t)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("users:\n  bob: {devices: [lo]}\n")
	g, err := New(Options{Source: source, Policy: file, Group: "wireshark", CheckFilter: func(string) error { return nil }}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string][2]bool{ // may open lo, eth0
		"root": {true, true}, "alice": {true, true}, "bob": {true, false}, "eve": {false, false},
	} {
		r := rightsOf(t, g, user)
		if got := [2]bool{r.Allows("lo"), r.Allows("eth0")}; got != want {
			t.Errorf("%s: %v, want %v", user, got, want)
		}
	}
	if _, err := g.Login(t.Context(), peer, "root", []byte("guess")); !errors.As(err, new(*auth.LoginError)) {
		t.Error(err)
	}
	// A changed file holds when it is read again, and a broken one doesn't.
	write("users:\n  eve:\nanonymous: {devices: [lo]}\n")
	if rightsOf(t, g, "eve").Capture {
		t.Error("before it is read again")
	}
	if err := g.Reload(); err != nil || !rightsOf(t, g, "eve").Capture || rightsOf(t, g, "bob").Capture || g.Anonymous().Allows("eth0") {
		t.Errorf("after: %v", err)
	}
	write("user: {}")
	if err := g.Reload(); err == nil || !strings.Contains(err.Error(), file+":1: user: no such key") || !rightsOf(t, g, "eve").Capture {
		t.Errorf("after a broken one: %v", err)
	}
	if _, err := New(Options{Source: source, Policy: file}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a broken policy at start is no error")
	}
}

func TestWarnings(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	g, err := New(Options{Source: auth.System{Passwd: filepath.Join(t.TempDir(), "none")}}, logger)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := g.Login(t.Context(), peer, "root", []byte("secret")); err == nil {
			t.Fatal("let in without accounts")
		}
		g.ClearPassword(netip.Addr{})
		g.ClearPassword(netip.IPv6Loopback())
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "the accounts can't be read") {
		t.Errorf("%d lines: %s", n, log.String())
	}
	log.Reset()
	for range 3 {
		g.ClearPassword(peer)
	}
	if strings.Count(log.String(), "a password came over the network in clear") != 1 {
		t.Error(log.String())
	}
	if !g.Anonymous().Capture {
		t.Error("without policy, who is let in without login may do everything")
	}
}
