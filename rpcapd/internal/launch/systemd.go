//go:build linux

package launch

import (
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// Listeners returns the sockets that the service manager passed
// (sd_listen_fds(3)), which are to be listened on instead of any others; none
// if there was none to pass them. A socket that can't be listened on is an
// error.
func Listeners() ([]net.Listener, error) {
	var listeners []net.Listener
	var failure error
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f) // a duplicate, so that f is closed in any case
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

// started tells the service manager, if there is one that wants to know
// (sd_notify(3)), that the daemon serves. A manager that can't be told gives up
// by itself.
func started() { _, _ = daemon.SdNotify(true, daemon.SdNotifyReady) }
