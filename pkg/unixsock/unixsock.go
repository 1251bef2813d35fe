//go:build linux

// Package unixsock makes listening unix sockets that only their owner and
// group may connect to, and tells who did.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mode is what every socket gets.
const Mode = 0o660

// MaxPath is the longest path of a socket (sockaddr_un, unix(7)).
const MaxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// Listen listens on a socket at path, which must not exist; EADDRINUSE is in
// the error's chain if it does. The file is removed when the listener closes.
func Listen(path string) (*net.UnixListener, error) {
	// bind gives the file the mode of the socket less the umask, so that it
	// never is more open than it shall be; chmod then adds what umask took.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), Mode) }); cerr != nil {
			return cerr
		}
		return os.NewSyscallError("fchmod", err)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, Mode); err != nil {
		l.Close()
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// ListenReplacing is [Listen], but removes sockets that nobody listens on any
// more, which a killed daemon leaves behind: that at path and those of its data
// connections, path followed by a dot and a port. It removes nothing else.
func ListenReplacing(path string) (*net.UnixListener, error) {
	l, err := listenReplacing(path)
	if err == nil {
		removeStaleData(path)
	}
	return l, err
}

// removeStaleData removes data sockets that nobody listens on. One that can't
// be removed costs a name and nothing else.
func removeStaleData(path string) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range entries {
		port, ok := strings.CutPrefix(e.Name(), base+".")
		if n, err := strconv.ParseUint(port, 10, 16); !ok || err != nil || n == 0 || e.Type() != fs.ModeSocket {
			continue
		}
		if conn, err := net.Dial("unix", dir+e.Name()); err == nil {
			conn.Close()
		} else if errors.Is(err, unix.ECONNREFUSED) {
			_ = os.Remove(dir + e.Name())
		}
	}
}

func listenReplacing(path string) (*net.UnixListener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Listen(path)
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s exists and is no socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return nil, fmt.Errorf("somebody listens on %s: %w", path, unix.EADDRINUSE)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return Listen(path)
}

// Peer is the process at the other end of a connection, as it was when it
// connected.
type Peer struct {
	PID      int32
	UID, GID uint32
}

// String returns "pid N uid N gid N".
func (p Peer) String() string {
	return "pid " + strconv.Itoa(int(p.PID)) + " uid " + strconv.FormatUint(uint64(p.UID), 10) + " gid " + strconv.FormatUint(uint64(p.GID), 10)
}

// PeerOf asks the kernel who is at the other end (SO_PEERCRED, unix(7)).
func PeerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return Peer{}, cerr
	}
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}, nil
}

// GroupsOf asks the kernel for the supplementary groups of the process at the
// other end, as they were when it connected (SO_PEERGROUPS, Linux 4.13).
func GroupsOf(conn *net.UnixConn) ([]uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var groups []uint32
	if cerr := raw.Control(func(fd uintptr) { groups, err = peerGroups(fd) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("getsockopt SO_PEERGROUPS", err)
	}
	return groups, nil
}

// maxGroups is NGROUPS_MAX (limits.h).
const maxGroups = 65536

// peerGroups makes the call that x/sys/unix has no function for. The kernel
// answers ERANGE and the length wanted if there are more groups than room.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno != unix.ERANGE || len(groups) == maxGroups:
			return nil, errno
		}
		groups = make([]uint32, maxGroups)
	}
}
