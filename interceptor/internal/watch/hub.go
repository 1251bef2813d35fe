package watch

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"

	"capstan/interceptor/internal/delivery"
)

// Config bounds a [Hub]. What is zero has the default named.
type Config struct {
	MaxRecords int // 10,000
	// MaxBytes is of memory, 64 MiB: a record counts as what it takes once a
	// watcher has had it decoded.
	MaxBytes    int
	MaxWatchers int // at the same time, 16
}

func (c Config) withDefaults() Config {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&c.MaxRecords, 10_000)
	set(&c.MaxBytes, 64<<20)
	set(&c.MaxWatchers, 16)
	return c
}

// ErrTooManyWatchers is why [Hub.Watch] lets nobody in.
var ErrTooManyWatchers = errors.New("too many watchers")

// Hub has the latest records. Its methods may be called from any goroutine.
type Hub struct {
	cfg      Config
	instance string // tells tokens of this hub from those of others

	mu      sync.Mutex
	changed chan struct{} // closed when something has changed for those who wait
	// Guarded by mu.
	ring     []*delivery.Record
	head, n  int
	bytes    int
	end      uint64 // position behind the latest record; the first has 0
	watchers int
	waiting  bool // somebody waits for changed
	closed   bool
}

// New returns an empty Hub.
func New(c Config) *Hub {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Hub{cfg: c.withDefaults(), instance: hex.EncodeToString(id[:]), changed: make(chan struct{})}
}

// cost is about the memory that r takes: its bytes, and the decoded message,
// in which a header field of 40 bytes takes 200.
func cost(r *delivery.Record) int { return 512 + r.Size() + 4*len(r.Raw) }

// Push takes a record, and forgets the oldest ones for which there is no room
// any more. A record that is too long for the ring has passed when the next
// comes. It doesn't wait.
func (h *Hub) Push(r *delivery.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for h.n > 0 && (h.n >= h.cfg.MaxRecords || h.bytes+cost(r) > h.cfg.MaxBytes) {
		h.dropOldest()
	}
	if h.n == len(h.ring) {
		h.grow()
	}
	h.ring[(h.head+h.n)%len(h.ring)] = r
	h.n++
	h.bytes += cost(r)
	h.end++
	h.wake()
}

func (h *Hub) dropOldest() {
	r := h.ring[h.head]
	h.ring[h.head] = nil
	h.head = (h.head + 1) % len(h.ring)
	h.n--
	h.bytes -= cost(r)
}

// Shed gives memory back: the older half of what is kept. Watchers that have not
// had it are told so.
func (h *Hub) Shed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range (h.n + 1) / 2 {
		h.dropOldest()
	}
}

func (h *Hub) grow() {
	grown := make([]*delivery.Record, min(max(64, 2*len(h.ring)), h.cfg.MaxRecords))
	for i := range h.n {
		grown[i] = h.ring[(h.head+i)%len(h.ring)]
	}
	h.ring, h.head = grown, 0
}

// wake wakes those who wait. It allocates only if somebody does.
func (h *Hub) wake() {
	if h.waiting {
		close(h.changed)
		h.changed, h.waiting = make(chan struct{}), false
	}
}

// Close takes no more records. Watchers get what is there, then io.EOF.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wake()
}

// Stats tells what a Hub has.
type Stats struct {
	Records  uint64 // taken so far
	Kept     int
	Bytes    int // of memory, as Config.MaxBytes counts
	Watchers int
}

// Stats returns the counters.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{Records: h.end, Kept: h.n, Bytes: h.bytes, Watchers: h.watchers}
}

// read copies the records from position from on into batch, as many as it has
// room for. first is the position of the first: higher than from if what was
// there is gone. With nothing to read it returns a channel to wait for, or ended.
func (h *Hub) read(from uint64, batch []*delivery.Record) (n int, first uint64, wait <-chan struct{}, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := h.end - uint64(h.n)
	first = max(from, oldest)
	if first == h.end {
		if h.closed {
			return 0, first, nil, true
		}
		h.waiting = true
		return 0, first, h.changed, false
	}
	skip := int(first - oldest)
	for n < len(batch) && skip+n < h.n {
		batch[n] = h.ring[(h.head+skip+n)%len(h.ring)]
		n++
	}
	return n, first, nil, false
}
