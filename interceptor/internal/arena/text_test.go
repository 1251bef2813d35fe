package arena

import (
	"bytes"
	"testing"
)

func TestTextStaysAsItWas(t *testing.T) {
	text := Text{ChunkLen: 1000}
	var made []string
	var want []string
	for i := range 5000 {
		b := bytes.Repeat([]byte{byte(i)}, i%97*(1+i%2*20))
		made = append(made, text.String(b))
		want = append(want, string(b))
		for j := range b {
			b[j]++
		}
	}
	for i := range made {
		if made[i] != want[i] {
			t.Fatalf("string %d is %q, want %q", i, made[i], want[i])
		}
	}
}

func TestTextAllocatesSeldom(t *testing.T) {
	var text Text
	b := bytes.Repeat([]byte("x"), 20)
	if n := testing.AllocsPerRun(10, func() {
		for range 1000 {
			text.String(b)
		}
	}); n > 1000*20/defaultChunkLen+2 {
		t.Errorf("%v allocations for 1000 strings", n)
	}
}
