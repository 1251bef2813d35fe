package reassembly

import (
	"math/rand/v2"

	"capstan/pkg/flow"
)

// table finds connections by their key: open addressing with linear probing,
// since a look-up is made for every segment and should touch one cache line
// beside the connection itself. Both directions of a connection have one entry.
type table struct {
	slots []slot // a power of two of them
	count int
	seed  uint64
}

type slot struct {
	c    *connection // nil if the slot is free
	hash uint32
}

const minSlots = 64

func newTable() table { return table{slots: make([]slot, minSlots), seed: rand.Uint64()} }

// hash has to be used modulo the number of slots.
func (t *table) hash(k *flow.Key) uint32 { return uint32(k.SeededHash(t.seed)) }

// find returns the connection of key k, or nil.
func (t *table) find(k *flow.Key) *connection {
	hash, mask := t.hash(k), uint32(len(t.slots)-1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &t.slots[i&uint32(len(t.slots)-1)]
		if s.c == nil {
			return nil
		}
		if s.hash == hash && s.c.Key.Equal(k) {
			return s.c
		}
	}
}

// insert adds c, whose key is not in the table.
func (t *table) insert(c *connection) {
	if t.count >= len(t.slots)*3/4 {
		t.resize(2 * len(t.slots))
	}
	t.put(slot{c, t.hash(&c.Key)})
	t.count++
}

func (t *table) put(s slot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i].c != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]slot, n)
	for _, s := range old {
		if s.c != nil {
			t.put(s)
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

// remove takes c out, and moves up those behind it that it was in the way of.
func (t *table) remove(c *connection) {
	mask := uint32(len(t.slots) - 1)
	i := t.hash(&c.Key) & mask
	for t.slots[i].c != c {
		if t.slots[i].c == nil {
			return
		}
		i = (i + 1) & mask
	}
	t.count--
	for j := (i + 1) & mask; t.slots[j].c != nil; j = (j + 1) & mask {
		if home := t.slots[j].hash & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{}
}
