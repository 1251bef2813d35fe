package prefetch

import (
	"math/rand/v2"
	"testing"
)

// TestEachLineOnce goes through buffers in steps of any length: what lies ahead has been
// asked for, once, and never what lies farther.
func TestEachLineOnce(t *testing.T) {
	for _, distance := range []uintptr{near, far} {
		eachLineOnce(t, Ahead{distance: distance})
	}
}

func eachLineOnce(t *testing.T, a Ahead) {
	r := rand.New(rand.NewPCG(1, 2))
	distance := a.distance
	for range 200 {
		reader := uintptr(r.Uint64N(1 << 40))
		var from, to uintptr // asked for
		for range 300 {
			if reader+distance-a.asked >= group { // as Behind
				p, groups := a.next(reader)
				if groups == 0 || p < to {
					t.Fatalf("at %#x: %d groups from %#x, those up to %#x were asked for", reader, groups, p, to)
				}
				if p != to {
					from = p
				}
				to = p + groups*group
			}
			if from > reader || to+group <= reader+distance || to > reader+distance {
				t.Fatalf("at %#x: what is asked for lies from %#x to %#x", reader, from, to)
			}
			if n := uintptr(r.Uint64N(3 * 1500)); r.IntN(4) > 0 {
				reader += n / 50 // as acknowledgements
			} else {
				reader += n // of full frames, and of some that are longer than what was asked for
			}
		}
	}
}

// TestAheadByLength: how far ahead is asked for follows the length of frames.
func TestAheadByLength(t *testing.T) {
	var a Ahead
	b := make([]byte, 1500)
	for _, tc := range []struct {
		length int
		want   uintptr
	}{{60, near}, {1500, far}, {800, near}} {
		for range 10 * weight {
			a.Behind(b[:tc.length])
			b = append(b, b[:tc.length]...)[tc.length:] // the next one lies behind it
		}
		if a.distance != tc.want {
			t.Errorf("frames of %d bytes: %d bytes ahead, want %d", tc.length, a.distance, tc.want)
		}
	}
}

// TestAheadOfAnyFrames goes through frames of any length, and back now and then, so that how
// far ahead is asked for changes wherever what was asked for ends.
func TestAheadOfAnyFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 1<<20)
	var a Ahead
	changes := 0
	for range 300 {
		most, at := 1+r.IntN(3000), r.IntN(len(b)/2)
		for range 100 {
			n := 1 + r.IntN(most)
			before := a.distance
			a.Behind(b[at : at+n])
			if a.distance != before {
				changes++
			}
			if at += n; r.IntN(16) == 0 {
				at = max(at-r.IntN(5000), 0) // as to a buffer that was used before
			}
		}
	}
	if changes < 100 {
		t.Errorf("it changed %d times", changes)
	}
}
