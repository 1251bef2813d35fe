package session

import (
	"cmp"
	"crypto/tls"
	"time"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/pump"
)

// record adds an event of this session to the record.
func (s *Session) record(e audit.Event) {
	e.Session, e.Peer, e.User = s.number, s.peer, cmp.Or(e.User, s.user)
	s.cfg.Audit.Write(e)
}

func (s *Session) recordLogin(l login) {
	e := audit.Event{Kind: audit.KindLogin, Result: audit.OK, Method: l.method, User: l.user}
	if l.refusal != 0 {
		omitted, ok := s.counters.refusals.next()
		if !ok {
			return
		}
		e.Result, e.Reason, e.Omitted = audit.Refused, l.refusal.String(), omitted
	}
	if secured, ok := s.control.conn.(tlsConn); ok {
		state := secured.ConnectionState()
		e.TLS = tls.VersionName(state.Version)
		if len(state.PeerCertificates) > 0 {
			e.Certificate = state.PeerCertificates[0].Subject.String()
		}
	}
	s.record(e)
	attributes := []any{"user", audit.Shorten(l.user), "method", l.method, "result", e.Result, "reason", e.Reason}
	if e.Omitted > 0 {
		attributes = append(attributes, "omitted", e.Omitted)
	}
	s.log.Info("login", attributes...)
}

func (s *Session) recordStart(m *rpcap.StartCapRequest) {
	e := audit.Event{
		Kind: audit.KindStart, Device: s.text, SnapLen: s.rights.LimitSnapLen(rpcap.EffectiveSnapLen(m.SnapLen)),
		Promiscuous: m.Flags&rpcap.StartCapPromiscuous != 0, Transport: "stream",
		Filter: audit.FilterText(m.Filter), Restriction: s.rights.Filter,
	}
	if m.Flags&rpcap.StartCapDatagram != 0 {
		e.Transport = "udp"
	}
	s.record(e)
}

// recordEnd leaves what every session leaves: a line in the log, and one in the
// record if anybody got so far as to log in.
func (s *Session) recordEnd(reason Reason) {
	stats := s.Stats()
	lasted := time.Since(s.started)
	s.log.Info("session ended",
		"user", s.user,
		"device", s.text,
		"filter", s.filtered,
		"duration", lasted.Round(time.Millisecond),
		"frames", stats.Sent,
		"bytes", stats.Bytes,
		"dropped", stats.Dropped,
		"undelivered", stats.Undelivered,
		"reason", reason.String())
	if s.state != stateAuth {
		s.record(audit.Event{Kind: audit.KindSession, Reason: reason.String(), DurationMS: lasted.Milliseconds(), Counts: countsOf(stats)})
	}
}

func countsOf(p pump.Stats) *audit.Counts {
	return &audit.Counts{
		Seen: p.Seen, Matched: p.Matched, Sent: p.Sent, Bytes: p.Bytes, Dropped: p.Dropped, Undelivered: p.Undelivered,
	}
}

// clientLogInterval is how often errors that one client reports are logged.
const clientLogInterval = 10 * time.Second

// clientLog limits the lines that one client can cause.
type clientLog struct {
	next       time.Time
	suppressed int
}

// logClientError logs an ERROR that the client sent, before formatting it only
// if it is time for another line.
func (s *Session) logClientError(h rpcap.Header, body []byte) {
	now := time.Now()
	if now.Before(s.clientLog.next) {
		s.clientLog.suppressed++
		return
	}
	s.clientLog.next = now.Add(clientLogInterval)
	var m rpcap.Error
	if err := rpcap.Decode(h, body, &m); err != nil {
		return
	}
	s.log.Warn("Error from client: "+audit.Shorten(m.Text), "code", m.Code.String(), "suppressed", s.clientLog.suppressed)
	s.clientLog.suppressed = 0
}
