//go:build linux

package cpu_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/bench/internal/cpu"
)

// TestMain lets the test binary play the processes that are accounted.
func TestMain(m *testing.M) {
	if play := os.Getenv("CPU_TEST_PLAY"); play != "" {
		act(strings.Fields(play))
		return
	}
	os.Exit(m.Run())
}

// act plays a role: each word is something to do.
//
//	burn:MS     use the processor for so long, measured by the thread's clock
//	thread:MS   the same on a thread of its own, which then ends
//	child:MS    the same in a child, which is waited for
//	orphan:MS   the same in a grandchild whose parent waits for a line and ends
//	server:MS   the same in a great-grandchild, whose grandparent stays, and that is waited for by us
//	say         write a line, then wait for one
//	stay        for ever
func act(roles []string) {
	for _, role := range roles {
		what, ms, _ := strings.Cut(role, ":")
		n, _ := strconv.Atoi(ms)
		d := time.Duration(n) * time.Millisecond
		switch what {
		case "burn":
			burn(d)
		case "thread":
			done := make(chan struct{})
			go func() {
				runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
				burn(d)
				close(done)
			}()
			<-done
		case "child":
			if err := self("burn:" + ms).Run(); err != nil {
				panic(err)
			}
		case "orphan":
			if err := self("detach:" + ms).Run(); err != nil {
				panic(err)
			}
		case "detach":
			if err := self("burn:" + ms).Start(); err != nil {
				panic(err)
			}
			hear()
		case "server":
			adopt(self("orphan:"+ms, "stay"))
		case "say":
			fmt.Println("here")
			hear()
		case "stay":
			time.Sleep(time.Hour)
		}
	}
}

// hear waits for a line.
func hear() { _, _ = io.ReadFull(os.Stdin, make([]byte, 1)) }

// adopt starts a server and waits for the first orphan that it leaves.
func adopt(server *exec.Cmd) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		panic(err)
	}
	if pid, err := syscall.Wait4(-1, nil, 0, nil); err != nil || pid == server.Process.Pid {
		panic(fmt.Sprint("process ", pid, " ended: ", err))
	}
}

// burn uses the processor until its thread has used d more than before.
func burn(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var r syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	used := func() time.Duration {
		syscall.Getrusage(thread, &r)
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	x := uint64(1)
	for begin := used(); used()-begin < d; {
		for range 100_000 {
			x = x*6364136223846793005 + 1
		}
	}
	if x == 0 {
		fmt.Println(x)
	}
}

func self(roles ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	// The race detector would let it sleep for a second at its end.
	cmd.Env = append(os.Environ(), "CPU_TEST_PLAY="+strings.Join(roles, " "), "GORACE=atexit_sleep_ms=0")
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	return cmd
}

// actor starts a process that plays roles, and returns a function that waits
// for its next line and one that lets it go on.
func actor(t *testing.T, roles ...string) (pid int, await, proceed func()) {
	t.Helper()
	cmd := self(roles...)
	cmd.Stdin = nil
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	line := make([]byte, len("here\n"))
	await = func() {
		t.Helper()
		if _, err := io.ReadFull(out, line); err != nil || !bytes.Equal(line, []byte("here\n")) {
			t.Fatalf("the actor said %q, %v", line, err)
		}
	}
	return cmd.Process.Pid, await, func() { fmt.Fprint(in, "\n") }
}

// schedstat is the scheduler's own account of a process's living threads.
func schedstat(t *testing.T, pid int) time.Duration {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	for _, thread := range threads {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, thread.Name()))
		if err != nil {
			t.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

func TestClockAgreesWithSchedstat(t *testing.T) {
	pid, await, _ := actor(t, "burn:200", "say")
	await()
	time.Sleep(50 * time.Millisecond) // it falls asleep, and its counters come to rest
	want := schedstat(t, pid)
	got, err := cpu.Clock(pid)
	if err != nil {
		t.Fatal(err)
	}
	if d := got - want; d < 0 || d > 5*time.Millisecond || got < 200*time.Millisecond {
		t.Errorf("clock %v, schedstat %v", got, want)
	}
}

func TestClockOfNobody(t *testing.T) {
	const nobody = 1 << 22 // the kernel's numbers end below
	if d, err := cpu.Clock(nobody); err == nil {
		t.Errorf("no such process, but it used %v", d)
	}
	if _, err := cpu.Watch(nobody); err == nil {
		t.Error("no such process, but it is watched")
	}
}

func TestTreeFindsWhatWasBurnt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		roles  []string
		burnt  time.Duration
		least  time.Duration // where the tree can't know all
		meet   int           // processes to be seen together, before one of them may go on
		living int           // at the end
	}{
		{"itself", []string{"burn:300"}, 300 * time.Millisecond, 0, 0, 1},
		{"a thread that has ended", []string{"thread:300"}, 300 * time.Millisecond, 0, 0, 1},
		{"a child that has ended", []string{"child:300"}, 300 * time.Millisecond, 0, 0, 1},
		{"children too short to be seen", slices.Repeat([]string{"child:5"}, 30), 150 * time.Millisecond, 0, 0, 1},
		{"a grandchild whose parent has ended, adopted by a stranger", []string{"orphan:300"}, 300 * time.Millisecond, 200 * time.Millisecond, 3, 1},
		{"one whose grandparent lives, adopted by the root", []string{"server:300"}, 300 * time.Millisecond, 0, 4, 2},
		{"all of it", []string{"burn:100", "thread:100", "child:100"}, 300 * time.Millisecond, 0, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pid, await, proceed := actor(t, append(append([]string{"say"}, tc.roles...), "say")...)
			await()
			tree, err := cpu.Watch(pid)
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			// until waits for so many processes.
			until := func(what string, enough func(n int) bool) {
				for end := time.Now().Add(30 * time.Second); !enough(len(tree.Processes())); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%d processes live, want %s", len(tree.Processes()), what)
					}
				}
			}
			before := tree.Time()
			proceed()
			if tc.meet > 0 {
				// Numbers alone could be those of os/exec, which tries at first what
				// the kernel can with a child that ends at once.
				until(fmt.Sprint(tc.meet, " at once, one of which burns"), func(n int) bool {
					return n >= tc.meet && tree.Time()-before > tc.burnt/3
				})
				proceed()
			}
			await()
			until(fmt.Sprint(tc.living, " at the end"), func(n int) bool { return n <= tc.living })
			got := tree.Time() - before
			least := tc.least
			if least == 0 {
				least = tc.burnt - 20*time.Millisecond // ticks of the waited-for
			}
			// A process costs some ms that it doesn't burn, more on a busy machine,
			// but not as much again.
			if most := tc.burnt + tc.burnt*3/4 + time.Duration(len(tc.roles))*20*time.Millisecond; got < least || got > most {
				t.Errorf("%v burnt, %v found, want from %v to %v", tc.burnt, got, least, most)
			}
		})
	}
}

func TestTreeWithoutRoot(t *testing.T) {
	pid, await, proceed := actor(t, "say", "burn:300", "child:300", "say")
	await()
	tree, err := cpu.WatchChildren(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	before := tree.Time()
	proceed()
	await()
	if got := tree.Time() - before; got < 280*time.Millisecond || got > 525*time.Millisecond {
		t.Errorf("the child burnt 300 ms, %v found", got)
	}
	if list := tree.Processes(); len(list) != 0 {
		t.Errorf("processes %v, want none", list)
	}
}

func TestRunnable(t *testing.T) {
	pid, await, proceed := actor(t, "say", "burn:100", "say")
	await()
	until := func(want bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); cpu.Runnable(pid) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("runnable: %v", !want)
			}
		}
	}
	until(false)
	proceed()
	until(true)
	await()
	until(false)
	if cpu.Runnable(1 << 22) {
		t.Error("nobody is runnable")
	}
}

// What has been found stays found when all of it has ended.
func TestTreeOutlivesItsProcesses(t *testing.T) {
	pid, await, proceed := actor(t, "burn:100", "child:100", "say", "say")
	await()
	tree, err := cpu.Watch(pid)
	if err != nil {
		t.Fatal(err)
	}
	alive := tree.Time()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	proceed()
	time.Sleep(50 * time.Millisecond)
	tree.Close()
	tree.Close()
	if got := tree.Time(); got < alive || alive < 180*time.Millisecond {
		t.Errorf("%v after the end, %v before", got, alive)
	}
}
