//go:build linux

package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// A daemon in the background finds this variable; it has the write end of a
// pipe that its starter waits at.
const (
	backgroundVariable = "RPCAPD_BACKGROUND"
	readyFD            = 3
)

// InBackground reports whether this process is the one that [Background] has
// started.
func InBackground() bool { return os.Getenv(backgroundVariable) != "" }

// Background starts this program again, with the same arguments, in a session
// of its own, and waits until it serves or has failed. A Go program can't fork.
// The working directory and the umask stay, as with the reference; standard
// error is shared until [Ready]. The result is the status to exit with.
//
// Deviation: the reference's first process exits before the daemon listens,
// with 0 whatever happens then.
func Background(args []string, stderr io.Writer) (status int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), backgroundVariable+"=1")
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, fmt.Errorf("starting the daemon: %w", err)
	}
	if n, _ := io.ReadFull(r, make([]byte, 1)); n == 1 {
		return 0, cmd.Process.Release()
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, fmt.Errorf("the daemon has ended: %w", err)
}

// Ready tells who started this process that it serves.
func Ready() error {
	started()
	if !InBackground() {
		return nil
	}
	if err := detach(); err != nil {
		return err
	}
	starter := os.NewFile(readyFD, "starter")
	defer starter.Close()
	if _, err := starter.Write([]byte{1}); err != nil && !errors.Is(err, syscall.EPIPE) { // a starter that was killed
		return fmt.Errorf("telling that the daemon serves: %w", err)
	}
	return os.Unsetenv(backgroundVariable)
}
