//go:build linux

// Package launch is about how the daemon was started: by inetd or xinetd with a
// connection, by systemd with sockets to listen on, or by somebody who wants it
// in the background.
package launch

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Inetd returns the connection that standard input is, as inetd's "nowait" and
// systemd's Accept=yes have it. Standard input, output and error, which are all
// that connection, are pointed at /dev/null.
//
// Deviation: the reference goes on with whatever standard input is, and exits
// with 0.
func Inetd() (net.Conn, error) {
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input is no connection: %w", err)
	}
	if conn.RemoteAddr() == nil {
		conn.Close()
		return nil, fmt.Errorf("standard input is no connection: %w", unix.ENOTCONN)
	}
	if err := detach(); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// detach points standard input, output and error at /dev/null.
func detach() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return nil
}
