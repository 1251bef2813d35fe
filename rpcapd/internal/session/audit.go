package session

import (
	"time"

	"capstan/pkg/rpcap"
)

// audit writes the one line that every session leaves.
func (s *Session) audit(reason Reason) {
	stats := s.Stats()
	s.log.Info("session ended",
		"device", s.text,
		"filter", s.filtered,
		"duration", time.Since(s.started).Round(time.Millisecond),
		"frames", stats.Sent,
		"bytes", stats.Bytes,
		"dropped", stats.Dropped,
		"undelivered", stats.Undelivered,
		"reason", reason.String())
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
	s.log.Warn("Error from client: "+m.Text, "code", m.Code.String(), "suppressed", s.clientLog.suppressed)
	s.clientLog.suppressed = 0
}
