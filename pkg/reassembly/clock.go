package reassembly

// Clock turns the times of a source's packets into a time that never runs
// backwards, for timeouts only; handlers are told the packets' own times. The
// zero value is ready. An assembler has one of its own; assemblers that share
// the connections of a source share one, outside of them, so that all of them
// act at the same instants.
//
// One wrong time far ahead, of a damaged record, would end every connection. So
// whoever can keep a packet back asks Leaps before Tick. If the packet leaps, the
// one after it decides: unless that refutes the leap, no packet came meanwhile,
// and all is as if nobody had asked.
type Clock struct {
	now     int64
	heard   int64 // the latest time of a packet, plus skew
	last    int64 // that of the last packet, which may be late
	skew    int64 // now = packet time + skew, unless the packet is late
	late    int   // packets in a row that were late by more than clockStep
	number  uint64
	next    int64 // when the next instant is due
	started bool
}

// Instant is a moment on a Clock.
type Instant struct {
	Now    int64  // nanoseconds, starting at 1, so that 0 can stand for "not set"
	Number uint64 // counts the clock's ticks, from 1
	// Due tells that it is time to call AdvanceTo.
	Due bool
}

const (
	// A packet that is more than clockStep ahead leaps. The source's clock is taken
	// to have been set back once maxLate packets in a row lie more than that in the
	// past. Less than that is the disorder of
	// several CPUs or interfaces, or old frames that a capture ring repeats; then
	// the time stands still until the packets have caught up.
	clockStep = 5e9
	maxLate   = 256

	// dueInterval is how late a hole or a timeout may be noticed on a
	// connection that has no segment. Nanoseconds.
	dueInterval = 1e6
)

// Tick notes the time of a packet and returns the instant.
func (c *Clock) Tick(t int64) Instant {
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
			t = c.now
		}
	}
	c.heard, c.last = max(c.heard, t), t
	return c.instant()
}

// Leaps reports whether a packet's time t is so far ahead that it is to be
// doubted. The first packet's never is.
func (c *Clock) Leaps(t int64) bool { return c.started && t+c.skew-c.now > clockStep }

// Refutes reports whether t, the time of the packet that follows one that leaps,
// shows that packet's time to be wrong: it goes on where the packet before did, or
// the clock stands.
func (c *Clock) Refutes(leap, t int64) bool {
	return t+c.skew >= min(c.now, c.last)-clockStep && t < leap-clockStep
}

// Stand returns an instant at the time that the clock shows, for a packet whose own
// time is wrong.
func (c *Clock) Stand() Instant { return c.instant() }

// Wait returns the instant when d has passed since the latest packet, in nanoseconds.
func (c *Clock) Wait(d int64) Instant {
	c.now = max(c.now, c.heard+d)
	return c.instant()
}

func (c *Clock) instant() Instant {
	c.number++
	at := Instant{Now: c.now, Number: c.number}
	if c.now >= c.next {
		at.Due = true
		c.next = c.now + dueInterval
	}
	return at
}
