//go:build linux

// Package contain runs a command so that nothing of it escapes: on chosen
// processors, and with everything it starts in a PID namespace that ends with
// its first process.
//
// A server under test may fork, detach and ignore signals as it likes. Its first
// process, which is bench itself in the role of [Init], dies with the bench that
// started it (Pdeathsig), and then the kernel kills the rest. All that the
// server starts stays a descendant of that process, so all can be found and
// accounted.
package contain

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// CPUs is a list of processors; empty means all.
type CPUs []int

// ParseCPUs reads the numbers that [CPUs.String] wrote.
func ParseCPUs(s string) (CPUs, error) {
	var list CPUs
	for f := range strings.SplitSeq(s, ",") {
		if s == "" {
			break
		}
		n, err := strconv.Atoi(f)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("processors %q: not numbers between commas", s)
		}
		list = append(list, n)
	}
	return list, nil
}

// String returns the numbers between commas.
func (c CPUs) String() string {
	var list []string
	for _, n := range c {
		list = append(list, strconv.Itoa(n))
	}
	return strings.Join(list, ",")
}

// bind keeps the calling thread, and what it starts, to the processors.
func (c CPUs) bind() error {
	if len(c) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, n := range c {
		set.Set(n)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("processors %v: %w", c, err)
	}
	return nil
}

// Exec becomes the command. It returns only if that fails.
func Exec(cpus CPUs, argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := cpus.bind(); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

// Command returns a command that runs argv in the care of [Init]; self is the
// path of bench. Its process is that of Init: what it starts is the server. The
// caller sets input and output and starts it from a thread that outlives it.
func Command(self string, cpus CPUs, argv []string) *exec.Cmd {
	cmd := exec.Command(self, append([]string{InitName, "--cpus", cpus.String(), "--"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL, Setpgid: true,
	}
	return cmd
}

// ExecCommand returns a command that becomes argv by [Exec].
func ExecCommand(self string, cpus CPUs, argv []string) *exec.Cmd {
	cmd := exec.Command(self, append([]string{ExecName, "--cpus", cpus.String(), "--"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// Names of the subcommands of bench that call [Init] and [Exec].
const (
	InitName = "contain-init"
	ExecName = "contain-exec"
)

// Init runs the command as its child, hands SIGINT and SIGTERM on to it, takes
// over and waits for all orphans, and returns the command's exit status, 128
// plus the signal if one killed it. When Init's process ends, the kernel kills
// whatever the command has left behind.
func Init(cpus CPUs, argv []string) (status int, err error) {
	runtime.LockOSThread() // children inherit this thread's processors, and die with it
	if err := cpus.bind(); err != nil {
		return 0, err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		// A group of its own: the C rpcapd ends by killing its group.
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	go func() { // ends with the process
		for s := range signals {
			_ = unix.Kill(pid, s.(syscall.Signal)) // fails if it has ended
		}
	}()
	return reap(pid)
}

func reap(pid int) (int, error) {
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case ended == pid && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}
