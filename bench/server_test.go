//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/bench/internal/report"
	"capstan/pkg/netns/netnstest"
)

// TestServerMeasuresRealServers makes a short session with our rpcapd and a
// local tcpdump, as a user would.
func TestServerMeasuresRealServers(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds of waiting")
	}
	netnstest.RequireCapture(t)
	bin, out := t.TempDir(), t.TempDir()
	if text, err := exec.Command("go", "build", "-o", bin, "capstan/rpcapd", "capstan/bench").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	cmd := exec.Command(filepath.Join(bin, "bench"), "server",
		"--server", "ours=unix:"+bin+"/rpcapd --unix-socket {socket}", "--server", "tcpdump=local:tcpdump -n -i {interface} -w /dev/null",
		"--fact", "ours=under test", "--kind", "tcp", "--vlan", "5,6", "--flows", "4", "--sizes", "imix", "--rates", "2000", "--runs", "1",
		"--duration", "100ms", "--search-steps", "1", "--repeats", "0", "--lone-time", "250ms", "--output", out, "--name", "short", "--format", "benchstat")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	r, err := report.LoadFile(filepath.Join(out, "short.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Missing) != 0 || len(r.Loads) != 1 || len(r.Searches) != 2 || len(r.Lone) != 1 || len(r.Lone[0].Runs) != 1 {
		t.Fatalf("%+v\n%s", r, stderr.String())
	}
	load := &r.Loads[0]
	for _, s := range load.Servers {
		if len(s.Runs) != 1 || s.Runs[0].Delivered == 0 || s.Runs[0].CPU <= 0 || s.Syscalls == nil {
			t.Errorf("%s: %+v", s.Server, s)
		}
		if run := &s.Runs[0]; int64(run.Arrived) != int64(run.Delivered)+run.Loss.Total || run.Corrupt != 0 {
			t.Errorf("%s: the frames don't balance, or lack their tags: %+v", s.Server, run)
		}
	}
	if len(load.Drain.Runs) != 1 || len(load.Feeds) != 1 {
		t.Errorf("limits: %+v", load)
	}
	saved, err := os.ReadFile(filepath.Join(out, "short.txt"))
	if err != nil || string(saved) != string(printed) || !strings.Contains(string(saved), "/size=imix/rate=2000/kind=tcp/vlans=2-") {
		t.Errorf("%v:\n%s\nprinted:\n%s", err, saved, printed)
	}
	full, err := os.ReadFile(filepath.Join(out, "short.md"))
	if err != nil || !strings.Contains(string(full), "under test") || strings.Contains(string(full), bin) {
		t.Errorf("%v, report that names a directory of this machine, or not what it was told:\n%s", err, full)
	}
}

// TestServerRefusesEarly holds that what would spoil a session is found before
// it begins.
func TestServerRefusesEarly(t *testing.T) {
	netnstest.RequireCapture(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--sizes 20":                "need 60 bytes",
		"--sizes file:/nowhere":     "/nowhere",
		"--kind grpc":               "can't be told apart",
		"--vlan 4095":               "VLAN 4095",
		"--rates 0":                 "rate \"0\"",
		"--read-timeout 0s":         "read timeout 0s",
		"--format song":             "format \"song\"",
		"--name a/b":                "name \"a/b\"",
		"--output " + file:          "not a directory",
		"--server a=tcp:/nowhere/x": "/nowhere/x",
		"--fact b=1":                "no server here",
	} {
		var stdout, stderr strings.Builder
		cmd := serverCommand(&stdout, &stderr)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		words := strings.Fields(args)
		if words[0] != "--server" {
			words = append(words, "--server", "a=tcp:true")
		}
		cmd.SetArgs(words)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) || stderr.Len() > 0 {
			t.Errorf("%s: %v, want an error with %q and nothing begun: %s", args, err, want, stderr.String())
		}
	}
}
