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
	if fresh.Leaps(1<<61) || fresh.Leaps(0) {
		t.Error("the first packet leaps")
	}
	c := at(100, 100, 100)
	for _, tt := range []struct {
		time       int64
		near, want bool
	}{{0, false, false}, {94, false, false}, {95, true, false}, {100, true, false}, {105, true, false}, {106, false, true}, {4e9, false, true}} {
		stepping, ticking := *c, *c
		step, near := stepping.Step(tt.time * second)
		if got := c.Leaps(tt.time * second); near != tt.near || got != tt.want {
			t.Errorf("from 100 s to %d s: near is %v, leaps is %v", tt.time, near, got)
		}
		if tick := ticking.Tick(tt.time * second); near && (step != tick || stepping != ticking) || !near && stepping != *c {
			t.Errorf("from 100 s to %d s: step to %+v, %+v; tick to %+v, %+v", tt.time, step, stepping, tick, ticking)
		}
	}
	for _, tt := range []struct {
		leap, next int64
		want       Testimony
	}{
		{500, 100, Refutes},
		{500, 95, Refutes},
		{500, 94, Silent},
		{500, 105, Refutes},
		{500, 106, Confirms},
		{500, 494, Confirms},
		{500, 495, Confirms},
		{500, 500, Confirms},
		{500, 4e9, Confirms},
		{106, 101, Confirms},
		{500, 10, Silent},
	} {
		if got := c.Hear(tt.leap*second, tt.next*second); got != tt.want {
			t.Errorf("from 100 s to %d s, then %d s: that tells %d, not %d", tt.leap, tt.next, got, tt.want)
		}
	}
}

// While packets come late, the next late one is a witness, though not as good.
func TestClockLeapsAmongLatePackets(t *testing.T) {
	c := at(100, 20)
	for next, want := range map[int64]Testimony{14: Silent, 15: Doubts, 21: Doubts, 100: Refutes, 499: Confirms} {
		if got := c.Hear(500*second, next*second); got != want {
			t.Errorf("from 20 s to 500 s, then %d s: that tells %d, not %d", next, got, want)
		}
	}
}

// step is a packet's time, in seconds, and what the clock then shows, in seconds
// since the first packet.
type step struct{ time, want int64 }

// follow ticks for packets, but rejects those that leap.
func follow(t *testing.T, c *Clock, steps ...step) {
	t.Helper()
	for i, s := range steps {
		tick := c.Tick
		if c.Leaps(s.time * second) {
			tick = c.Reject
		}
		if got := tick(s.time * second).Now; got != s.want*second+1 {
			t.Fatalf("packet %d, at %d s: the clock is at %d, want %d s", i, s.time, got, s.want)
		}
	}
}

// Packets that go on from a time that was rejected need no witness: several clocks
// tell one time.
func TestClockOfSeveralClocks(t *testing.T) {
	c := at(100, 100, 100)
	follow(t, c, step{5000, 0}, step{101, 1}, step{5002, 2}, step{103, 3}, step{104, 4}, step{5006, 6}, step{105, 6}, step{5011, 11}, step{110, 11}, step{5012, 12})
	if got := c.Latest(); got != 5012*second {
		t.Errorf("the latest packet was at %d", got)
	}
	follow(t, c, step{9000, 12}, step{7000, 12}, step{8000, 12}, step{111, 12}, step{9002, 14}, step{7003, 15}, step{8004, 16}, step{5017, 17})
}

// A clock that was set back and then is as before shows no pause.
func TestClockSetBackAndForth(t *testing.T) {
	c := at(5000, 5000, 5000)
	for range maxLate {
		c.Tick(100 * second)
	}
	follow(t, c, step{101, 1}, step{5002, 2}, step{103, 3}, step{5004, 4})
}

// The first packets' times are no better than those of the next.
func TestClockOfWrongFirstTimes(t *testing.T) {
	for _, wrong := range [][]int64{{0}, {4e9}, {0, 0}, {0, 4e9}, {4e9, 0}, {100, 0}, {100, 4e9}} {
		c := new(Clock)
		for _, s := range wrong {
			follow(t, c, step{s, 0})
		}
		follow(t, c, step{100, 0}, step{102, 2}, step{106, 6})
		if got := c.Latest(); got != 106*second {
			t.Errorf("%d: the latest packet was at %d", wrong, got)
		}
	}
}

// No times make the clock overflow, nor run backwards.
func TestClockKeepsItsRange(t *testing.T) {
	var c Clock
	before := int64(0)
	for i := range int64(1000) {
		for j := range int64(maxLate + 1) {
			now := c.Tick((1<<62 - 1 - i*1000*second) * max(1-j, 0)).Now
			if now < before {
				t.Fatalf("%d after %d", now, before)
			}
			before = now
		}
	}
	if before < maxNow || before > 2*maxNow {
		t.Errorf("the clock ends at %d", before)
	}
}

func TestClockStands(t *testing.T) {
	c := at(100, 101)
	before, after := c.Stand(), c.Stand()
	if before.Now != second+1 || after.Now != before.Now || after.Number != before.Number+1 {
		t.Errorf("the clock stands at %+v, then %+v", before, after)
	}
	if !c.Young() || c.Tick(101*second).Number != 5 || c.Young() {
		t.Error("who counts packets counts something else, too")
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
	c.Reject(9000 * second)
	if got := c.Wait(3 * second).Now; got != 19*second+1 {
		t.Errorf("3 s after a packet with another clock's time, which came at 16 s, it is %d", got)
	}
	if got := c.Tick(9003 * second).Now; got != 19*second+1 {
		t.Errorf("the next one of that clock sets the clock to %d", got)
	}
	c.Tick(8000 * second)
	if got := c.Wait(2 * second).Now; got != 21*second+1 {
		t.Errorf("2 s after a late packet, which came at 19 s, it is %d", got)
	}
	for range maxLate {
		c.Tick(40 * second)
	}
	if got := c.Wait(1 * second).Now; got != 22*second+1 {
		t.Errorf("1 s after the clock was set back it is %d", got)
	}
}
