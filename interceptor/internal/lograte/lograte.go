// Package lograte keeps a log from being flooded: of lines with the same message
// only some are written in a while, and the next one tells how many were not.
package lograte

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Limits.
const (
	burst    = 20          // lines of one message
	interval = time.Minute // that these are for
	maxKinds = 1000        // messages told apart; beyond it all counts begin again
)

// New returns a handler that hands at most 20 lines a minute of each message to
// next.
func New(next slog.Handler) slog.Handler {
	return &handler{next: next, shared: &shared{now: time.Now, kinds: map[string]*kind{}}}
}

type handler struct {
	next   slog.Handler
	shared *shared
}

// shared is what a handler and those derived from it have in common.
type shared struct {
	now func() time.Time

	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	since             time.Time
	written, withheld int
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	withheld, write := h.shared.admit(r.Message)
	if !write {
		return nil
	}
	if withheld > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("withheld", withheld))
	}
	return h.next.Handle(ctx, r)
}

// admit reports whether a line may be written, and how many were not before it.
func (s *shared) admit(message string) (withheld int, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	k := s.kinds[message]
	if k == nil {
		if len(s.kinds) >= maxKinds {
			clear(s.kinds)
		}
		k = &kind{since: now}
		s.kinds[message] = k
	}
	if now.Sub(k.since) >= interval {
		withheld = k.withheld
		*k = kind{since: now}
	}
	if k.written == burst {
		k.withheld++
		return 0, false
	}
	k.written++
	return withheld, true
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(a []slog.Attr) slog.Handler {
	return &handler{h.next.WithAttrs(a), h.shared}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.next.WithGroup(name), h.shared}
}
