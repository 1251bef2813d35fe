package reassembly

import (
	"math/rand/v2"
	"testing"
)

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

// TestPiecesKnowTheFirst: each piece of a queue has the time when the first of it and
// those behind it came, whatever came in which order.
func TestPiecesKnowTheFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	a := New(Config{}, nil)
	h := &half{pending: &pending{conn: new(connection)}}
	came := map[int64]int64{} // offset: time
	for range 20_000 {
		a.now++
		start := int64(1 + r.IntN(2000))
		in := arrival{payload: make([]byte, 1+r.IntN(20)), missing: r.IntN(2) * r.IntN(20)}
		for off := range int64(len(in.payload) + in.missing) {
			if came[start+off] == 0 {
				came[start+off] = a.now
			}
		}
		a.enqueue(h, start, &in)
		first := a.now
		for i := len(h.pieces) - 1; i >= 0; i-- {
			p := &h.pieces[i]
			first = min(first, came[p.off])
			if p.since != first {
				t.Fatalf("piece %d of %d is told to be of time %d, want %d", i, len(h.pieces), p.since, first)
			}
		}
		if len(h.pieces) > 100 {
			n := 1 + r.IntN(len(h.pieces))
			for _, p := range h.pieces[:n] {
				for off := p.off; off < p.end(); off++ {
					delete(came, off)
				}
			}
			a.dequeue(h, n)
		}
	}
}

// BenchmarkHoles has a hole before each segment, so that as many wait as may.
func BenchmarkHoles(b *testing.B) {
	l := newLoad(1)
	s := &l.segs[0]
	s.Payload = s.Payload[:1]
	for b.Loop() {
		s.Seq++
		l.next(0)
	}
}

// BenchmarkSegmentOverHoles has as many single bytes wait as may, then all that is
// between them in one segment.
func BenchmarkSegmentOverHoles(b *testing.B) {
	l := newLoad(1)
	s := &l.segs[0]
	all := make([]byte, 2*maxPieces)
	for b.Loop() {
		start := s.Seq
		s.Payload = all[:1]
		for i := range maxPieces - 1 {
			s.Seq = start + uint32(2*i+1)
			l.now += 100
			l.a.Segment(s, l.now)
		}
		s.Seq, s.Payload = start, all
		l.next(0)
	}
}
