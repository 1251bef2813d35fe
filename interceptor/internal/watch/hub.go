package watch

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sort"
	"sync"
	"time"

	"capstan/interceptor/internal/delivery"
)

// Config bounds a [Hub]. What is zero has the default named, but for IdleRate.
type Config struct {
	MaxRecords int // 10,000
	// MaxBytes is of memory, 64 MiB: a record counts as what it takes once a
	// watcher has had it decoded.
	MaxBytes    int
	MaxWatchers int // at the same time, 16
	// IdleRate is how many records a second are taken while nobody watches; 0: none.
	// What was not used of it allows for MaxRecords at once.
	IdleRate int
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
	ring     []entry
	head, n  int
	bytes    int
	end      uint64 // position behind the latest record; the first has 0
	watchers int
	counted  Stats // what only goes up, but for Records
	idle     allowance
	waiting  bool // somebody waits for changed
	closed   bool
}

// entry is a record and its position.
type entry struct {
	record   *delivery.Record
	position uint64
}

// New returns an empty Hub.
func New(c Config) *Hub {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	c = c.withDefaults()
	return &Hub{cfg: c, instance: hex.EncodeToString(id[:]), changed: make(chan struct{}), idle: newAllowance(c)}
}

// Wants implements delivery.Tap: all while somebody watches, else as many as
// Config.IdleRate allows.
func (h *Hub) Wants() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.closed && (h.watchers > 0 || h.idle.take(time.Now()))
}

// Pass implements delivery.Tap: watchers are told that a record is missing.
func (h *Hub) Pass() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end++
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
		h.counted.Forgotten++
		h.dropOldest()
	}
	h.counted.Taken++
	if h.n == len(h.ring) {
		h.grow()
	}
	*h.at(h.n) = entry{r, h.end}
	h.n++
	h.bytes += cost(r)
	h.end++
	h.wake()
}

// at returns entry i, counted from the oldest.
func (h *Hub) at(i int) *entry { return &h.ring[(h.head+i)%len(h.ring)] }

func (h *Hub) dropOldest() {
	r := h.ring[h.head].record
	h.ring[h.head] = entry{}
	h.head = (h.head + 1) % len(h.ring)
	h.n--
	h.bytes -= cost(r)
}

// Shed gives memory back: the older half of what is kept. Watchers that have not
// had it are told so. It reports whether there was any.
func (h *Hub) Shed() (some bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	some = h.n > 0
	for range (h.n + 1) / 2 {
		h.counted.Shed++
		h.dropOldest()
	}
	return some
}

func (h *Hub) grow() {
	grown := make([]entry, min(max(64, 2*len(h.ring)), h.cfg.MaxRecords))
	for i := range h.n {
		grown[i] = *h.at(i)
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
	Records   uint64 // that came so far
	Taken     uint64 // of those; the others passed by while nobody watched, or came too late
	Forgotten uint64 // of those taken, since newer ones came
	Shed      uint64 // likewise, by Shed
	Missed    uint64 // by watchers: what was not there any more, or was never taken, counted for each of them
	Cut       uint64 // records that came to a watcher without bodies, since they were too long
	Refused   uint64 // watchers that were too many

	// As it stands now.
	Kept     int
	Bytes    int // of memory, as Config.MaxBytes counts
	Watchers int
}

// Stats returns the counters.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.counted
	s.Records, s.Kept, s.Bytes, s.Watchers = h.end, h.n, h.bytes, h.watchers
	return s
}

// read copies records from position from on into batch, as many as it has room
// for and as follow one another. first is the position of the first: higher than
// from if what was there is gone, or was not taken. With nothing to read it
// returns a channel to wait for, or ended.
func (h *Hub) read(from uint64, batch []*delivery.Record) (n int, first uint64, wait <-chan struct{}, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := sort.Search(h.n, func(i int) bool { return h.at(i).position >= from })
	if oldest == h.n {
		if h.closed {
			return 0, from, nil, true
		}
		h.waiting = true
		return 0, from, h.changed, false
	}
	first = h.at(oldest).position
	h.counted.Missed += first - from
	for n < len(batch) && oldest+n < h.n && h.at(oldest+n).position == first+uint64(n) {
		batch[n] = h.at(oldest + n).record
		n++
	}
	return n, first, nil, false
}
