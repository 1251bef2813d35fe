package sockfilter

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"
)

// The joined program says of random frames what running both says.
func TestAnd(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 13))
	accepted := 0
	for range 3000 {
		first, second := randomProgram(r, 30), randomProgram(r, 30)
		joined, err := And(first, second)
		if err != nil {
			t.Fatal(err)
		}
		a, b, both := compileAll(t, first), compileAll(t, second), compileAll(t, joined)
		for range 5 {
			frame := make([]byte, r.IntN(80))
			for i := range frame {
				frame[i] = byte(r.IntN(256))
			}
			wireLen := len(frame) + r.IntN(3)
			want := b.Run(frame, wireLen)
			if a.Run(frame, wireLen) == 0 {
				want = 0
			}
			if got := both.Run(frame, wireLen); got != want {
				t.Fatalf("%v and %v on %x: %d, want %d", first, second, frame, got, want)
			}
			if want > 0 {
				accepted++
			}
		}
	}
	if accepted < 500 {
		t.Errorf("only %d frames were accepted by both", accepted)
	}
}

func compileAll(t *testing.T, code []bpf.RawInstruction) *Program {
	t.Helper()
	p, err := Compile(code)
	if err != nil {
		t.Fatalf("%v: %v", code, err)
	}
	return p
}

func TestAndRefuses(t *testing.T) {
	good, bad := []bpf.RawInstruction{{Op: opRetK, K: 1}}, []bpf.RawInstruction{{Op: 0xff}}
	for _, pair := range [][2][]bpf.RawInstruction{{good, bad}, {bad, good}, {nil, good}, {good, nil}} {
		if _, err := And(pair[0], pair[1]); !errors.As(err, new(*ProgramError)) {
			t.Errorf("%v: %v", pair, err)
		}
	}
}
