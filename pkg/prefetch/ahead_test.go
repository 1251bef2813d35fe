package prefetch

import (
	"math/rand/v2"
	"testing"
)

// TestEachLineOnce goes through buffers in steps of any length, and back.
func TestEachLineOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a Ahead
	for range 200 {
		begin := uintptr(r.Uint64N(1 << 40))
		asked := map[uintptr]bool{} // by the offset of each group's line from begin
		reader, before, restarted := begin, uintptr(0), true
		for range 300 {
			p, groups := a.next(reader)
			if restarted = restarted || before+distance < reader; restarted && p != reader {
				t.Fatalf("at %#x: asks for %#x first", reader, p)
			}
			for i := range groups * group / line {
				at := p + i*line - begin
				if asked[at] {
					t.Fatalf("at %#x: asks for %#x again", reader, at+begin)
				}
				asked[at] = true
			}
			if end := p + groups*group; end > reader+distance || end+group <= reader+distance {
				t.Fatalf("at %#x: asked up to %#x", reader, end)
			}
			before, restarted = reader, false
			if n := uintptr(r.Uint64N(3 * 1500)); r.IntN(4) > 0 {
				reader += n / 50 // as acknowledgements
			} else {
				reader += n // of full frames, and of some that are longer than what was asked for
			}
		}
	}
}
