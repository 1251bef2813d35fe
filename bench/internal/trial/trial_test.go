//go:build linux

package trial_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/bench/internal/contain"
	"capstan/bench/internal/server"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
	"capstan/pkg/netns/netnstest"
)

// benchPath is the bench under test, built by TestMain.
var benchPath string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if play(os.Args[1:]) {
		return 0
	}
	dir, err := os.MkdirTemp("", "trial-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	benchPath = filepath.Join(dir, "bench")
	if out, err := exec.Command("go", "build", "-o", benchPath, "capstan/bench").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func config(t *testing.T) trial.Config {
	return trial.Config{Self: benchPath, Dir: t.TempDir(), ReadTimeout: 10 * time.Millisecond}
}

func cheatSpec(t *testing.T, what string) server.Spec {
	return server.Spec{Name: what, Transport: server.TCP, Command: []string{self(t), "cheat", "{port}", "{interface}", what}}
}

const frames = 5000

// load is that of the tests. It takes 500 ms, or as long as a busy machine
// makes it last.
func load() trial.Load {
	return trial.Load{Size: traffic.Fixed(400), Rate: 10_000, Duration: time.Minute, Count: frames, Flows: 8}
}

// options are those of the tests: on a busy machine everything lasts longer.
func options() trial.Options {
	return trial.Options{Quiet: 200 * time.Millisecond, Patience: 50 * time.Second}
}

// TestCheatsAreFound holds that a server that does one thing wrong is found out
// with the right number, whatever it says itself.
func TestCheatsAreFound(t *testing.T) {
	netnstest.RequireCapture(t)
	for _, tc := range []struct {
		what                        string
		loss                        trial.Loss
		corrupt, twice, late, burnt int64
	}{
		{what: "honest"},
		{what: "drop", loss: trial.Loss{Total: frames / 100, Unaccounted: frames / 100}},
		// The last hundredth is the last frame: nothing follows the hole.
		{what: "drop-numbered", loss: trial.Loss{Total: frames / 100, Transport: frames/100 - 1, Unaccounted: 1}},
		{what: "drop-claimed", loss: trial.Loss{Total: frames / 100, Ring: frames / 100}},
		{what: "corrupt", corrupt: 1},
		{what: "swap", late: 1},
		{what: "twice", twice: 1},
		{what: "burn-child", burnt: 300},
		{what: "burn-orphan", burnt: 300},
		{what: "burn-thread", burnt: 300},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			r, err := config(t).Run(context.Background(), cheatSpec(t, tc.what), load(), options())
			if err != nil {
				t.Fatal(err)
			}
			if r.Offered != frames || r.Arrived != frames || r.Error != "" || !r.Settled {
				t.Fatalf("result %+v", r)
			}
			if r.Loss != tc.loss || int64(r.Corrupt) != tc.corrupt || int64(r.Duplicates) != tc.twice || int64(r.Late) != tc.late {
				t.Errorf("loss %+v, %d damaged, %d twice, %d late\nwant %+v, %d, %d, %d", r.Loss, r.Corrupt, r.Duplicates, r.Late, tc.loss, tc.corrupt, tc.twice, tc.late)
			}
			if int64(r.Arrived) != int64(r.Delivered)+int64(r.Corrupt)+r.Loss.Total {
				t.Errorf("the frames don't balance: %+v", r)
			}
			if r.CPU < time.Duration(tc.burnt-30)*time.Millisecond {
				t.Errorf("%v of processor time found, %d ms burnt", r.CPU, tc.burnt)
			}
			if r.Latency.Count == 0 || r.Latency.P50 <= 0 || r.Latency.Max > 2*time.Minute { // longer than a trial lasts
				t.Errorf("latency %+v", r.Latency)
			}
			if r.Memory.Ring != ringLen || r.Memory.Peak < r.Memory.RingResident {
				t.Errorf("memory %+v, its ring has 16 MiB", r.Memory)
			}
		})
	}
}

// The cheat that does nothing wrong writes each frame by one system call.
func TestSystemCallsAreCounted(t *testing.T) {
	netnstest.RequireCapture(t)
	r, err := config(t).Run(context.Background(), cheatSpec(t, "honest"), load(), trial.Options{Syscalls: true, Patience: options().Patience})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.SyscallsPerFrame(); r.Syscalls == nil || n < 1 || n > 1.6 {
		t.Errorf("%v system calls per frame", n)
	}
}

func TestLocalCaptures(t *testing.T) {
	netnstest.RequireCapture(t)
	for _, tc := range []struct {
		command string
		quiet   time.Duration
	}{
		{benchPath + " limit drain -i {interface}", 200 * time.Millisecond},
		{"tcpdump -n -i {interface} -w /dev/null", trial.LocalQuiet},
		{"dumpcap -q -i {interface} -w /dev/null", trial.LocalQuiet},
	} {
		spec := server.Spec{Name: "local", Transport: server.Local, Command: strings.Fields(tc.command)}
		t.Run(filepath.Base(spec.Command[0]), func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(spec.Command[0]); err != nil && os.Getenv("CI") != "true" {
				t.Skip(err)
			}
			o := options()
			o.Quiet = tc.quiet
			r, err := config(t).Run(context.Background(), spec, load(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Delivered != r.Arrived || r.Loss != (trial.Loss{}) || r.Offered != frames || r.CPU <= 0 || r.Latency != nil {
				t.Errorf("result %+v", r)
			}
		})
	}
}

// The kernel takes the tag off and tells it beside the frame; the cheat doesn't
// put it back.
func TestLostTagsAreFound(t *testing.T) {
	netnstest.RequireCapture(t)
	l := load()
	l.Kind, l.VLAN = traffic.TCP, []uint16{7, 8}
	r, err := config(t).Run(context.Background(), cheatSpec(t, "honest"), l, options())
	if err != nil {
		t.Fatal(err)
	}
	if r.Arrived != frames || r.Delivered != 0 || r.Corrupt != frames {
		t.Errorf("result %+v", r)
	}
}

func TestServerThatDoesNotWork(t *testing.T) {
	netnstest.RequireCapture(t)
	for _, tc := range []struct{ name, transport, command, want string }{
		{"ends", "tcp", "false", "ended at its start"},
		{"isn't there", "tcp", "/nowhere/rpcapd", "no such file"},
		{"says why", "tcp", "ls --no-such-option", "no-such-option"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := server.Spec{Name: "x", Transport: server.Transport(tc.transport), Command: strings.Fields(tc.command)}
			_, err := config(t).Run(context.Background(), spec, load(), options())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one about %q", err, tc.want)
			}
		})
	}
}

// processesWith returns how many processes have that word in their command.
func processesWith(t *testing.T, word string) (n int) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), word) && !strings.Contains(path, fmt.Sprint("/", os.Getpid(), "/")) {
			n++
		}
	}
	return n
}

// TestNothingIsLeftBehind ends bench in the middle: whatever a server has
// detached, and the files, go as well.
func TestNothingIsLeftBehind(t *testing.T) {
	netnstest.RequireCapture(t)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) { leaveNothing(t, sig) })
	}
}

func leaveNothing(t *testing.T, sig syscall.Signal) {
	const word = "linger-73561" // in the commands of the server and its child
	temp := t.TempDir()
	cmd := exec.Command(benchPath, "server", "--server", "x=tcp:"+self(t)+" cheat-linger "+word+" {port} {interface} honest",
		"--sizes", "400", "--rates", "1000", "--duration", "20s", "--search-steps", "0")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain: %s", what)
			}
		}
	}
	files := func() int {
		list, err := os.ReadDir(temp)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	// bench, the container's first process, the server, its child.
	await("everything runs", func() bool { return processesWith(t, word) >= 4 && files() > 0 })
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a session that was cut off counts as done")
	}
	await("all processes are gone", func() bool { return processesWith(t, word) == 0 })
	await("all files are gone", func() bool { return files() == 0 })
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct{ all, server, generator contain.CPUs }{
		{contain.CPUs{0}, contain.CPUs{0}, contain.CPUs{0}},
		{contain.CPUs{0, 1}, contain.CPUs{0}, contain.CPUs{1}},
		{contain.CPUs{2, 3, 5}, contain.CPUs{2, 3}, contain.CPUs{5}},
	} {
		s, g := trial.Split(tc.all)
		if s.String() != tc.server.String() || g.String() != tc.generator.String() {
			t.Errorf("%v: server %v, generator %v", tc.all, s, g)
		}
	}
}
