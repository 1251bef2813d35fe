package reassembly

import (
	"encoding/binary"

	"capstan/pkg/packet"
)

// history remembers the latest segments of all connections, for two questions
// that can't be answered otherwise once the bytes are delivered: whether a
// segment is the very packet that was captured before at another point, and
// whether bytes that come again are the same. It is a ring, so its memory does
// not depend on the number of connections.
type history struct {
	ring  []sighting // a power of two of them, up to limit
	first uint32     // number of the first entry since the ring was made anew
	next  uint32     // number of the next entry; 0 is none's
	limit int
	// beyond is how often it was asked about the latest segment of a direction, and that was
	// out of reach.
	beyond uint64
	now    uint32 // number of the instant, its lower half
}

// sighting is a segment as it was seen. Those of one direction are a list,
// latest first.
type sighting struct {
	identity
	prev     uint32 // number of the entry before, of the same direction
	at       uint32 // number of the instant, its lower half
	vantage  uint32
	captured uint32 // bytes of its payload
	time     int64
	head     uint64 // sample of its payload
}

// identity is what two captures of one packet have in common, whatever is
// between them but a translation of addresses. A retransmission has another IP
// identification, or, by its time, another timestamp.
type identity struct {
	seq, ack, length, tsVal, tsEcr uint32
	window, id                     uint16
	flags                          packet.Flags
}

// set makes i that of s. It stores field by field: a copy of a struct written just
// now waits for its parts.
func (i *identity) set(s *packet.Segment) {
	i.seq, i.ack, i.length = s.Seq, s.Ack, uint32(len(s.Payload)+s.Missing)
	i.tsVal, i.tsEcr, i.window, i.id, i.flags = s.TSVal, s.TSEcr, s.Window, s.ID, s.Flags
}

const (
	// sampleLen is how many bytes of a payload are looked at: those that share
	// cache lines with the headers. The rest of a payload may never be touched.
	sampleLen = 64
	// maxSightings bounds the walk through a list.
	maxSightings = 64
)

// sample folds the first bytes of b, at most sampleLen.
func sample(b []byte) uint64 {
	const k0, k1, k2, k3 = 0x9e3779b97f4a7c15, 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3
	if len(b) >= sampleLen {
		b = b[:sampleLen]
		v := binary.LittleEndian.Uint64(b)*k0 + binary.LittleEndian.Uint64(b[8:])*k1 + binary.LittleEndian.Uint64(b[16:])*k2 + binary.LittleEndian.Uint64(b[24:])*k3
		return v ^ (v >> 32) + binary.LittleEndian.Uint64(b[32:])*k3 + binary.LittleEndian.Uint64(b[40:])*k2 + binary.LittleEndian.Uint64(b[48:])*k1 + binary.LittleEndian.Uint64(b[56:])*k0
	}
	v := uint64(len(b))
	for _, c := range b {
		v = (v ^ uint64(c)) * k0
	}
	return v
}

// A ring starts small, as captures of a few segments have one, too, and is larger as soon
// as it would lose what is in reach.
const (
	minHistory = 64
	growth     = 8
)

func newHistory(limit int) history {
	return history{ring: make([]sighting, minHistory), first: 1, next: 1, limit: limit}
}

// count returns how many entries there are.
func (t *history) count() int { return int(min(t.next-t.first, uint32(len(t.ring)))) }

// isFull reports whether the next entry would take the place of one that is in reach.
func (t *history) isFull() bool {
	e := &t.ring[t.next&uint32(len(t.ring)-1)]
	return t.count() == len(t.ring) && t.now-e.at <= uint32(t.limit)
}

// grow makes the ring larger, and nothing of it was overwritten yet that is in reach.
func (t *history) grow() {
	old := t.ring
	n := growth * len(old)
	for n/2 >= t.limit {
		n /= 2
	}
	t.ring = make([]sighting, n)
	for i := t.next - uint32(len(old)); i != t.next; i++ {
		t.ring[i&uint32(n-1)] = old[i&uint32(len(old)-1)]
	}
}

// forget makes the ring small and empty, and returns how many entries there were.
func (t *history) forget() int {
	n := t.count()
	t.ring = make([]sighting, minHistory)
	t.next = max(t.next+minHistory, 1) // those of before are out of reach
	t.first = t.next
	return n
}

// note remembers s, of direction h.
func (t *history) note(h *half, s *packet.Segment, time int64) {
	if len(t.ring) < t.limit && t.isFull() {
		t.grow()
	}
	e := &t.ring[t.next&uint32(len(t.ring)-1)]
	e.set(s)
	e.at, e.prev, e.vantage = t.now, h.recent, s.Vantage
	e.captured, e.time = uint32(len(s.Payload)), time
	e.head = sample(s.Payload)
	h.recent = t.next
	if t.next++; t.next == 0 {
		t.first = -uint32(t.count()) // not the one that comes again
		t.next = 1
	}
}

// at returns entry number i, or nil if there is none, it was overwritten or forgotten, or it
// is more than limit instants old: how far the history reaches must not depend
// on how many assemblers share the packets.
func (t *history) at(i uint32) *sighting {
	if i == 0 || t.next-i > uint32(t.count()) {
		return nil
	}
	e := &t.ring[i&uint32(len(t.ring)-1)]
	if t.now-e.at > uint32(t.limit) {
		return nil
	}
	return e
}

// noted reports whether a history has segments like s: a bare ACK, which it has
// not, does no harm when it comes again.
func noted(s *packet.Segment) bool {
	return s.Flags&(packet.FlagSYN|packet.FlagRST|packet.FlagFIN) != 0 || len(s.Payload)+s.Missing > 0
}

// mayRepeat reports whether s, of direction h, may have been seen before: it is not
// all new.
func (h *half) mayRepeat(s *packet.Segment) bool {
	switch {
	case !noted(s):
		return false
	case s.Flags&(packet.FlagSYN|packet.FlagRST) != 0, s.Flags.Has(packet.FlagFIN) && h.pending != nil && h.finSeen:
		return true
	}
	return !h.synced || h.pos(s.Seq) < h.tail()
}

// copied reports whether s was seen before, at another capture point or, by its IP
// identification, at any. recent is the latest entry of its direction.
func (t *history) copied(recent uint32, s *packet.Segment, time, window int64) bool {
	var id identity
	id.set(s)
	e := t.at(recent)
	if e == nil && recent != 0 {
		t.beyond++
	}
	for n := 0; e != nil && n < maxSightings && time-e.time <= window; n++ {
		if e.identity == id && (e.vantage != s.Vantage || id.id != 0) && e.time-time <= window &&
			int(e.captured) >= len(s.Payload) && !e.differs(s) {
			return true
		}
		e = t.at(e.prev)
	}
	return false
}

// differs reports whether bytes of s that were seen before are known to be
// others now.
func (t *history) differs(h *half, s *packet.Segment) bool {
	if len(s.Payload) <= 1 {
		return false // a keep-alive probe may hold any byte (RFC 1122 §4.2.3.6)
	}
	e := t.at(h.recent)
	for n := 0; e != nil && n < maxSightings; n++ {
		if e.captured > 1 && e.differs(s) {
			return true
		}
		e = t.at(e.prev)
	}
	return false
}

// differs compares the sample of e with what s has at its place, if it has all
// of it.
func (e *sighting) differs(s *packet.Segment) bool {
	at, n := int64(int32(e.seq-s.Seq)), min(int64(e.captured), sampleLen)
	return at >= 0 && at+n <= int64(len(s.Payload)) && sample(s.Payload[at:at+n]) != e.head
}
