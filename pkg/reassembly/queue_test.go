package reassembly

import "testing"

// TestQueueOfADirection: a window as large as Linux makes them by default waits
// for the loss at its start, and no sender can have more pieces wait than that takes.
func TestQueueOfADirection(t *testing.T) {
	const (
		segment = 1448
		window  = 3 << 20 / segment // segments
	)
	for _, tt := range []struct {
		name                string
		size, every, pieces int
	}{
		{"segments", segment, segment, window},
		{"single bytes", 1, 2, maxPieces},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLoad(1)
			s := &l.segs[0]
			start, before := s.Seq, l.all.bytes
			send := func(i int) {
				s.Seq, s.Payload = start+uint32(tt.size+i*tt.every), make([]byte, tt.size)
				l.now += 1000
				l.a.Segment(s, l.now)
			}
			for i := range tt.pieces {
				send(i)
			}
			if l.all.gaps > 0 {
				t.Fatalf("%d bytes given up", l.all.gaps)
			}
			if tt.every > tt.size {
				send(tt.pieces)
				if l.all.gaps != int64(tt.size) {
					t.Errorf("behind %d pieces: %d bytes given up, want the first hole", tt.pieces+1, l.all.gaps)
				}
				return
			}
			send(-1)
			if got, want := l.all.bytes-before, int64((tt.pieces+1)*tt.size); got != want || l.all.gaps > 0 {
				t.Errorf("%d bytes of %d, %d given up", got, want, l.all.gaps)
			}
		})
	}
}
