package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// threadNetNS is the network namespace of the calling thread, which is not
// always that of its process.
const threadNetNS = "/proc/thread-self/ns/net"

// NS is a network namespace. All methods may be called from any goroutine.
type NS struct {
	// immutable
	starts chan startRequest // served by the worker
	quit   chan struct{}     // closed by Close
	done   chan struct{}     // closed when the worker has returned

	mu     sync.RWMutex // held for reading while file's descriptor is in use
	file   *os.File
	closed bool
}

type startRequest struct {
	cmd   *exec.Cmd
	reply chan error // buffered
}

// New makes a network namespace in which only lo exists, and sets lo up. It
// needs CAP_SYS_ADMIN; the interfaces inside need CAP_NET_ADMIN.
func New() (*NS, error) {
	n := &NS{
		starts: make(chan startRequest),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	ready := make(chan error, 1)
	go n.enter(ready)
	if err := <-ready; err != nil {
		<-n.done
		return nil, fmt.Errorf("netns: new: %w", err)
	}
	if err := n.setLoopbackUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("netns: new: %w", err), n.Close())
	}
	return n, nil
}

// enter picks a thread that may die and runs the worker on it. The main thread
// may not: the runtime parks it for ever instead of ending it, in whatever
// namespace it is, so children would outlive Close.
func (n *NS) enter(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		n.work(ready)
		return
	}
	locked := make(chan struct{})
	go func() {
		runtime.LockOSThread() // another thread, as the main one is locked
		close(locked)
		n.work(ready)
	}()
	<-locked
	runtime.UnlockOSThread()
}

// work moves its thread into a new namespace for good and starts children from
// there until Close. It never unlocks the thread, so the thread dies with it,
// and with the thread every child whose Pdeathsig is set.
func (n *NS) work(ready chan<- error) {
	defer close(n.done)
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err != nil {
		err = fmt.Errorf("unshare(CLONE_NEWNET): %w", err)
	} else {
		n.file, err = os.Open(threadNetNS)
	}
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case r := <-n.starts:
			r.reply <- r.cmd.Start()
		case <-n.quit:
			return
		}
	}
}

// Do runs f on a thread inside n and returns f's error. Goroutines that f
// starts run outside. f runs on a goroutine of its own; if it exits that
// goroutine (as testing's FailNow does), Do exits the caller's as well.
// After [NS.Close], Do returns an error that wraps [os.ErrClosed].
func (n *NS) Do(f func() error) error {
	var err error
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = n.onThread(f)
		returned = true
	}()
	<-done
	if !returned {
		runtime.Goexit()
	}
	return err
}

// onThread runs f with its thread moved into n. Where the thread can't be
// moved back it stays locked and dies with the goroutine.
func (n *NS) onThread(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNetNS)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("netns: do: %w", err)
	}
	defer home.Close()
	if err := n.setThread(); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("netns: do: %w", err)
	}
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

func (n *NS) setThread() error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.closed {
		return os.ErrClosed
	}
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return nil
}

// Start starts cmd inside n, as [exec.Cmd.Start] does. Unless the caller set
// Pdeathsig, it is SIGKILL: the child dies with this process or at
// [NS.Close], whichever is first. The caller still has to call cmd.Wait.
func (n *NS) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	r := startRequest{cmd: cmd, reply: make(chan error, 1)}
	select {
	case n.starts <- r:
		return <-r.reply
	case <-n.quit:
		return fmt.Errorf("netns: start %s: %w", cmd.Path, os.ErrClosed)
	}
}

// Fd returns the descriptor of the namespace, which stays n's: it is valid
// until Close. After Close it returns -1.
func (n *NS) Fd() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.closed {
		return -1
	}
	return int(n.file.Fd())
}

// Close gives the namespace up and kills the children that [NS.Start] left
// running. The kernel takes the namespace away as soon as no socket, child
// process or thread uses it any more; the far end of a veth pair goes with it.
func (n *NS) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		<-n.done
		return nil
	}
	n.closed = true
	close(n.quit)
	err := n.file.Close()
	n.mu.Unlock()
	<-n.done
	return err
}
