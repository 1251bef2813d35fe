package http2

import (
	"math/rand/v2"
	"testing"
)

// TestTableAgainstMap opens and ends streams at random and finds them as a map
// does.
func TestTableAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var got table
	want := make(map[uint32]*stream)
	for range 20_000 {
		id := 1 + r.Uint32N(400)
		if r.IntN(8) == 0 {
			id <<= 20 // whatever the table's length is, these differ by multiples of it
		}
		if s := got.get(id); s != want[id] {
			t.Fatalf("stream %d: %p, want %p", id, s, want[id])
		}
		switch s := want[id]; {
		case s == nil && (len(want) < 100 || r.IntN(2) == 0):
			s = &stream{id: id}
			got.add(s)
			want[id] = s
		case s != nil:
			got.remove(s)
			delete(want, id)
		}
		if got.n != len(want) {
			t.Fatalf("%d streams, want %d", got.n, len(want))
		}
	}
	for _, s := range want {
		got.remove(s)
	}
	if got.n != 0 || len(got.slots) > keepSlots {
		t.Errorf("%d streams in %d slots after the end", got.n, len(got.slots))
	}
}
