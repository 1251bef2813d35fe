package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capture"
	capstanv1 "capstan/proto/capstan/v1"
)

// Whatever a live source's clocks did before, time passes as it does for the source,
// which has rare frames by one clock or two, and is silent between them.
func TestLiveTimePasses(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 15))
		e := New(Config{Live: true, Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}}})
		now := int64(1_700_000_000e9)
		frame := func(ahead int64) {
			e.Frame(&capture.Frame{Timestamp: now + ahead, Data: []byte{1}, Len: 1})
		}
		jump := func() int64 { return (2*r.Int64N(2) - 1) * int64(time.Second) << r.IntN(20) }
		for range r.IntN(50) {
			switch r.IntN(8) {
			case 0: // the clock is set
				now += jump()
			case 1:
				d := time.Duration(r.IntN(1000)) * time.Second
				e.Idle(d)
				now += int64(d)
			case 2:
				frame(jump())
			default:
				now += int64(r.IntN(2000)) * 1e6
				frame(0)
			}
		}
		now += jump()
		other := r.Int64N(2) * jump()
		silence := time.Duration(1+r.IntN(100)) * time.Second
		var start int64
		const settled, frames = 300, 1000
		for i := range frames {
			if i == settled {
				start = e.clock.Stand().Now
			}
			e.Idle(silence)
			now += int64(silence)
			frame(r.Int64N(2) * other)
		}
		got, want := time.Duration(e.clock.Stand().Now-start), (frames-settled)*silence
		if off := (got - want).Abs(); off > max(20*time.Second, 2*silence) {
			t.Errorf("seed %d, frames every %s by clocks %s apart: %s passed of %s", seed, silence, time.Duration(other), got, want)
		}
	}
}
