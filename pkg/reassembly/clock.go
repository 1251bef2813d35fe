package reassembly

// Clock turns the times of a source's packets into a time that never runs
// backwards, for timeouts only; handlers are told the packets' own times. The
// zero value is ready. An assembler has one of its own; assemblers that share
// the connections of a source share one, outside of them, so that all of them
// act at the same instants.
//
// A time far ahead is that of a packet after a pause, which ends connections, or
// wrong: of a damaged record, of one without a time, of another host's clock.
// Tick believes it. So whoever can keep packets back asks Leaps before: if the
// packet leaps, those after it decide, as Hear tells. If it is believed, no packet
// came meanwhile, and all is as if nobody had asked; else Reject takes the packet at
// the time that it is, and its time for that of another clock: packets that go on
// from there are no news. The zero of either clock means nothing, only what has
// passed since on any of them.
type Clock struct {
	now    int64
	heard  int64 // when the latest packet came, by its time where that is near
	last   int64 // that of the last packet, which may be late
	skew   int64 // now = packet time + skew, unless the packet is late
	others others
	late   int    // packets in a row that were late by more than clockStep
	number uint64 // of instants
	waits  uint64 // those of them that are no packet's
	next   int64  // when the next instant is due
}

// Instant is a moment on a Clock.
type Instant struct {
	Now    int64  // nanoseconds, at least 1, so that 0 can stand for "not set"
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

	// Before so many packets came, which is a handshake, no time is known to be right.
	vouching = 3

	// A pause counts as at most maxPause, over a year, and none as one once the clock
	// has come to maxNow: so whatever the times are, their sums don't overflow.
	maxPause = 1 << 55
	maxNow   = 1 << 61

	// dueInterval is how late a hole or a timeout may be noticed on a
	// connection that has no segment. Nanoseconds.
	dueInterval = 1e6
)

// Tick notes the time of a packet and returns the instant.
func (c *Clock) Tick(t int64) Instant {
	at, ok := c.Step(t)
	if !ok {
		at = c.pass(c.far(t))
	}
	return at
}

// Step is Tick for a time that is about what the clock shows, as nearly all are, and so
// doesn't leap. ok is false for any other, which it doesn't note.
func (c *Clock) Step(t int64) (at Instant, ok bool) {
	now := t + c.skew
	if !near(now, c.now) {
		return Instant{}, false
	}
	c.late = 0
	return c.pass(now), true
}

// pass notes a packet that came at the time at on the clock.
func (c *Clock) pass(at int64) Instant {
	c.now, c.heard, c.last = max(c.now, at), max(c.heard, at), at
	return c.instant()
}

// near reports whether the time at is now, give or take clockStep.
func near(at, now int64) bool { return uint64(at-now+clockStep) <= 2*clockStep }

// far returns the time on the clock of a packet that is not near.
func (c *Clock) far(t int64) int64 {
	ahead := t + c.skew - c.now
	switch i := c.others.find(t, c.now); {
	case c.packets() == 0:
		c.skew = -t
	case i >= 0:
		c.others.skews[i], c.skew = c.skew, c.others.skews[i]
	case ahead > 0:
		pause := min(ahead, maxPause, max(maxNow-c.now, 0))
		c.skew += pause - ahead
	default:
		if c.late++; c.late < maxLate {
			c.heard = c.now
			return t + c.skew
		}
		c.others.add(c.skew)
		c.skew = c.now - t
	}
	c.late = 0
	return t + c.skew
}

// Leaps reports whether a packet's time t is so far ahead that it is to be
// doubted. That of the first packet never is; those of the next ones are, either
// way, since it may be the first's that is wrong.
func (c *Clock) Leaps(t int64) bool {
	switch {
	case near(t+c.skew, c.now), c.packets() == 0, c.others.find(t, c.now) >= 0:
		return false
	case c.Young():
		return true
	}
	return t+c.skew > c.now
}

// Young reports whether so few packets came that a leap tells nothing: it may be
// them whose times are wrong.
func (c *Clock) Young() bool { return c.packets() < vouching }

func (c *Clock) packets() uint64 { return c.number - c.waits }

// Testimony is what the time of a packet tells of that of another one before it,
// which leaps.
type Testimony uint8

// The testimonies.
const (
	Silent   Testimony = iota // nothing: it lies in the past
	Refutes                   // it is wrong: time goes on where it did before
	Confirms                  // there was a pause: the packet leaps, too
	Doubts                    // the packet is as late as the one before the leap was

	// NumTestimonies is the number of testimonies.
	NumTestimonies = int(Doubts) + 1
)

// Hear returns what t, the time of a packet, tells of leap, that of one before it.
func (c *Clock) Hear(leap, t int64) Testimony {
	switch at := t + c.skew; {
	case c.others.find(t, c.now) >= 0, near(at, c.now) && t < leap-clockStep:
		return Refutes
	case at > c.now:
		return Confirms
	case at >= c.last-clockStep:
		return Doubts
	}
	return Silent
}

// Reject returns an instant, at the time that it is, for a packet whose time t is
// not that of this clock. While the clock is young its time is as good as those
// before.
func (c *Clock) Reject(t int64) Instant {
	skew := c.now - t
	if c.Young() {
		skew, c.skew = c.skew, skew
	}
	c.others.add(skew)
	c.heard = c.now
	return c.instant()
}

// Stand returns an instant, at the time that it is, for what is no packet.
func (c *Clock) Stand() Instant {
	c.waits++
	return c.instant()
}

// Wait returns the instant when d has passed since the latest packet, in nanoseconds.
func (c *Clock) Wait(d int64) Instant {
	c.now = max(c.now, c.heard+d)
	return c.Stand()
}

// Latest returns the time of the latest packet, 0 before there was one, as the clock
// goes now: times of other clocks don't count.
func (c *Clock) Latest() int64 { return c.heard - c.skew }

func (c *Clock) instant() Instant {
	c.number++
	at := Instant{Now: c.now + 1, Number: c.number}
	if c.now >= c.next {
		at.Due = true
		c.next = c.now + dueInterval
	}
	return at
}

// others are the skews of further clocks by which a source may tell the time.
type others struct {
	skews [4]int64
	known uint8
	next  uint8 // to be replaced
}

// find returns the index of the skew that makes t about now, else -1.
func (o *others) find(t, now int64) int {
	for i, skew := range o.skews[:o.known] {
		if near(t+skew, now) {
			return i
		}
	}
	return -1
}

// add adds a skew. If there is no room it replaces the one that has been there for
// longest.
func (o *others) add(skew int64) {
	if int(o.known) < len(o.skews) {
		o.skews[o.known] = skew
		o.known++
		return
	}
	o.skews[o.next] = skew
	o.next = (o.next + 1) % uint8(len(o.skews))
}
