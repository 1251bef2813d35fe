package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/time/rate"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/policy"
	"capstan/rpcapd/internal/pump"
)

// Session is one control connection and what hangs on it.
type Session struct {
	// immutable
	cfg      Config
	number   uint64 // for the record
	peer     string
	address  netip.Addr // of the peer; zero on a unix socket
	host     Host
	data     DataOpener
	log      *slog.Logger
	counters *Counters
	started  time.Time

	// owned by the goroutine of Run
	control     control
	ctx         context.Context // of Run
	state       state
	device      rpcap.Device         // of the last OPEN that succeeded
	text        string               // its name as the client wrote it
	toldWhy     bool                 // why a filter of the last capture runs in user space has been logged
	filtered    bool                 // the last capture's filter is more than "everything"
	failures    int                  // failed logins
	user        string               // that logged in; "" for null authentication
	rights      policy.Rights        // of the client, as they were when it logged in
	restriction []bpf.RawInstruction // that the rights put on captures of device; nil: none
	certificate []byte               // that the client presented, in DER; nil: none
	capture     *running             // nil unless state is stateCapturing
	sampling    capture.Sampling
	loads       *rate.Limiter // of filters, see awaitFilterLoad
	opens       *rate.Limiter // of devices
	clientLog   clientLog

	authenticated atomic.Bool

	statsMu sync.Mutex // guards the following
	ended   pump.Stats // sum of the captures that ended
	last    pump.Stats // of the last capture that ended
	current *pump.Pump // of the capture that runs
}

// New returns a session on conn, which it owns from now on; peer names the
// other end in the log. data opens its data connections.
func New(cfg Config, conn net.Conn, peer string, host Host, data DataOpener, log *slog.Logger, counters *Counters) *Session {
	s := &Session{
		cfg: cfg.withDefaults(), number: counters.sessions.Add(1), peer: peer, address: addressOf(conn), host: host, data: data, log: log.With("peer", peer), counters: counters,
		started: time.Now(), loads: rate.NewLimiter(filterLoadsPerSecond, filterLoadsBurst),
		opens: rate.NewLimiter(opensPerSecond, opensBurst),
	}
	s.control.raw, s.control.conn = conn, conn
	s.control.reader = rpcap.NewReader(conn, s.bodyLimit)
	return s
}

// Run serves the connection until it ends, closes it and tells why. When ctx
// ends, a running capture is drained first.
func (s *Session) Run(ctx context.Context) Reason {
	s.ctx = ctx
	stop := context.AfterFunc(ctx, s.control.wake)
	defer stop()
	reason := s.serve()
	if s.capture != nil {
		s.endCapture(reason == ReasonShutdown)
	}
	linger := time.Duration(0)
	if reason.lingers() {
		linger = s.cfg.Timeouts.CloseLinger
	}
	s.control.close(linger)
	s.recordEnd(reason)
	return reason
}

// Authenticated reports whether the client has logged in; from any goroutine.
func (s *Session) Authenticated() bool { return s.authenticated.Load() }

// Abort closes the control connection without further ado, which ends Run;
// from any goroutine.
func (s *Session) Abort() { s.control.raw.Close() }

// preAuthBody is the largest body before authentication. libpcap's client
// sends messages of at most 64,000 bytes.
const preAuthBody = 64 << 10

func (s *Session) bodyLimit(t rpcap.Type) int {
	if s.state == stateAuth {
		return min(preAuthBody, rpcap.BodyLimit(t))
	}
	return rpcap.BodyLimit(t)
}

// serve is the session's loop.
func (s *Session) serve() Reason {
	if reason := s.settleTransport(); reason != reasonNone {
		return reason
	}
	for {
		h, body, reason := s.next()
		if reason != reasonNone {
			return reason
		}
		d := decisions[s.state][eventOf(h)]
		s.log.Debug("message", "type", h.Type, "length", h.Len, "state", s.state)
		reason = s.perform(d.action, h, body)
		if reason == reasonNone && d.closes {
			reason = ReasonProtocol
			if d.action == doNothing {
				reason = ReasonClosed
			}
		}
		if reason != reasonNone {
			return reason
		}
	}
}

// next waits for a message and reads it. It looks after everything that may
// happen meanwhile.
func (s *Session) next() (rpcap.Header, []byte, Reason) {
	waiting := time.Now()
	for {
		if reason := s.attend(); reason != reasonNone {
			return rpcap.Header{}, nil, reason
		}
		_, err := s.control.peek(1, s.idleDeadline(waiting))
		switch {
		case err == nil:
			return s.message()
		case errors.Is(err, errWoken):
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The reference sends this code and text for both timeouts.
			s.send(&rpcap.Error{Code: rpcap.CodeInitTimeout, Text: "The RPCAP initial timeout has expired"})
			return rpcap.Header{}, nil, ReasonTimeout
		case errors.Is(err, io.EOF):
			return rpcap.Header{}, nil, ReasonEOF
		default:
			return rpcap.Header{}, nil, s.readFailed(err)
		}
	}
}

// message reads the message whose first byte is there.
func (s *Session) message() (rpcap.Header, []byte, Reason) {
	deadline := time.Now().Add(s.cfg.Timeouts.Message)
	if initial := s.initialDeadline(); s.state == stateAuth && !initial.IsZero() && initial.Before(deadline) {
		deadline = initial
	}
	for {
		h, body, err := s.control.next(deadline)
		switch {
		case err == nil:
			return h, body, reasonNone
		case !errors.Is(err, errWoken):
			return h, nil, s.readFailed(err)
		case s.ctx.Err() != nil:
			return h, nil, ReasonShutdown
		}
		// What else woke us is attended to before the next message.
	}
}

// readFailed logs and classifies an error of reading inside a message.
func (s *Session) readFailed(err error) Reason {
	tooLong := (*rpcap.BodyTooLongError)(nil)
	switch {
	case errors.As(err, &tooLong):
		s.counters.ProtocolErrors.Add(1)
		s.log.Warn("message refused", "err", err)
		return ReasonConnection // closed at once: what follows can't be told from the body
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.log.Warn("Read from client failed: the message did not arrive in time")
		return ReasonConnection
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.log.Warn("Read from client failed: The other host terminated the connection.")
	case errors.Is(err, net.ErrClosed) && s.ctx.Err() != nil:
		return ReasonShutdown
	default:
		s.log.Warn("Read from client failed", "err", err)
	}
	return ReasonConnection
}

// initialDeadline is until when the client must have logged in; zero is never.
func (s *Session) initialDeadline() time.Time {
	if s.cfg.Active {
		return time.Time{}
	}
	return s.started.Add(s.cfg.Timeouts.Initial)
}

// idleDeadline is until when a message may begin to arrive, if the wait
// started at waiting.
func (s *Session) idleDeadline(waiting time.Time) time.Time {
	switch {
	case s.state == stateAuth:
		return s.initialDeadline()
	case s.cfg.Active, s.capture != nil && !s.capture.ended():
		return time.Time{}
	case s.capture != nil && s.capture.endedAt.After(waiting):
		// Deviation: the reference has no timer for a capture that has lost
		// its data connection.
		waiting = s.capture.endedAt
	}
	return waiting.Add(s.cfg.Timeouts.Idle)
}

// attend looks after what can happen between two messages.
func (s *Session) attend() Reason {
	if s.ctx.Err() != nil {
		return ReasonShutdown
	}
	if s.capture != nil && s.capture.ended() {
		return s.captureEnded()
	}
	return reasonNone
}

// send writes a message; a failure shows at the next read.
func (s *Session) send(m rpcap.Message) { s.sendVersion(rpcap.Version, m) }

func (s *Session) sendVersion(version uint8, m rpcap.Message) {
	if err := s.control.write(rpcap.AppendVersion(nil, version, m), s.cfg.Timeouts.Write); err != nil {
		s.log.Warn("Send to client failed", "err", err)
		s.control.raw.Close() // part of the message may be out: the stream is of no use any more
	}
}

// Stats returns the sum over all captures of the session, the running one
// included; from any goroutine.
func (s *Session) Stats() pump.Stats {
	s.statsMu.Lock()
	defer s.statsMu.Unlock()
	sum := s.ended
	if s.current != nil {
		if live, err := s.current.Stats(); err == nil {
			sum.Add(live)
		}
	}
	return sum
}
