package delivery

import (
	"context"
	"sync"
	"time"
)

// memory is the bounded part of a queue that is in memory: a ring of records
// that wait, and the batch that is under way.
type memory struct {
	maxRecords, maxBytes int
	dropOldest           bool

	began time.Time
	more  chan struct{} // has a value when the taker should look again

	mu   sync.Mutex
	room sync.Cond // of mu: emitters wait for it
	// Guarded by mu.
	ring    []*Record
	head, n int
	taken   int           // records under way
	bytes   int           // of those that wait and those under way
	waiting int           // emitters that wait for room
	since   time.Duration // from began to when each of them began to, summed up
	hurried bool          // nobody is to wait
	closed  bool
	stats   Stats // Accepted, Dropped, Undelivered, Shed, Blocked
}

func newMemory(c Config) *memory {
	m := &memory{
		maxRecords: c.MaxRecords, maxBytes: c.MaxBytes, dropOldest: c.Policy == DropOldest,
		more: make(chan struct{}, 1), began: time.Now(),
	}
	m.room.L = &m.mu
	return m
}

// push puts r in. It waits for room if that is the policy, until the queue is
// hurried or closed; what has no room then is dropped, and all that comes to a closed
// one.
func (m *memory) push(r *Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.closed && m.isFull(r.Size()) {
		if m.dropOldest && m.n == 0 {
			break // all of the room is under way: one may wait beyond it, rather than the emitter
		}
		if m.dropOldest {
			m.pop().leave()
			m.stats.Dropped++
			continue
		}
		if m.hurried {
			break
		}
		m.wait()
	}
	if m.closed || m.hurried && !m.dropOldest && m.isFull(r.Size()) {
		m.refuseLocked(r)
		return
	}
	m.stats.Accepted++
	if m.n == len(m.ring) {
		m.grow()
	}
	m.ring[(m.head+m.n)%len(m.ring)] = r
	m.n++
	m.bytes += r.Size()
	m.wakeTaker()
}

// refuse counts r, which can't be delivered.
func (m *memory) refuse(r *Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuseLocked(r)
}

func (m *memory) refuseLocked(r *Record) {
	m.stats.Accepted++
	m.stats.Dropped++
	m.stats.Undelivered++
	r.leave()
}

// wait waits for room. mu is held, but for the wait.
func (m *memory) wait() {
	from := time.Since(m.began)
	m.waiting++
	m.since += from
	m.room.Wait()
	m.waiting--
	m.since -= from
	m.stats.Blocked += time.Since(m.began) - from
}

// isFull reports whether a record of n bytes has no room. One has, however
// long, when there is no other.
func (m *memory) isFull(n int) bool {
	used := m.n + m.taken
	return used > 0 && (used >= m.maxRecords || m.bytes+n > m.maxBytes)
}

func (m *memory) wakeTaker() {
	select {
	case m.more <- struct{}{}:
	default:
	}
}

func (m *memory) grow() {
	grown := make([]*Record, max(64, 2*len(m.ring)))
	for i := range m.n {
		grown[i] = m.ring[(m.head+i)%len(m.ring)]
	}
	m.ring, m.head = grown, 0
}

// pop takes the oldest waiting record out of the ring, and of the bytes.
func (m *memory) pop() *Record {
	r := m.ring[m.head]
	m.ring[m.head] = nil
	m.head = (m.head + 1) % len(m.ring)
	m.n--
	m.bytes -= r.Size()
	return r
}

// take returns the oldest records, at most count and about bytes long, in
// batch. It waits for one; it returns none if the queue is closed and empty or
// ctx has ended. They use the queue's room until done.
func (m *memory) take(ctx context.Context, batch []*Record, count, bytes int) []*Record {
	for {
		m.mu.Lock()
		if m.n > 0 {
			defer m.mu.Unlock()
			return m.takeLocked(batch, count, bytes)
		}
		closed := m.closed
		m.mu.Unlock()
		if closed || ctx.Err() != nil {
			return batch
		}
		select {
		case <-m.more:
		case <-ctx.Done():
		}
	}
}

func (m *memory) takeLocked(batch []*Record, count, bytes int) []*Record {
	size := 0
	for m.n > 0 && m.taken < count {
		if size += m.ring[m.head].Size(); size > bytes && m.taken > 0 {
			break
		}
		r := m.pop()
		m.bytes += r.Size() // not yet gone
		m.taken++
		batch = append(batch, r)
	}
	return batch
}

// done frees the room of batch, which take has returned, and whose records nobody
// uses any more on behalf of this queue.
func (m *memory) done(batch []*Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken -= len(batch)
	for _, r := range batch {
		m.bytes -= r.Size()
		r.leave()
	}
	m.room.Broadcast()
}

// hurry keeps push from waiting, also who waits already.
func (m *memory) hurry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hurried = true
	m.room.Broadcast()
}

// close ends push. What waits can still be taken.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.room.Broadcast()
	m.wakeTaker()
}

// drop drops what waits.
func (m *memory) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.n > 0 {
		m.pop().leave()
		m.stats.Dropped++
		m.stats.Undelivered++
	}
}

// shed drops the older half of what waits, if that is the policy, and reports whether there
// was any.
func (m *memory) shed() (some bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dropOldest || m.n == 0 {
		return false
	}
	for range (m.n + 1) / 2 {
		m.pop().leave()
		m.stats.Shed++
	}
	m.room.Broadcast()
	return true
}

// snapshot returns the counters of records that have not left the memory by
// being delivered.
func (m *memory) snapshot() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Blocked += time.Duration(m.waiting)*time.Since(m.began) - m.since
	s.Queued, s.QueuedBytes = uint64(m.n+m.taken), m.bytes
	return s
}
