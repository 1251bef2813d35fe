package afpacket

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// goneInterval is how often Next looks for a block once the interface is gone:
// the socket no longer wakes anybody.
const goneInterval = time.Millisecond

// waiter waits in Go's network poller, so that a wait takes no thread and, when
// it is over, Go's scheduler nothing to look after.
type waiter struct {
	file  *os.File // owns the socket
	conn  syscall.RawConn
	check func(fd uintptr) bool // Ring.ready, made once

	// Of the wait under way, guarded by nextMu.
	block    *Block
	err      error     // of the socket
	deadline time.Time // zero: none
	held     bool      // a block waits for others, until a deadline of its own
}

// own makes r.file the owner of fd, a socket that doesn't block, and r wait on it.
func (r *Ring) own(fd int) error {
	r.file = os.NewFile(uintptr(fd), "packet socket")
	conn, err := r.file.SyscallConn()
	if err == nil {
		err = r.file.SetReadDeadline(time.Time{}) // fails if it can't be polled
	}
	if err != nil {
		return fmt.Errorf("afpacket: wait: %w", err)
	}
	r.conn, r.check = conn, r.ready
	return nil
}

// wait is Next where no block is ready.
func (r *Ring) wait(b *Block, timeout time.Duration) error {
	switch {
	case r.gone != nil:
		return r.waitGone(b, timeout)
	case timeout == 0:
		return os.ErrDeadlineExceeded
	}
	r.deadline, r.held = time.Time{}, false
	if timeout > 0 {
		r.deadline = time.Now().Add(timeout)
	}
	if err := r.file.SetReadDeadline(r.deadline); err != nil {
		return fmt.Errorf("afpacket: wait: %w", err)
	}
	if r.closed.Load() { // Close sets closed first and then a deadline of its own
		return os.ErrClosed
	}
	r.block, r.err = b, nil
	err := r.conn.Read(r.check)
	r.block = nil
	switch {
	case b.ring != nil:
		return nil
	case r.closed.Load():
		return os.ErrClosed
	case r.err != nil && isGone(r.err):
		// The kernel goes on retiring the open block by its timer. Twice the
		// timeout leaves it room to be late.
		r.gone = &InterfaceGoneError{Interface: r.ifindex, Err: r.err}
		r.goneUntil = time.Now().Add(2*r.timeout + goneInterval)
		if timeout > 0 {
			timeout = max(time.Until(r.deadline), 0)
		}
		return r.waitGone(b, timeout)
	case r.err != nil:
		return fmt.Errorf("afpacket: wait: %w", r.err)
	case errors.Is(err, os.ErrDeadlineExceeded) && r.lease(b):
		return nil // it has waited for others
	}
	return err
}

// ready ends a wait: with a block, or an error of the socket. It is called when
// the wait begins and each time the kernel has woken the socket since.
func (r *Ring) ready(fd uintptr) bool {
	if r.gathered() && r.lease(r.block) {
		return true
	}
	r.err = pendingError(int(fd))
	return r.err != nil
}

// waitGone is wait after the interface is gone.
func (r *Ring) waitGone(b *Block, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for time.Now().Before(r.goneUntil) {
		if timeout >= 0 && !time.Now().Before(deadline) {
			return os.ErrDeadlineExceeded
		}
		time.Sleep(goneInterval)
		if r.closed.Load() {
			return os.ErrClosed
		}
		if r.lease(b) {
			return nil
		}
	}
	return r.gone
}

// pendingError takes the error off the socket. It is called at each wait, so it
// doesn't tell Go's scheduler of a call that never blocks.
func pendingError(fd int) error {
	var value int32
	size := uint32(unsafe.Sizeof(value))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	if value != 0 {
		return unix.Errno(value)
	}
	return nil
}
