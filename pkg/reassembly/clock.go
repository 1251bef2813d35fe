package reassembly

// clock turns the times of the packets into a time that never runs backwards,
// for timeouts only; handlers are told the packets' own times. It starts at 1,
// so that 0 can stand for "not set".
type clock struct {
	now     int64
	skew    int64 // now = packet time + skew, unless the packet is late
	late    int   // packets in a row that were late by more than clockStep
	started bool
}

// The source's clock is taken to have been set back once maxLate packets in a
// row lie more than clockStep in the past. Less than that is the disorder of
// several CPUs or interfaces, or old frames that a capture ring repeats; then
// the time stands still until the packets have caught up.
const (
	clockStep = 5e9
	maxLate   = 256
)

// tick notes the time of a packet and returns the time now.
func (c *clock) tick(t int64) int64 {
	if !c.started {
		c.started = true
		c.skew = 1 - t
	}
	t += c.skew
	switch {
	case t > c.now:
		c.now = t
		c.late = 0
	case c.now-t <= clockStep:
		c.late = 0
	default:
		if c.late++; c.late >= maxLate {
			c.skew += c.now - t
			c.late = 0
		}
	}
	return c.now
}
