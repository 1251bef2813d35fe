package reassembly

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"capstan/pkg/flow"
)

// TestTableAgainstMap inserts, finds and removes at random, in a table so full
// and with hashes so bad that entries get in each other's way.
func TestTableAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tab := newTable()
	want := map[flow.Key]*connection{}
	key := func() flow.Key {
		return flow.Key{A: flow.Endpoint{Port: uint16(r.IntN(3000))}, Scope: uint32(r.IntN(2))}
	}
	for range 200_000 {
		k := key()
		c := want[k]
		if got := tab.find(&k); got != c {
			t.Fatalf("found %p, want %p", got, c)
		}
		switch {
		case c == nil:
			c = &connection{Conn: Conn{Key: k}}
			tab.insert(c)
			want[k] = c
		case r.IntN(3) > 0:
			tab.remove(c)
			delete(want, k)
			tab.remove(c) // not there: nothing happens
		}
		if tab.count != len(want) {
			t.Fatalf("%d entries, want %d", tab.count, len(want))
		}
	}
	for k, c := range want {
		if tab.find(&k) != c {
			t.Fatal("an entry is lost")
		}
		tab.remove(c)
	}
	for _, s := range tab.slots {
		if s.c != nil {
			t.Fatal("an entry is left")
		}
	}
}

// An idle connection is its struct and its place in the table, which is at least
// three eighths full.
func TestIdleConnectionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(connection{}) + unsafe.Sizeof(slot{})*8/3; n > 288 {
		t.Errorf("a connection takes up to %d bytes", n)
	}
	p := newProbe(t, Config{})
	p.handshake()
	p.c(101, 100)
	p.c(1, 100)
	p.s(1, 500)
	p.bare(C)
	for _, s := range p.a.conns.slots {
		if s.c != nil && (s.c.half[0].pending != nil || s.c.half[1].pending != nil) {
			t.Error("an idle connection holds what only trouble needs")
		}
	}
}
