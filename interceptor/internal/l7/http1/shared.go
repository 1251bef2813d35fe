package http1

import (
	"capstan/interceptor/internal/arena"
	"capstan/interceptor/internal/exchange"
)

// Shared is what the connections of one goroutine share: the configuration, who
// takes what comes of them, counters, and memory that no connection needs for
// long.
type Shared struct {
	Stats Stats

	cfg      Config
	rec      *exchange.Recorder
	upgrader Upgrader // nil: nobody

	text  arena.Text // of header sections
	known knownLines

	// To be used again.
	free   []*roundTrip
	landed []*inFlight
}

// NewShared returns what connections share that hand their records to rec;
// upgrader may be nil.
func NewShared(cfg Config, rec *exchange.Recorder, upgrader Upgrader) *Shared {
	cfg.setDefaults()
	return &Shared{cfg: cfg, rec: rec, upgrader: upgrader, known: newKnownLines()}
}

const (
	// maxFree bounds the round trips that are kept for reuse.
	maxFree = 256
	// keepContentLen and keepFieldsLen bound what each keeps of a body and of
	// header fields.
	keepContentLen = 4 << 10
	keepFieldsLen  = 64
	// keepPendingLen bounds the lists of requests that are kept.
	keepPendingLen = 16
)

// Release lets go of memory that is only kept for reuse.
func (s *Shared) Release() {
	s.free, s.landed = nil, nil
	s.known.release()
}

// inFlight returns one with nothing in it.
func (s *Shared) inFlight() *inFlight {
	n := len(s.landed)
	if n == 0 {
		return new(inFlight)
	}
	f := s.landed[n-1]
	s.landed = s.landed[:n-1]
	return f
}

// land takes back f, in which nothing is in progress.
func (s *Shared) land(f *inFlight) {
	if len(s.landed) < maxFree && cap(f.pending) <= keepPendingLen && cap(f.floating) <= keepPendingLen {
		f.serverLeft = false
		s.landed = append(s.landed, f)
	}
}

// roundTrip returns one that nothing is known of.
func (s *Shared) roundTrip() *roundTrip {
	n := len(s.free)
	if n == 0 {
		return new(roundTrip)
	}
	x := s.free[n-1]
	s.free = s.free[:n-1]
	return x
}

// recycle takes back x, whose record has left, and with it the memory of its
// parts.
func (s *Shared) recycle(x *roundTrip) {
	if x.lent || len(s.free) == maxFree {
		return
	}
	content, answer := keptContent(x.reqBody.Content), keptContent(x.own.body.Content)
	flaws, interim := x.rec.Flaws[:0], x.own.msg.InterimStatuses[:0]
	x.trip = trip{}
	x.reqRoom.trim()
	x.respRoom.trim()
	x.reqBody.Content, x.own.body.Content = content, answer
	x.rec.Flaws, x.own.msg.InterimStatuses = flaws, interim
	s.free = append(s.free, x)
}

func keptContent(b []byte) []byte {
	if cap(b) > keepContentLen {
		return nil
	}
	return b[:0]
}
