package reassembly

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"capstan/pkg/flow"
)

// TestTableAgainstMap inserts, closes, finds and forgets at random, in a table so
// full and with hashes so bad that entries get in each other's way.
func TestTableAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tab := newTable()
	tab.tuples.first = tuplePositions - 4*tupleBlock // so that positions go round
	tab.tuples.head, tab.tuples.tail = tab.tuples.first, tab.tuples.first
	type known struct {
		c     *connection
		tuple uint32
	}
	want := map[flow.Key]known{}
	var closed []flow.Key // that have a tuple, oldest first
	key := func() flow.Key {
		return flow.Key{A: flow.Endpoint{Port: uint16(r.IntN(3000))}, Scope: uint32(r.IntN(2))}
	}
	forget := func(k flow.Key, e known) {
		delete(want, k)
		if e.c != nil {
			tab.forget(e.c)
			return
		}
		tab.forgetTuple(e.tuple)
		closed = slices.DeleteFunc(closed, func(o flow.Key) bool { return o == k })
	}
	check := func(k flow.Key, e known) known {
		c, tuple := tab.find(&k)
		if c != e.c || (tuple == 0) != (e.tuple == 0) || tuple != 0 && tab.tuples.at(tuple).key != k {
			t.Fatalf("found %p and tuple %d, want %p and %d", c, tuple, e.c, e.tuple)
		}
		e.tuple = tuple // which changes when forgotten ones are taken out
		return e
	}
	for range 200_000 {
		k := key()
		e := check(k, want[k])
		switch {
		case e == known{}:
			e.c = &connection{Conn: Conn{Key: k}}
			tab.insert(e.c, &e.c.Key)
			want[k] = e
		case r.IntN(3) == 0:
		case e.c != nil && r.IntN(2) == 0:
			i := tab.linger(e.c)
			tab.tuples.at(i).key = k
			want[k] = known{tuple: i}
			closed = append(closed, k)
		case e.tuple != 0 && r.IntN(3) == 0:
			tab.requeue(e.tuple, 0)
			_, e.tuple = tab.find(&k)
			want[k] = e
			closed = append(slices.DeleteFunc(closed, func(o flow.Key) bool { return o == k }), k)
		default:
			forget(k, e)
		}
		if tab.count() != len(want) || tab.tuples.count != len(closed) {
			t.Fatalf("%d entries, %d tuples, want %d, %d", tab.count(), tab.tuples.count, len(want), len(closed))
		}
		if oldest := tab.tuples.oldest(); oldest != 0 && tab.tuples.at(oldest).key != closed[0] {
			t.Fatal("the oldest tuple is another")
		}
	}
	for k, e := range want {
		forget(k, check(k, e))
	}
	if slices.ContainsFunc(tab.open.entries, func(e entry[*connection]) bool { return !e.isFree() }) ||
		slices.ContainsFunc(tab.closed.entries, func(e entry[uint32]) bool { return !e.isFree() }) {
		t.Fatal("an entry is left")
	}
	if i := tab.tuples.oldest(); i != 0 || len(tab.tuples.blocks) > 1 {
		t.Fatalf("tuple %d is left, or some of %d blocks", i, len(tab.tuples.blocks))
	}
}

// An idle connection is its struct, a closed one its tuple, and its entry in an
// index, which is at least five sixteenths full.
func TestIdleConnectionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(connection{}) + unsafe.Sizeof(entry[*connection]{})*16/5; n > 256 {
		t.Errorf("a connection takes up to %d bytes", n)
	}
	if n := unsafe.Sizeof(tuple{}) + unsafe.Sizeof(entry[uint32]{})*16/5; n > 116 {
		t.Errorf("a closed one takes up to %d bytes", n)
	}
	p := newProbe(t, Config{})
	p.handshake()
	p.c(101, 100)
	p.c(1, 100)
	p.s(1, 500)
	p.bare(C)
	for _, s := range p.a.conns.open.entries {
		if c := s.value; c != nil && (c.half[0].pending != nil || c.half[1].pending != nil) {
			t.Error("an idle connection holds what only trouble needs")
		}
	}
}
