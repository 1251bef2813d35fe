package http2

import "math/rand/v2"

// table finds the open streams of a connection by their identifiers. It is a
// hash table with linear probing, which costs an idle connection less than a map,
// and an exchange too.
type table struct {
	slots []*stream // a power of two, or none; half of them are empty at least
	n     int
}

const (
	firstSlots = 4
	// keepSlots is the largest table that a connection without streams keeps.
	keepSlots = 64
)

// spread makes hashes: odd, and not to be guessed by who would like all streams
// in one place.
var spread = rand.Uint32() | 1

// home returns where the search for id starts.
func (t *table) home(id uint32) int {
	return int(uint64(id*spread) * uint64(len(t.slots)) >> 32) // the upper bits are the good ones
}

// get returns stream id, nil if it is not open.
func (t *table) get(id uint32) *stream {
	if t.n == 0 {
		return nil
	}
	for i := t.home(id); ; i = (i + 1) & (len(t.slots) - 1) {
		if s := t.slots[i]; s == nil || s.id == id {
			return s
		}
	}
}

// add adds s, which is not there.
func (t *table) add(s *stream) {
	if 2*(t.n+1) > len(t.slots) {
		t.grow()
	}
	t.n++
	t.put(s)
}

func (t *table) put(s *stream) {
	i := t.home(s.id)
	for t.slots[i] != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = s
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]*stream, max(firstSlots, 2*len(old)))
	for _, s := range old {
		if s != nil {
			t.put(s)
		}
	}
}

// remove removes s, which is there.
func (t *table) remove(s *stream) {
	if t.n--; t.n == 0 && len(t.slots) > keepSlots {
		t.slots = nil
		return
	}
	last := len(t.slots) - 1
	i := t.home(s.id)
	for t.slots[i] != s {
		i = (i + 1) & last
	}
	// What was put behind s because of it goes forward.
	for j := (i + 1) & last; t.slots[j] != nil; j = (j + 1) & last {
		if (j-t.home(t.slots[j].id))&last >= (j-i)&last {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = nil
}
