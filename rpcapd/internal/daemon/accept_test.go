//go:build linux

package daemon

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/logtest"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/session"
)

// stingyListener has no descriptor for anybody until it has been asked often
// enough; then it is closed.
type stingyListener struct {
	net.Listener
	failures int
}

func (l *stingyListener) Accept() (net.Conn, error) {
	if l.failures == 0 {
		return nil, net.ErrClosed
	}
	l.failures--
	return nil, &net.OpError{Op: "accept", Err: unix.EMFILE}
}

// Accepting goes on when there is a descriptor again, and a shortage that lasts
// doesn't fill the log.
func TestAcceptFails(t *testing.T) {
	var log logtest.Buffer
	d := New(config.Default(), session.Config{}, &fakeHost{}, noSelf{}, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := &stingyListener{failures: 3}
	if err := d.accept(ctx, l); err != net.ErrClosed || l.failures != 0 {
		t.Errorf("%v, %d failures left", err, l.failures)
	}
	if n := strings.Count(log.String(), "accept failed"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
