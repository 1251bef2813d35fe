package http2

import (
	"bytes"
	"testing"
)

// TestBuffersKeepWhatIsAppended grows bodies, several at a time, out of buffers
// that others have given back.
func TestBuffersKeepWhatIsAppended(t *testing.T) {
	var p buffers
	for round := range 20 {
		var bodies [8][]byte
		for piece := range 40 {
			for i := range bodies {
				bodies[i] = p.append(bodies[i], bytes.Repeat([]byte{byte(i)}, 1+37*i*(round%3)), round*piece*10)
			}
		}
		for i, b := range bodies {
			if want := 40 * (1 + 37*i*(round%3)); len(b) != want || bytes.Count(b, []byte{byte(i)}) != want {
				t.Fatalf("round %d: body %d has %d bytes, want %d of one kind", round, i, len(b), want)
			}
			p.give(b)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		b := p.append(nil, make([]byte, 100), 3000)
		p.give(p.append(b, make([]byte, 3500), 0))
	}); n != 0 {
		t.Errorf("%v allocations for a buffer that is there", n)
	}
}
