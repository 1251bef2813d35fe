package watch

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"capstan/interceptor/internal/delivery"
)

// Options say what a watcher wants.
type Options struct {
	Filter *Filter // nil: all
	// Backlog is how many of the latest records to begin with, of those kept.
	Backlog uint32
	// ResumeToken is that of the last record received; Backlog is ignored then.
	ResumeToken string
}

// Event is what [Watcher.Next] returns: one of the three.
type Event struct {
	// Record is shared with others; Token is its resume token.
	Record *delivery.Record
	Token  string
	// Skipped is how many records were left out, before the filter.
	Skipped uint64
	// Failed is how many records the filter had no answer for, FailReason why
	// for the last of them.
	Failed     uint64
	FailReason string
}

// TokenError is a resume token that means nothing here.
type TokenError struct{ Token, Reason string }

// Error quotes the token.
func (e *TokenError) Error() string { return fmt.Sprintf("resume token %q: %s", e.Token, e.Reason) }

const batchLen = 32

// resumeGrace is how long after the last watcher all records are taken yet, so
// that one who lost the connection misses nothing.
const resumeGrace = time.Minute

// Watcher follows the records of a Hub. One goroutine uses it.
type Watcher struct {
	hub    *Hub
	filter *Filter
	next   uint64 // position of what follows batch
	batch  []*delivery.Record
	room   [batchLen]*delivery.Record

	failed     uint64
	failReason string
}

// Watch returns a watcher, which its user has to close.
func (h *Hub) Watch(o Options) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	start := h.end
	if n := min(int64(o.Backlog), int64(h.n)); n > 0 {
		start = h.at(h.n - int(n)).position
	}
	if o.ResumeToken != "" {
		var err error
		if start, err = h.position(o.ResumeToken); err != nil {
			return nil, err
		}
	}
	if h.watchers >= h.cfg.MaxWatchers {
		h.counted.Refused++
		return nil, ErrTooManyWatchers
	}
	h.watchers++
	return &Watcher{hub: h, filter: o.Filter, next: start}, nil
}

// position tells where to go on. A token is the hub's name, a dash, and the
// position behind its record.
func (h *Hub) position(token string) (uint64, error) {
	instance, text, ok := strings.Cut(token, "-")
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case !ok || err != nil || len(instance) != len(h.instance):
		return 0, &TokenError{token, "is none"}
	case instance != h.instance:
		return 0, &TokenError{token, "is of another run of the interceptor"}
	case n > h.end:
		return 0, &TokenError{token, "is of a record that has not come yet"}
	}
	return n, nil
}

// Close lets another watcher in.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.watchers--
	w.hub.idle.allUntil = time.Now().Add(resumeGrace)
}

// Cut counts a record of which the watcher gets only a part, since it is too long.
func (w *Watcher) Cut() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.counted.Cut++
}

// Next returns the next event. It waits for one; the error is ctx's, or io.EOF
// after the last record of a closed Hub.
func (w *Watcher) Next(ctx context.Context) (Event, error) {
	for {
		for len(w.batch) > 0 {
			if err := ctx.Err(); err != nil {
				return Event{}, err
			}
			r := w.batch[0]
			w.batch = w.batch[1:]
			if w.wants(ctx, r) {
				token := w.hub.instance + "-" + strconv.FormatUint(w.next-uint64(len(w.batch)), 10)
				return Event{Record: r, Token: token}, nil
			}
		}
		if w.failed > 0 {
			e := Event{Failed: w.failed, FailReason: w.failReason}
			w.failed = 0
			return e, nil
		}
		skipped, err := w.fill(ctx)
		if err != nil {
			return Event{}, err
		}
		if skipped > 0 {
			return Event{Skipped: skipped}, nil
		}
	}
}

// fill waits for records, and tells how many were missed before them.
func (w *Watcher) fill(ctx context.Context) (skipped uint64, err error) {
	clear(w.room[:]) // what was handed on may go
	for {
		n, first, wait, ended := w.hub.read(w.next, w.room[:])
		switch {
		case ended:
			return 0, io.EOF
		case n > 0:
			skipped = first - w.next
			w.batch, w.next = w.room[:n], first+uint64(n)
			return skipped, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// wants reports whether r passes the filter. Without one it is not decoded.
func (w *Watcher) wants(ctx context.Context, r *delivery.Record) bool {
	if w.filter == nil {
		return true
	}
	x, err := r.Exchange()
	wanted := false
	if err == nil {
		wanted, err = w.filter.Match(ctx, x)
	}
	if err != nil {
		w.failed++
		w.failReason = err.Error()
	}
	return wanted && err == nil
}
