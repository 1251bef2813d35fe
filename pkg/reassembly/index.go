package reassembly

// index finds values by the hashes of their keys: open addressing with linear
// probing. Who looks for a key goes along the entries from that hash on, and
// compares keys himself.
type index[V comparable] struct {
	entries []entry[V] // a power of two of them
	count   int
}

// entry has a value, or is free and 0.
type entry[V comparable] struct {
	hash  uint32 // not 0
	value V
}

func (e *entry[V]) isFree() bool { return e.hash == 0 }

const minEntries = 64

func newIndex[V comparable]() index[V] { return index[V]{entries: make([]entry[V], minEntries)} }

// insert adds a value that is not there.
func (x *index[V]) insert(hash uint32, v V) {
	if x.count >= len(x.entries)*5/8 { // at most two entries are looked at on average to find a value
		x.resize(x.larger())
	}
	x.put(entry[V]{hash, v})
	x.count++
}

// larger returns how many entries there are when those of now are too few: while that is
// little memory, to move them again and again costs more.
func (x *index[V]) larger() int {
	if len(x.entries) < 1<<10 {
		return 4 * len(x.entries)
	}
	return 2 * len(x.entries)
}

func (x *index[V]) put(e entry[V]) {
	mask := uint32(len(x.entries) - 1)
	i := e.hash & mask
	for !x.entries[i].isFree() {
		i = (i + 1) & mask
	}
	x.entries[i] = e
}

func (x *index[V]) resize(n int) {
	old := x.entries
	x.entries = make([]entry[V], n)
	for i := range old {
		if !old[i].isFree() {
			x.put(old[i])
		}
	}
}

// shrink gives back the room of values that are gone.
func (x *index[V]) shrink() {
	n := len(x.entries)
	for n > minEntries && x.count < n/8 {
		n /= 2
	}
	if n < len(x.entries) {
		x.resize(n)
	}
}

// place returns the place of a value that is there.
func (x *index[V]) place(hash uint32, v V) uint32 {
	mask := uint32(len(x.entries) - 1)
	i := hash & mask
	for x.entries[i].value != v {
		i = (i + 1) & mask
	}
	return i
}

// replace puts another value into the place of one that is there.
func (x *index[V]) replace(hash uint32, v, by V) { x.entries[x.place(hash, v)].value = by }

// remove takes a value out that is there, and moves up those behind it that it was in
// the way of.
func (x *index[V]) remove(hash uint32, v V) {
	x.count--
	mask := uint32(len(x.entries) - 1)
	i := x.place(hash, v)
	for j := (i + 1) & mask; !x.entries[j].isFree(); j = (j + 1) & mask {
		if home := x.entries[j].hash & mask; (j-home)&mask >= (j-i)&mask {
			x.entries[i] = x.entries[j]
			i = j
		}
	}
	x.entries[i] = entry[V]{}
}
