package reassembly

import (
	"testing"
	"time"
)

// A tuple lingers for its time from the close on, longer if segments come again, and
// no longer for a bare ACK.
func TestTupleLingers(t *testing.T) {
	const linger = 10 * time.Second
	p := newProbe(t, Config{Linger: linger})
	lingers := func(want int) {
		t.Helper()
		p.wait(0)
		if st := p.a.Stats(); st.Lingering != want || st.Active != 0 {
			t.Errorf("%d linger, want %d; %d are active", st.Lingering, want, st.Active)
		}
	}
	p.handshake()
	p.fins()
	p.wait(linger - time.Second)
	p.bare(S)
	lingers(1)
	p.wait(2 * time.Second)
	lingers(0)

	p = newProbe(t, Config{Linger: linger})
	p.handshake()
	p.fins()
	p.wait(linger / 2)
	p.send(S, p.sent[S]-1, 0, finack)
	p.wait(linger - time.Second)
	lingers(1)
	p.send(S, p.sent[S]-1, 0, finack) // it is known in full, and no new connection
	if st := p.a.Stats(); st.Opened != 1 || st.LateSegments != 3 {
		t.Errorf("counted %+v", st)
	}
	for range 4 {
		p.wait(linger)
	}
	lingers(0)
}
