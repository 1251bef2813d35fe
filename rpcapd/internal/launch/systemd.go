//go:build linux

package launch

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Listeners returns the sockets that the service manager passed
// (sd_listen_fds(3)), which are to be listened on instead of any others; none
// if there was none to pass them. A socket that can't be listened on is an
// error.
func Listeners() ([]net.Listener, error) {
	var listeners []net.Listener
	var failure error
	for _, f := range activation.Files(true) {
		l, err := listener(f)
		f.Close()
		if err != nil {
			failure = fmt.Errorf("socket %s of the service manager: %w", f.Name(), err)
			continue
		}
		listeners = append(listeners, l)
	}
	if failure != nil {
		for _, l := range listeners {
			l.Close()
		}
		return nil, failure
	}
	return listeners, nil
}

// listener returns a duplicate of a listening socket.
func listener(f *os.File) (net.Listener, error) {
	listening, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if listening == 0 {
		return nil, errors.New("nobody listens on it")
	}
	return net.FileListener(f)
}

// started tells the service manager, if there is one that wants to know
// (sd_notify(3)), that the daemon serves. A manager that can't be told gives up
// by itself.
func started() { _, _ = daemon.SdNotify(true, daemon.SdNotifyReady) }
