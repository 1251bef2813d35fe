//go:build linux

package contain_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"capstan/bench/internal/contain"
	"capstan/pkg/netns/netnstest"
)

// TestMain lets the test binary play bench in its hidden roles.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case contain.InitName, contain.ExecName:
			os.Exit(play(os.Args[1], os.Args[3], os.Args[5:]))
		case contain.JanitorName:
			if err := contain.Clean(os.Stdin, os.Args[2]); err != nil {
				os.Exit(1)
			}
			return
		}
	}
	// Children die with the thread that started them.
	runtime.LockOSThread()
	os.Exit(m.Run())
}

func play(name, cpus string, argv []string) (status int) {
	list, err := contain.ParseCPUs(cpus)
	if err == nil && name == contain.ExecName {
		err = contain.Exec(list, argv)
	} else if err == nil {
		status, err = contain.Init(list, argv)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return status
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInitHandsTheStatusOn(t *testing.T) {
	netnstest.Require(t)
	for _, tc := range []struct {
		script string
		want   int
	}{
		{"exit 7", 7},
		{"kill -TERM $$", 128 + int(syscall.SIGTERM)},
		{"true", 0},
		{"sleep 0.01 & exec sleep 0.1", 0}, // with an orphan
	} {
		cmd := contain.Command(self(t), nil, []string{"sh", "-c", tc.script})
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != tc.want {
			t.Errorf("%s: status %d, want %d", tc.script, got, tc.want)
		}
	}
	if out, err := contain.Command(self(t), nil, []string{"/nowhere/program"}).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("no such file")) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestInitHandsSignalsOn(t *testing.T) {
	netnstest.Require(t)
	cmd := contain.Command(self(t), nil, []string{"sh", "-c", "trap 'exit 5' INT; echo ready; while :; do sleep 0.01; done"})
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("%v, want status 5", err)
	}
}

func TestCommandsKeepToTheirProcessors(t *testing.T) {
	netnstest.Require(t)
	for _, command := range []func(string, contain.CPUs, []string) *exec.Cmd{contain.Command, contain.ExecCommand} {
		out, err := command(self(t), contain.CPUs{0}, []string{"grep", "Cpus_allowed_list", "/proc/self/status"}).Output()
		if err != nil || strings.TrimSpace(string(out)) != "Cpus_allowed_list:\t0" {
			t.Errorf("%q, %v", out, err)
		}
	}
}

func TestParseCPUs(t *testing.T) {
	for _, s := range []string{"", "0", "1,3,12"} {
		if got, err := contain.ParseCPUs(s); err != nil || got.String() != s {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"a", "-1", "1,", "1-3"} {
		if got, err := contain.ParseCPUs(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

func TestDirGoesWithClose(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d, err := contain.NewDir(self(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Path(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", d.Path(), err)
	}
	if _, err := contain.NewDir("/nowhere/bench"); err == nil {
		t.Error("a directory without a janitor")
	}
	if list, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}
