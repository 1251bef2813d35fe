package prefetch

import (
	"math/rand/v2"
	"testing"
)

// TestEachLineOnce goes through buffers in steps of any length: what lies ahead has been
// asked for, once, and never what lies farther.
func TestEachLineOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a Ahead
	for range 200 {
		reader := uintptr(r.Uint64N(1 << 40))
		var from, to uintptr // asked for
		for range 300 {
			if reader+distance-a.asked >= block { // as Behind
				p, n := a.next(reader)
				if n == 0 || p < to {
					t.Fatalf("at %#x: %d blocks from %#x, those up to %#x were asked for", reader, n, p, to)
				}
				if p != to {
					from = p
				}
				to = p + n*block
			}
			if from > reader || to+block <= reader+distance || to > reader+distance {
				t.Fatalf("at %#x: what is asked for lies from %#x to %#x", reader, from, to)
			}
			if step := uintptr(r.Uint64N(4 * 1500)); r.IntN(4) > 0 {
				reader += step / 50 // as acknowledgements
			} else {
				reader += step // of full frames, and of some that are longer than what was asked for
			}
		}
	}
}
