//go:build linux

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/netns/netnstest"
)

// makeIn runs make for a prefix, without building anything.
func makeIn(t *testing.T, target, prefix, bin string) {
	t.Helper()
	cmd := exec.Command("make", "-s", "-C", "..", "-o", "build", target, "PREFIX="+prefix, "BIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", target, err, out)
	}
}

func installed(t *testing.T, root string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// What is installed is where it belongs, passes systemd's own check, and goes
// away again.
func TestInstall(t *testing.T) {
	netnstest.RequireProgram(t, "make")
	netnstest.RequireProgram(t, "systemd-analyze")
	bin, prefix := t.TempDir(), filepath.Join(t.TempDir(), "usr")
	for _, name := range []string{"rpcapd", "interceptor", "relay"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	makeIn(t, "install", prefix, bin)
	want := []string{
		"/bin/interceptor", "/bin/relay",
		"/lib/systemd/system/capstan-relay.service",
		"/lib/systemd/system/rpcapd-daemon.socket", "/lib/systemd/system/rpcapd.service",
		"/lib/systemd/system/rpcapd.socket", "/lib/systemd/system/rpcapd@.service",
		"/sbin/rpcapd",
		"/share/man/man8/rpcapd.8",
		"/share/rpcapd/rpcapd.inetd.conf", "/share/rpcapd/rpcapd.xinetd.conf",
	}
	if got := installed(t, prefix); !slices.Equal(got, want) {
		t.Errorf("installed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	units, err := filepath.Glob(prefix + "/lib/systemd/system/*")
	if err != nil {
		t.Fatal(err)
	}
	// The check includes that what the units start is there.
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	makeIn(t, "uninstall", prefix, bin)
	if left := installed(t, prefix); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What systemd counts as open in each service stays as little as it is.
func TestUnitsAreConfined(t *testing.T) {
	netnstest.RequireProgram(t, "systemd-analyze")
	for unit, exposure := range map[string]string{ // of 100
		"rpcapd.service": "25", "rpcapd@.service": "25", "capstan-relay.service": "12",
	} {
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold="+exposure, "../manifests/systemd/"+unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}
