package pump

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawWriter writes vectors to a socket, without telling Go's scheduler of the
// call: what the scheduler does when it thinks that a call takes long, and to be
// back after it, costs a tenth of all that a frame costs (docs/performance.md).
// A socket of the net package never blocks; where there is no room, the
// goroutine waits as for every other.
type rawWriter struct {
	conn  syscall.RawConn
	write func(fd uintptr) bool // r.step, made once

	// Of the vector being written.
	left    []unix.Iovec
	written int64
	err     error
}

// newRawWriter returns a writer to conn, or nil if that is no socket.
func newRawWriter(conn net.Conn) *rawWriter {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil // closed; writing will say so
	}
	r := &rawWriter{conn: raw}
	r.write = r.step
	return r
}

// writeAll writes the vector, at most IOV_MAX pieces, which it uses up. It
// returns how many bytes got through.
func (r *rawWriter) writeAll(vector []unix.Iovec) (n int64, err error) {
	r.left, r.written, r.err = vector, 0, nil
	if err = r.conn.Write(r.write); err == nil {
		err = r.err
	}
	r.left = nil
	return r.written, err
}

// step writes until all is written, or an error has come, or there is no room:
// then it returns false, to be called again when there is.
func (r *rawWriter) step(fd uintptr) bool {
	for len(r.left) > 0 {
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&r.left[0])), uintptr(len(r.left)))
		switch errno {
		case 0:
			r.written += int64(n)
			r.advance(uint64(n))
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			r.err = os.NewSyscallError("writev", errno)
			return true
		}
	}
	return true
}

// advance takes n bytes off what is left.
func (r *rawWriter) advance(n uint64) {
	for len(r.left) > 0 {
		v := &r.left[0]
		if n < uint64(v.Len) {
			v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), n))
			v.SetLen(int(uint64(v.Len) - n))
			return
		}
		n -= uint64(v.Len)
		r.left = r.left[1:]
	}
}
