package sockfilter

import (
	"testing"
	"time"
)

func TestPaceBoundsLoadsOverTime(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	start := now
	loads := 0
	for now.Sub(start) < 10*time.Second {
		now = now.Add(p.take(now)) // the caller waits, then loads at once
		loads++
	}
	if most := paceBurst + int(10*time.Second/paceInterval) + 1; loads > most || loads < most-2 {
		t.Errorf("%d loads in 10 s, want about %d", loads, most)
	}
}

func TestPaceRegainsItsBurst(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	for round := range 3 {
		for i := range paceBurst {
			if wait := p.take(now); wait != 0 {
				t.Fatalf("round %d: load %d waits %v", round, i, wait)
			}
		}
		if wait := p.take(now); wait <= 0 || wait > paceInterval {
			t.Fatalf("round %d: load beyond the burst waits %v", round, wait)
		}
		now = now.Add((paceBurst + 1) * paceInterval)
	}
}
