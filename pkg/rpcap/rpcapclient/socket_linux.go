package rpcapclient

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket is a connection of the net package that is read without telling Go's
// scheduler of the call. A socket of the net package never blocks; but to be back
// after a call, and the monitor that every call wakes while all is idle, cost the
// interceptor a tenth of its time (docs/performance.md). Where there is nothing to
// read, the goroutine waits as for every other.
type socket struct {
	net.Conn
	raw  syscall.RawConn
	step func(fd uintptr) bool // read, made once

	// Of the Read under way; there is one at a time.
	buf []byte
	n   int
	err error
}

// direct returns conn, read like that if it is a socket.
func direct(conn dataConn) dataConn {
	c, ok := conn.(interface {
		net.Conn
		syscall.Conn
	})
	if !ok {
		return conn
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return conn // closed; reading will say so
	}
	s := &socket{Conn: c, raw: raw}
	s.step = s.read
	return s
}

// Read implements io.Reader, for one goroutine at a time.
func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.buf, s.n, s.err = b, 0, nil
	err := s.raw.Read(s.step)
	s.buf = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}

// read reads once. It returns false if there is nothing yet, to be called again
// when there is.
func (s *socket) read(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&s.buf[0])), uintptr(len(s.buf)))
		switch {
		case errno == 0 && n == 0:
			s.err = io.EOF
		case errno == 0:
			s.n = int(n)
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return false
		default:
			s.err = &net.OpError{Op: "read", Net: s.LocalAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError("read", errno)}
		}
		return true
	}
}
