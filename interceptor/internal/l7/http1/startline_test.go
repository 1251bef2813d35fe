package http1

import (
	"math/rand/v2"
	"testing"
)

// TestUsualRequestLine holds that what is taken for usual is parsed as the rest is.
func TestUsualRequestLine(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	usual := 0
	for range 50000 {
		line := []byte("GET /a?b HTTP/1.1")[r.IntN(2)*r.IntN(18):]
		for range r.IntN(3) {
			if i := r.IntN(len(line) + 1); r.IntN(2) == 0 {
				line = append(line[:i], append([]byte{letters[r.IntN(len(letters))]}, line[i:]...)...)
			} else if i < len(line) {
				line = append(line[:i], line[i+1:]...)
			}
		}
		var quick, slow requestLine
		b := append(line, lineEnd...)
		next := quick.take(b)
		if next == 0 {
			continue
		}
		usual++
		if line = b[:next-len(lineEnd)]; !slow.parse(line) || quick != slow {
			t.Fatalf("%q: %+v, want %+v", line, quick, slow)
		}
		if ok, _ := LooksLikeRequest(b, false); !ok {
			t.Fatalf("%q does not look like a request", line)
		}
	}
	if usual < 1000 {
		t.Fatalf("only %d lines were usual", usual)
	}
}
