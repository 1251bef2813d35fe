package http1

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// letters are those that matter to what looks at eight bytes at a time, and their
// neighbours.
const letters = "\x00\t\n\v\r\x1f !9:;\x7eA\x7f\x80\x8a\xba\xff"

func scribble(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(40))
	for i := range b {
		if b[i] = 'x'; r.IntN(6) == 0 {
			b[i] = letters[r.IntN(len(letters))]
		}
	}
	return b
}

// TestCensus compares with what looks at each byte, line by line and cut anywhere.
func TestCensus(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := scribble(r)
		cut := r.IntN(len(b) + 1)
		var c census
		for at := 0; ; {
			part := b[at:]
			if at < cut {
				part = b[at:cut] // as when the rest has not arrived
			}
			i := c.line(part)
			if want := bytes.IndexByte(part, '\n'); i != want {
				t.Fatalf("%q: a line feed at %d, want %d", part, i, want)
			}
			if i < 0 {
				i = len(part) - 1
			}
			at += i + 1
			if got, want := c, censusOf(string(b[:at])); got.controls != want.controls || got.ascii() != want.ascii() {
				t.Fatalf("%q: %d control characters, ASCII %t; want %d, %t", b[:at], got.controls, got.ascii(), want.controls, want.ascii())
			}
			if at == len(b) {
				break
			}
		}
	}
}

func TestColonIn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		s := string(scribble(r))
		want := strings.IndexByte(s, ':')
		if want < 0 {
			want = len(s)
		}
		if got := colonIn(s); got != want {
			t.Fatalf("%q: %d, want %d", s, got, want)
		}
	}
}

func TestIsTarget(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		b := scribble(r)
		want := !bytes.ContainsFunc(b, func(c rune) bool { return c <= ' ' || c == 0x7f })
		if got := isTarget(b); got != want {
			t.Fatalf("%q: %t", b, got)
		}
	}
}
