package reassembly

import "testing"

// TestLimitsAreCounted: what waits is told while it does, and each limit that was reached.
func TestLimitsAreCounted(t *testing.T) {
	p := newProbe(t, Config{MaxHoleBytes: 1000, MaxQueuedTotal: 1500, MaxConnections: 2, History: 64})
	p.handshake()
	p.c(101, 400)
	if st := p.a.Stats(); st.Charge != 400+pieceCharge || st.QueuedBytes != 400 {
		t.Errorf("behind a hole: %+v", st)
	}
	p.c(1001, 600)
	if st := p.a.Stats(); st.StreamShed != 1 || st.Shed != 0 || st.Charge != 600+pieceCharge {
		t.Errorf("too much of one direction: %+v", st)
	}
	p.s(101, 900)
	if st := p.a.Stats(); st.Shed != 1 || st.Charge != 900+pieceCharge {
		t.Errorf("too much of all: %+v", st)
	}
	p.s(1, 100)
	if st := p.a.Stats(); st.Charge != 0 {
		t.Errorf("the hole is filled: %+v", st)
	}
	for i := range 200 {
		p.s(int64(1001+i*10), 10)
	}
	p.c(1101, 10)
	if st := p.a.Stats(); st.Beyond == 0 || st.Remembered > 65 {
		t.Errorf("what may repeat a segment of long ago: %+v", st)
	}
	p.fins()
	for i := range 2 {
		p.ends[C].Port = uint16(50_000 + i)
		p.sent = [2]int64{1000, 1000}
		p.c(1000, 10)
	}
	if st := p.a.Stats(); st.EvictedTuples != 1 || st.Closed[CloseEvicted] != 0 {
		t.Errorf("a tuple makes room: %+v", st)
	}
}
