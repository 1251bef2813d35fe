// Package pair starts the two processes of the pipeline, an rpcapd and an
// interceptor attached to it, and stops them in the right order.
package pair

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Starter starts a command: [exec.Cmd.Start], or one that starts it inside a
// network namespace.
type Starter func(*exec.Cmd) error

// Config tells what to start.
type Config struct {
	Rpcapd, Interceptor string   // paths of the binaries
	RpcapdArgs          []string // where to listen
	Source              string   // the interceptor's source URL
	InterceptorArgs     []string // more arguments of "interceptor run"
	// Instead, if set, runs in the interceptor's place until its context ends.
	Instead        func(context.Context) error
	Start          Starter
	Stdout, Stderr io.Writer
}

const (
	readyLine    = "Press CTRL + C to stop the server..."
	readyTimeout = 10 * time.Second
	stopTimeout  = 15 * time.Second
)

// ErrNotReady is an rpcapd that ended, or said nothing, before it was ready;
// it has told why on stderr.
var ErrNotReady = errors.New("rpcapd did not start")

// Run starts both, waits until ctx is cancelled or one of them ends, and stops
// the interceptor first, so that it takes what rpcapd still holds. It returns
// the exit status of the interceptor.
func Run(ctx context.Context, cfg Config) (status int, err error) {
	rpcapd := command(cfg.Rpcapd, cfg.RpcapdArgs...)
	rpcapd.Stderr = cfg.Stderr
	out, in, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	rpcapd.Stdout = in
	err = cfg.Start(rpcapd)
	_ = in.Close() // the child has its own
	if err != nil {
		return 0, errors.Join(fmt.Errorf("start rpcapd: %w", err), out.Close())
	}
	ready, relayed := make(chan struct{}), make(chan struct{})
	go func() { // ends with rpcapd, waited for below
		defer close(relayed)
		defer out.Close()
		relay(out, ready, cfg.Stderr)
	}()
	rpcapdDone := waiter(rpcapd)
	defer func() {
		err = errors.Join(err, stop(rpcapd, rpcapdDone))
		<-relayed
	}()
	if err := awaitReady(ctx, ready, rpcapdDone); err != nil {
		return 0, err
	}

	if cfg.Instead != nil {
		return 0, instead(ctx, rpcapdDone, cfg.Instead)
	}
	interceptor := command(cfg.Interceptor, append([]string{"run", "--source", cfg.Source}, cfg.InterceptorArgs...)...)
	interceptor.Stdout, interceptor.Stderr = cfg.Stdout, cfg.Stderr
	if err := cfg.Start(interceptor); err != nil {
		return 0, fmt.Errorf("start interceptor: %w", err)
	}
	interceptorDone := waiter(interceptor)
	select {
	case <-ctx.Done():
		err = stop(interceptor, interceptorDone)
	case <-interceptorDone:
	case <-rpcapdDone:
		err = errors.Join(errors.New("rpcapd ended by itself"), stop(interceptor, interceptorDone))
	}
	return interceptor.ProcessState.ExitCode(), err
}

// instead calls run until ctx, or rpcapd, has ended.
func instead(ctx context.Context, rpcapdDone <-chan struct{}, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }() // awaited below
	select {
	case err := <-done:
		return err
	case <-rpcapdDone:
		cancel()
		return errors.Join(errors.New("rpcapd ended by itself"), <-done)
	}
}

// command makes a command in a process group of its own, so that a Ctrl-C of
// the terminal reaches us alone and we decide who stops first. If we die, even
// by SIGKILL, the kernel ends it.
func command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// waiter returns a channel that is closed when cmd, which runs, has ended.
func waiter(cmd *exec.Cmd) <-chan struct{} {
	done := make(chan struct{})
	go func() { // ends with the process, which stop sees to
		defer close(done)
		_ = cmd.Wait() // the status is read from ProcessState
	}()
	return done
}

// stop asks a process to end and insists after a while.
func stop(cmd *exec.Cmd, done <-chan struct{}) error {
	_ = cmd.Process.Signal(os.Interrupt) // fails if it has ended
	select {
	case <-done:
		return nil
	case <-time.After(stopTimeout):
	}
	_ = cmd.Process.Kill()
	<-done
	return fmt.Errorf("%s did not stop within %v and was killed", cmd.Path, stopTimeout)
}

// relay closes ready at rpcapd's console line and hands on what it prints
// after that, its summary.
func relay(out io.Reader, ready chan<- struct{}, to io.Writer) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == readyLine {
			close(ready)
			break
		}
	}
	for lines.Scan() {
		fmt.Fprintf(to, "rpcapd: %s\n", lines.Text())
	}
}

// awaitReady waits until rpcapd is ready, or never will be.
func awaitReady(ctx context.Context, ready, ended <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ended:
		return ErrNotReady
	case <-time.After(readyTimeout):
		return fmt.Errorf("%w within %v", ErrNotReady, readyTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
