package http2

import (
	"math"
	"slices"
)

// candidate is a chain of frames that may be real, or several that go on in one: of
// these each witness is that of the best.
type candidate struct {
	next  int64 // where they go on
	start int64 // of the first frame of any

	boundary int64 // of the first frame that starts where a segment does, or -1
	frames   int   // from there on

	second  int64 // of the second frame
	reach   int64 // how far behind that the last one starts
	longest int64 // length of one of them

	evidence float64 // in bits
	strong   int64   // of the first frame that is evidence
	last     int64   // of the last one
}

// newCandidate returns one without frames that starts at place.
func newCandidate(place int64, boundary bool) candidate {
	c := candidate{next: place, start: place, boundary: -1, second: -1}
	if boundary {
		c.boundary = place
	}
	return c
}

// extend takes the frame of that length that starts where c goes on, and tells e.
func (c *candidate) extend(length uint32, e float64) {
	switch place := c.next; {
	case c.second >= 0:
		c.reach = place - c.second
	case place > c.start:
		c.second = place
	}
	if e > 0 {
		if c.evidence == 0 {
			c.strong = c.next
		}
		c.evidence += e
	}
	c.frames++
	c.longest = max(c.longest, int64(length))
	c.last = c.next
	c.next += frameHeaderLen + int64(length)
}

// join takes the frames of o, which go on where those of c do.
func (c *candidate) join(o *candidate) {
	c.start = min(c.start, o.start)
	if o.boundary >= 0 && (c.boundary < 0 || o.boundary < c.boundary) {
		c.boundary, c.frames = o.boundary, o.frames
	}
	if o.second >= 0 && (c.second < 0 || o.second < c.second) {
		c.second, c.reach, c.longest = o.second, o.reach, o.longest
	}
	if o.evidence > c.evidence {
		c.evidence, c.strong, c.last = o.evidence, o.strong, o.last
	}
}

// chase is what it takes to follow frames within what a segment brought.
type chase struct {
	from, to int         // the places where a header may start; in held
	chains   []candidate // but the first
	goOn     []uint16    // by place: which of chains goes on there, 0 for none; empty if none does
}

// keepChains bounds the chains that there is room kept for.
const keepChains = 1 << 10

// begin forgets the last segment.
func (x *chase) begin(from, to int) {
	if cap(x.chains) > keepChains {
		x.chains = nil
	}
	x.from, x.to = from, to
	x.chains, x.goOn = append(x.chains[:0], candidate{}), x.goOn[:0]
}

// full reports whether there may be no more chains.
func (x *chase) full() bool { return len(x.chains) > math.MaxUint16 }

// add adds c and returns which one it is.
func (x *chase) add(c candidate) uint16 {
	x.chains = append(x.chains, c)
	return uint16(len(x.chains) - 1)
}

// lead notes that chain k goes on at i.
func (x *chase) lead(k uint16, i int) {
	if len(x.goOn) == 0 {
		n := x.to - x.from
		x.goOn = slices.Grow(x.goOn, n)[:n]
		clear(x.goOn)
	}
	if there := &x.goOn[i-x.from]; *there == 0 {
		*there = k
	} else {
		x.chains[*there].join(&x.chains[k])
	}
}

// leads returns which chain goes on at i, 0 for none.
func (x *chase) leads(i int) uint16 {
	if len(x.goOn) == 0 {
		return 0
	}
	return x.goOn[i-x.from]
}

// next returns the first place from i on at which a chain goes on, or the end.
func (x *chase) next(i int) int {
	if len(x.goOn) > 0 {
		for ; i < x.to; i++ {
			if x.goOn[i-x.from] != 0 {
				return i
			}
		}
	}
	return x.to
}
