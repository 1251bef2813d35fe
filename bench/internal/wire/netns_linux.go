package wire

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// InNetNSOf runs f on a thread in the network namespace of a process. The
// thread ends with f.
func InNetNSOf(pid int, f func() error) error {
	done := make(chan error, 1)
	go func() { // waited for below
		runtime.LockOSThread() // never unlocked: the thread is of no use afterwards
		done <- inNetNSOf(pid, f)
	}()
	return <-done
}

func inNetNSOf(pid int, f func() error) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("wire: network namespace of process %d: %w", pid, err)
	}
	err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
	_ = ns.Close() // opened for reading
	if err != nil {
		return fmt.Errorf("wire: enter the network namespace of process %d: %w", pid, err)
	}
	return f()
}
