package api

import (
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// audit writes who did what. Lines have the message "audit" and say in "event"
// which it is.
type audit struct {
	log *slog.Logger
	// Anybody who can connect can be refused as often as he likes.
	refusals   *rate.Limiter
	suppressed atomic.Uint64
}

func newAudit(log *slog.Logger) *audit {
	return &audit{log: log, refusals: rate.NewLimiter(2, 20)}
}

func (a *audit) denied(id identity, method string, role Role) {
	if !a.refusals.Allow() {
		a.suppressed.Add(1)
		return
	}
	a.log.Warn("audit", "event", "denied", "peer", id.text, "role", role.String(), "method", method, "suppressed_before", a.suppressed.Swap(0))
}

func (a *audit) watchBegins(id identity, filter string, backlog uint32, resumed bool) {
	a.log.Info("audit", "event", "watch begins", "peer", id.text, "filter", filter, "backlog", backlog, "resumed", resumed)
}

func (a *audit) watchEnds(id identity, filter string, records, skipped uint64, took time.Duration) {
	a.log.Info("audit", "event", "watch ends", "peer", id.text, "filter", filter, "records", records, "skipped", skipped, "seconds", took.Seconds())
}

func (a *audit) set(id identity, source string, from, to slog.LogValuer, interruption time.Duration, err error) {
	args := []any{"event", "capture set", "peer", id.text, "source", source, "from", from, "to", to, "interruption_seconds", interruption.Seconds()}
	if err != nil {
		args = append(args, "err", err.Error())
	}
	a.log.Info("audit", args...)
}
