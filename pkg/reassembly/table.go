package reassembly

import (
	"math/rand/v2"

	"capstan/pkg/flow"
)

// table finds connections, and the tuples of closed ones, by their key. A look-up is
// made for every segment, nearly always of a connection that is open, and should touch
// one cache line beside the connection itself. So tuples, of which there may be many
// more, are apart. Both directions of a connection have one entry.
type table struct {
	open   index[*connection]
	closed index[uint32] // numbers of tuples
	tuples tuples
	seed   uint64
}

func newTable() table {
	return table{open: newIndex[*connection](), closed: newIndex[uint32](), seed: rand.Uint64()}
}

// hash is to be used modulo the number of entries. It is not 0.
func (t *table) hash(k *flow.Key) uint32 { return uint32(k.SeededHash(t.seed)) | 1<<31 }

// count returns how many keys are known.
func (t *table) count() int { return t.open.count + t.closed.count }

// find returns the connection of key k, or the number of its tuple, or neither.
func (t *table) find(k *flow.Key) (c *connection, tuple uint32) {
	entries, hash := t.open.entries, t.hash(k)
	for i := hash; ; i++ {
		e := &entries[i&uint32(len(entries)-1)]
		if e.hash == hash && e.value.Key.Equal(k) {
			return e.value, 0
		}
		if e.isFree() {
			return nil, t.findTuple(k, hash)
		}
	}
}

func (t *table) findTuple(k *flow.Key, hash uint32) uint32 {
	entries := t.closed.entries
	for i := hash; ; i++ {
		e := &entries[i&uint32(len(entries)-1)]
		if e.hash == hash && t.tuples.at(e.value).key.Equal(k) {
			return e.value
		}
		if e.isFree() {
			return 0
		}
	}
}

// insert adds c, whose key is not in the table and equals k: that of c may have been copied
// just now, and who reads other parts of a copy than were written waits for it.
func (t *table) insert(c *connection, k *flow.Key) { t.open.insert(t.hash(k), c) }

// forget takes c out, which is in.
func (t *table) forget(c *connection) { t.open.remove(t.hash(&c.Key), c) }

// linger puts a tuple in the place of c, and returns its number. Others may have
// another one afterwards.
func (t *table) linger(c *connection) uint32 {
	if t.tuples.isSparse() {
		t.squeeze()
	}
	hash, number := t.hash(&c.Key), t.tuples.add()
	t.open.remove(hash, c)
	t.closed.insert(hash, number)
	return number
}

// forgetTuple takes the tuple of that number out.
func (t *table) forgetTuple(number uint32) {
	t.closed.remove(t.hash(&t.tuples.at(number).key), number)
	t.tuples.remove(number)
}

// requeue makes the tuple of that number, which it loses, the youngest.
func (t *table) requeue(number uint32, now int64) {
	young := t.tuples.add()
	from, to := t.tuples.at(number), t.tuples.at(young)
	*to = *from
	to.queued = now
	t.closed.replace(t.hash(&to.key), number, young)
	t.tuples.remove(number)
}

// squeeze takes the forgotten tuples out from between the others.
func (t *table) squeeze() {
	old := t.tuples
	t.tuples = tuples{}
	for i := old.head; i != old.tail; i = (i + 1) % tuplePositions {
		if from := old.at(i); !from.forgotten {
			number := t.tuples.add()
			*t.tuples.at(number) = *from
			t.closed.replace(t.hash(&from.key), i|tuplePositions, number)
		}
	}
}

// shrink gives back the room of those that are gone.
func (t *table) shrink() {
	t.open.shrink()
	t.closed.shrink()
}
