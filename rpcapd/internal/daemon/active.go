//go:build linux

package daemon

import (
	"context"
	"net"

	"capstan/rpcapd/internal/active"
	"capstan/rpcapd/internal/session"
)

// dial runs active mode.
func (d *Daemon) dial(ctx context.Context) {
	dialer := active.Dialer{
		Retry: d.cfg.ReconnectTime,
		Dial:  active.TCP{IPv4Only: d.cfg.IPv4Only, KeepAlive: keepAlive}.Dial,
		Serve: d.serveActive,
		Log:   d.log,
	}
	dialer.Run(ctx, d.targets)
}

// serveActive runs a session with a client that the daemon has connected to.
// Neither the allow list nor the limits apply: the connection is of our making.
func (d *Daemon) serveActive(ctx context.Context, conn net.Conn) (dismissed bool) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		conn.Close()
		return false
	}
	cfg := d.sessionCfg
	cfg.Active, cfg.NullAuth = true, d.settings.Load().NullAuth
	s := session.New(cfg, conn, conn.RemoteAddr().String(), d.host, session.NewTCPData(tcp, d.self, d.dataPort), d.log, &d.counters)
	d.sessions.add(s)
	defer d.sessions.remove(s)
	return s.Run(ctx) == session.ReasonClosed && s.Authenticated()
}
