//go:build linux

// Package netnstest lets tests ask for the privilege that namespaces need.
package netnstest

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/pkg/netns"
)

// Require skips the test if this process may not make network namespaces, and
// says which capability is missing. With CI=true in the environment the test
// fails instead, so that a privileged test can't be lost unnoticed.
func Require(t testing.TB) {
	t.Helper()
	require(t, netns.Supported())
}

// RequireCapture is [Require] for tests that also capture: packet sockets
// (CAP_NET_RAW) and socket filters (CAP_BPF).
func RequireCapture(t testing.TB) {
	t.Helper()
	Require(t)
	require(t, netns.CheckCapability(unix.CAP_NET_RAW, "CAP_NET_RAW"))
	RequireBPF(t)
}

// RequireBPF skips the test, or fails it as [Require] does, if this process
// may not load socket filters (CAP_BPF).
func RequireBPF(t testing.TB) {
	t.Helper()
	require(t, netns.CheckCapability(unix.CAP_BPF, "CAP_BPF"))
}

// RequireProgram returns the path of a program that judges or plays the other
// side. It skips the test, or fails it as [Require] does, if there is none.
func RequireProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require(t, err)
	return path
}

func require(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("CI=true, but this test can't run: %v", err)
	default:
		t.Skip(err)
	}
}

// New returns a namespace that is closed at the end of the test.
func New(t testing.TB) *netns.NS {
	t.Helper()
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing a namespace: %v", err)
		}
	})
	return n
}
