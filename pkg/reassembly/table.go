package reassembly

import (
	"math/rand/v2"

	"capstan/pkg/flow"
)

// table finds connections, and the tuples of closed ones, by their key: open
// addressing with linear probing, since a look-up is made for every segment and
// should touch one cache line beside the connection itself. Both directions of a
// connection have one entry.
type table struct {
	slots  []slot // a power of two of them
	count  int
	seed   uint64
	tuples tuples
}

// slot has a connection or a tuple, or is free and 0.
type slot struct {
	c     *connection
	hash  uint32 // of the key, not 0
	tuple uint32 // its number, 0 if there is none
}

func (s *slot) isFree() bool { return s.hash == 0 }

const minSlots = 64

func newTable() table { return table{slots: make([]slot, minSlots), seed: rand.Uint64()} }

// hash has to be used modulo the number of slots. It is not 0.
func (t *table) hash(k *flow.Key) uint32 { return uint32(k.SeededHash(t.seed)) | 1<<31 }

// find returns the connection of key k, or the number of its tuple, or neither.
func (t *table) find(k *flow.Key) (c *connection, tuple uint32) {
	hash := t.hash(k)
	for i := hash; ; i++ {
		switch s := &t.slots[i&uint32(len(t.slots)-1)]; {
		case s.hash != hash:
			if s.isFree() {
				return nil, 0
			}
		case s.c != nil:
			if s.c.Key.Equal(k) {
				return s.c, 0
			}
		case t.tuples.at(s.tuple).key.Equal(k):
			return nil, s.tuple
		}
	}
}

// insert adds c, whose key is not in the table.
func (t *table) insert(c *connection) {
	if t.count >= len(t.slots)*5/8 { // at most two slots are looked at on average to find a connection
		t.resize(2 * len(t.slots))
	}
	t.put(slot{c: c, hash: t.hash(&c.Key)})
	t.count++
}

func (t *table) put(s slot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for !t.slots[i].isFree() {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]slot, n)
	for i := range old {
		if !old[i].isFree() {
			t.put(old[i])
		}
	}
}

// shrink gives back the room of connections that are gone.
func (t *table) shrink() {
	n := len(t.slots)
	for n > minSlots && t.count < n/8 {
		n /= 2
	}
	if n < len(t.slots) {
		t.resize(n)
	}
}

// place returns the index of the slot that has c, or that tuple where c is nil, which
// is in the table under key k.
func (t *table) place(k *flow.Key, c *connection, tuple uint32) uint32 {
	mask := uint32(len(t.slots) - 1)
	i := t.hash(k) & mask
	for t.slots[i].c != c || t.slots[i].tuple != tuple {
		i = (i + 1) & mask
	}
	return i
}

// linger puts a tuple in the place of c, and returns its number.
func (t *table) linger(c *connection) uint32 {
	s := &t.slots[t.place(&c.Key, c, 0)]
	s.c, s.tuple = nil, t.tuples.add()
	return s.tuple
}

// forget takes c out, which is in.
func (t *table) forget(c *connection) { t.free(t.place(&c.Key, c, 0)) }

// forgetTuple takes the tuple of that number out.
func (t *table) forgetTuple(number uint32) {
	t.free(t.place(&t.tuples.at(number).key, nil, number))
	t.tuples.remove(number)
}

// requeue makes the tuple of that number, which it loses, the youngest.
func (t *table) requeue(number uint32, now int64) {
	s := &t.slots[t.place(&t.tuples.at(number).key, nil, number)]
	s.tuple = t.tuples.add()
	to := t.tuples.at(s.tuple)
	*to = *t.tuples.at(number)
	to.queued = now
	t.tuples.remove(number)
}

// free frees slot i, and moves up those behind it that it was in the way of.
func (t *table) free(i uint32) {
	t.count--
	mask := uint32(len(t.slots) - 1)
	for j := (i + 1) & mask; !t.slots[j].isFree(); j = (j + 1) & mask {
		if home := t.slots[j].hash & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{}
}
