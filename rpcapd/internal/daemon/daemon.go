//go:build linux

package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"capstan/pkg/rpcap"
	"capstan/pkg/unixsock"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/dataport"
	"capstan/rpcapd/internal/metrics"
	"capstan/rpcapd/internal/session"
)

const (
	// shutdownTimeout is how long sessions may take to deliver what they hold.
	shutdownTimeout = 5 * time.Second
	// maxRefusals bounds the connections that are being told why not.
	maxRefusals = 64
	// acceptPause follows a failed accept, which most often lacks descriptors.
	acceptPause = 100 * time.Millisecond
)

// Daemon accepts connections and runs sessions.
type Daemon struct {
	// immutable after Listen
	cfg        config.Config
	sessionCfg session.Config
	host       session.Host
	self       session.SelfEndpoints
	log        *slog.Logger
	listeners  []net.Listener
	dataPort   *dataport.Port // nil: each capture has a port of its own

	resolver resolver                        // of names in the allow list
	settings atomic.Pointer[config.Settings] // for sessions that begin
	targets  chan []config.Target            // to the dialer of active mode
	counters session.Counters
	refused  [metrics.NumRefusals]atomic.Uint64
	refusals chan struct{} // a token for each connection that is being refused
	wg       sync.WaitGroup
	sessions registry
}

// New returns a daemon that listens nowhere yet.
func New(cfg config.Config, sessionCfg session.Config, host session.Host, self session.SelfEndpoints, log *slog.Logger) *Daemon {
	d := &Daemon{
		cfg: cfg, sessionCfg: sessionCfg, host: host, self: self, log: log,
		resolver: net.DefaultResolver,
		targets:  make(chan []config.Target, 1),
		refusals: make(chan struct{}, maxRefusals),
		sessions: registry{max: cfg.MaxSessions, maxPerHost: cfg.MaxPerHost},
	}
	d.Apply(cfg.Settings)
	return d
}

// Apply makes new connections subject to s, and dials its active targets. What
// is connected stays.
func (d *Daemon) Apply(s config.Settings) {
	d.settings.Store(&s)
	for {
		select {
		case d.targets <- s.Active:
			return
		case <-d.targets: // a list that nobody has seen
		}
	}
}

// Serve accepts connections and dials until ctx ends; then it closes the
// listeners and the sessions, and waits for all of them. The error is that of
// a listener that failed for good.
func (d *Daemon) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.wg.Go(func() { d.dial(ctx) }) // ended by ctx; waitSessions waits
	stop := context.AfterFunc(ctx, d.Close)
	defer stop()
	errs := make(chan error, len(d.listeners))
	for _, l := range d.listeners {
		go func() { errs <- d.accept(ctx, l) }() // ended by closing l; waited for below
	}
	var err error
	for range d.listeners {
		if e := <-errs; e != nil {
			err = errors.Join(err, e)
			cancel()
		}
	}
	<-ctx.Done()
	d.Close()
	d.waitSessions()
	return err
}

// ServeConn serves one connection until its session has ended; that has no other
// limits than the session's own. When ctx ends, the session does.
func (d *Daemon) ServeConn(ctx context.Context, conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive)
	}
	d.admit(ctx, conn)
	done := make(chan struct{})
	go func() { d.wg.Wait(); close(done) }() // ended by the session; waited for below
	select {
	case <-done:
	case <-ctx.Done():
		d.waitSessions()
		<-done
	}
	if d.dataPort != nil {
		// The port is another process's next; what is owed here must not come
		// there.
		d.dataPort.Drain(ctx)
		d.dataPort.Close()
	}
}

// waitSessions waits for what runs, and uses force after a while.
func (d *Daemon) waitSessions() {
	timer := time.AfterFunc(shutdownTimeout, d.sessions.abort)
	defer timer.Stop()
	d.wg.Wait()
	if d.dataPort != nil {
		d.dataPort.Close()
	}
}

func (d *Daemon) accept(ctx context.Context, l net.Listener) error {
	for told := false; ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			told = false
			d.admit(ctx, conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			if !told { // once until it works again
				told = true
				d.log.Error("accept failed; it is tried again", "err", err)
			}
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		}
	}
}

// admit starts a session on conn or refuses it. It doesn't block.
func (d *Daemon) admit(ctx context.Context, conn net.Conn) {
	cfg := d.sessionCfg
	switch c := conn.(type) {
	case *net.UnixConn:
		peer, err := unixsock.PeerOf(c)
		if err != nil || !d.allowedUser(peer) {
			d.log.Warn("connection refused: user is not allowed", "peer", peer.String(), "err", err)
			d.turnAway(c, metrics.RefusedUser, rpcap.CodeHostNoAuth, "This user is not allowed to connect. Connection refused.")
			return
		}
		cfg.NullAuth, cfg.Trusted, cfg.TLS = true, true, nil // the kernel has said who it is
		d.start(ctx, cfg, c, peer.String(), &session.UnixData{Path: c.LocalAddr().String(), UID: peer.UID})
	case *net.TCPConn:
		cfg.NullAuth = d.settings.Load().NullAuth
		d.start(ctx, cfg, c, c.RemoteAddr().String(), session.NewTCPData(c, d.self, d.dataPort))
	default:
		conn.Close()
	}
}

func (d *Daemon) allowedUser(p unixsock.Peer) bool {
	return slices.Contains(d.cfg.UnixUIDs, p.UID) || slices.Contains(d.cfg.UnixGIDs, p.GID)
}

// start runs a session in a goroutine of its own, unless there are too many.
func (d *Daemon) start(ctx context.Context, cfg session.Config, conn net.Conn, peer string, data session.DataOpener) {
	s := session.New(cfg, conn, peer, d.host, data, d.log, &d.counters)
	checking, stopChecking := context.WithCancel(ctx)
	evicted, refusal := d.sessions.admit(s, hostOf(conn), stopChecking)
	if evicted {
		d.refused[metrics.RefusedFull].Add(1)
	}
	if refusal != nil {
		stopChecking()
		d.log.Warn("connection refused: "+refusal.text, "peer", peer)
		d.turnAway(conn, refusal.reason, rpcap.CodeNetwork, refusal.text)
		return
	}
	d.wg.Go(func() { // ended by the client, a timeout or ctx; waitSessions waits
		defer d.sessions.remove(s)
		defer stopChecking()
		switch text := d.checkPeer(checking, conn); {
		case text == "":
			s.Run(ctx)
		case checking.Err() != nil: // it had to make room, or the daemon ends
			conn.Close()
		default:
			d.refused[metrics.RefusedHost].Add(1)
			d.logRefused(text, peer)
			refuse(d.secured(conn), rpcap.CodeHostNoAuth, text)
		}
	})
}

// logRefused logs that the allow list keeps peer out. A list that can't be
// judged by is an error, which the reference logs with the same text.
func (d *Daemon) logRefused(text, peer string) {
	if strings.HasPrefix(text, listErrorText) {
		d.log.Error(text, "peer", peer)
	} else {
		d.log.Warn("connection refused: "+text, "peer", peer)
	}
}

// lookupTimeout bounds how long names in the allow list may take.
const lookupTimeout = 10 * time.Second

func (d *Daemon) checkPeer(ctx context.Context, conn net.Conn) string {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return checkHost(ctx, d.settings.Load().Allow, a.AddrPort().Addr(), d.resolver)
}

// turnAway refuses conn in a goroutine, or closes it at once if many are
// being refused already.
func (d *Daemon) turnAway(conn net.Conn, reason metrics.Refusal, code rpcap.ErrorCode, text string) {
	d.refused[reason].Add(1)
	select {
	case d.refusals <- struct{}{}:
	default:
		conn.Close()
		return
	}
	d.wg.Go(func() { // ended by refuse's deadlines; waitSessions waits
		defer func() { <-d.refusals }()
		if reason == metrics.RefusedUser {
			defer conn.Close() // nothing is read from a peer that may not connect
			sendRefusal(conn, code, text)
			return
		}
		refuse(d.secured(conn), code, text)
	})
}

// secured returns conn in the way its client expects to be told something.
func (d *Daemon) secured(conn net.Conn) net.Conn {
	if _, ok := conn.(*net.TCPConn); ok && d.sessionCfg.TLS != nil {
		return tls.Server(conn, d.sessionCfg.TLS)
	}
	return conn
}

// Snapshot returns the daemon's counters.
func (d *Daemon) Snapshot() metrics.Snapshot {
	s := metrics.Snapshot{
		ProtocolErrors: d.counters.ProtocolErrors.Load(),
		Logins:         d.counters.Logins.Load(),
		OpensDenied:    d.counters.OpensDenied.Load(),
		FiltersKernel:  d.counters.FilterLoads.Load(),
		FiltersUser:    d.counters.FilterFallbacks.Load(),
		FiltersDelayed: d.counters.FiltersDelayed.Load(),
		TLSFailures:    d.counters.TLSFailures.Load(),
	}
	for r := range d.refused {
		s.Refused[r] = d.refused[r].Load()
	}
	s.Refused[metrics.RefusedData] = d.counters.DataRefused.Load()
	for r := range s.FailedLogins {
		s.FailedLogins[r] = d.counters.FailedLogins[r].Load()
	}
	s.Refused[metrics.RefusedPlain] = d.counters.UnwantedPlain.Load()
	s.Refused[metrics.RefusedTLS] = d.counters.UnwantedTLSHello.Load()
	s.Sessions, s.SessionsTotal, s.Frames = d.sessions.counters()
	return s
}
