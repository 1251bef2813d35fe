package reassembly

import "testing"

const second = 1e9

// at ticks for a packet at each time, in seconds, and returns the clock.
func at(times ...int64) *Clock {
	c := new(Clock)
	for _, t := range times {
		c.Tick(t * second)
	}
	return c
}

func TestClockLeaps(t *testing.T) {
	var fresh Clock
	if fresh.Leaps(1 << 61) {
		t.Error("the first packet leaps")
	}
	c := at(100)
	for _, tt := range []struct {
		time int64
		want bool
	}{{0, false}, {100, false}, {105, false}, {106, true}, {4e9, true}} {
		if got := c.Leaps(tt.time * second); got != tt.want {
			t.Errorf("from 100 s to %d s: leaps is %v", tt.time, got)
		}
	}
	for _, tt := range []struct {
		leap, next int64
		want       bool
	}{
		{500, 100, true},
		{500, 95, true},
		{500, 94, false}, // an old frame, which tells nothing
		{500, 494, true}, // another leap, but not there
		{500, 495, false},
		{500, 500, false},
		{500, 4e9, false},
		{106, 101, false},
		{500, 10, false},
	} {
		if got := c.Refutes(tt.leap*second, tt.next*second); got != tt.want {
			t.Errorf("from 100 s to %d s, then %d s: refuted is %v", tt.leap, tt.next, got)
		}
	}
}

// While packets come late, the next late one is as good a witness.
func TestClockLeapsAmongLatePackets(t *testing.T) {
	c := at(100, 20)
	for next, want := range map[int64]bool{14: false, 15: true, 21: true, 100: true, 499: false} {
		if got := c.Refutes(500*second, next*second); got != want {
			t.Errorf("from 20 s to 500 s, then %d s: refuted is %v", next, got)
		}
	}
}

func TestClockStands(t *testing.T) {
	c := at(100, 101)
	before, after := c.Stand(), c.Stand()
	if before.Now != second+1 || after.Now != before.Now || after.Number != before.Number+1 {
		t.Errorf("the clock stands at %+v, then %+v", before, after)
	}
}

// A clock that was set back goes on from where it stood, with the packets and in
// their absence.
func TestClockWaits(t *testing.T) {
	c := at(100, 110)
	for _, tt := range []struct{ wait, want int64 }{{1, 11}, {2, 12}, {1, 12}, {5, 15}} {
		if got := c.Wait(tt.wait * second).Now; got != tt.want*second+1 {
			t.Errorf("after %d s without a packet it is %d", tt.wait, got)
		}
	}
	if got := c.Tick(112 * second).Now; got != 15*second+1 { // the host's clock is ahead
		t.Errorf("a packet sets the clock to %d", got)
	}
	if got := c.Wait(4 * second).Now; got != 16*second+1 {
		t.Errorf("4 s after a packet at 12 s it is %d", got)
	}
	for range maxLate {
		c.Tick(40 * second)
	}
	if got := c.Wait(1 * second).Now; got != 17*second+1 {
		t.Errorf("1 s after the clock was set back it is %d", got)
	}
}
