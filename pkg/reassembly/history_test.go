package reassembly

import (
	"capstan/pkg/flow"
	"testing"

	"capstan/pkg/packet"
)

// noteAll adds segments of h with the numbers [from, to), each at an instant of its own that
// is so many behind the one before.
func noteAll(t *history, h *half, from, to uint32, instants uint32) {
	for i := from; i < to; i++ {
		t.now += instants
		t.note(h, &packet.Segment{Seq: i, Payload: []byte{byte(i), byte(i >> 8)}}, int64(i))
	}
}

// inReach returns how many of the latest segments of h are found.
func (t *history) inReach(h *half) (n int) {
	for e := t.at(h.recent); e != nil; e = t.at(e.prev) {
		n++
	}
	return n
}

// TestHistoryGrows to what is in reach, and no further: of a source that is divided, each
// assembler has a part.
func TestHistoryGrows(t *testing.T) {
	const limit = 1 << 12
	for _, c := range []struct{ instants, length, reach int }{{1, limit, limit}, {2, limit, limit/2 + 1}, {100, minHistory, limit/100 + 1}} {
		x, h := newHistory(limit), new(half)
		noteAll(&x, h, 1, 3*limit, uint32(c.instants))
		if got := x.inReach(h); got != c.reach || len(x.ring) != c.length {
			t.Errorf("a segment each %d instants: %d in reach, want %d, in a ring of %d, want %d", c.instants, got, c.reach, len(x.ring), c.length)
		}
	}
}

// TestHistoryNumbersComeAgain: what is in reach stays so, though the first number was given
// long ago.
func TestHistoryNumbersComeAgain(t *testing.T) {
	for n := range uint32(2*minHistory + 2) {
		x, h := newHistory(minHistory), new(half)
		x.next = 1<<32 - 2*minHistory
		noteAll(&x, h, 1, 1+2*minHistory+n, 1)
		if got := x.inReach(h); got < minHistory-1 { // 0 has a place, too, where it is passed over
			t.Fatalf("%d behind the last number: %d in reach", n, got)
		}
	}
}

// TestHistoryForgets: what was forgotten is not found, nor taken for others, and what comes
// later is.
func TestHistoryForgets(t *testing.T) {
	for _, next := range []uint32{1, 1<<32 - minHistory, 1<<32 - 300, 1<<32 - 3*minHistory} {
		x, h := newHistory(1<<12), new(half)
		x.first, x.next = next, next
		noteAll(&x, h, 1, 200, 1) // 0 counts where it is passed over
		if n := x.forget(); n < 199 || n > 200 || len(x.ring) != minHistory || x.inReach(h) != 0 || x.count() != 0 {
			t.Errorf("from %d on: %d forgotten, %d in reach, in a ring of %d", next, n, x.inReach(h), len(x.ring))
		}
		noteAll(&x, h, 200, 400, 1)
		if n := x.inReach(h); n != 200 {
			t.Errorf("from %d on: %d of 200 in reach", next, n)
		}
		for e, i := x.at(h.recent), uint32(399); e != nil; e, i = x.at(e.prev), i-1 {
			if e.seq != i {
				t.Fatalf("from %d on: segment %d instead of %d", next, e.seq, i)
			}
		}
	}
}

// TestShedForgetsSegments: the memory that they take, which each assembler has for itself, is
// given back and counted.
func TestShedForgetsSegments(t *testing.T) {
	a := New(Config{}, func(*Conn, flow.Direction, []byte) Handler { return nil })
	for i := range 1000 {
		s := packet.Segment{Seq: uint32(i), Flags: packet.FlagSYN}
		s.Key.A.Port = uint16(i)
		a.Segment(&s, int64(i))
	}
	if st := a.Stats(); st.Remembered != 1000 {
		t.Fatalf("%d segments are remembered", st.Remembered)
	}
	a.Shed(0)
	if st := a.Stats(); st.Remembered != 0 || st.ShedHistory != 1000 || len(a.history.ring) != minHistory {
		t.Errorf("%d segments are remembered, %d forgotten", st.Remembered, st.ShedHistory)
	}
}
