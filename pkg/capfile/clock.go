package capfile

import "math/bits"

// maxTimestamp bounds the times that a file may state: the year 2116. Whoever
// subtracts one time from another gets no overflow.
const maxTimestamp = 1<<62 - 1

const nanosPerSecond = 1_000_000_000

// clock turns an interface's time units into nanoseconds.
type clock struct {
	offset  int64  // nanoseconds
	shift   uint8  // units are 1/2^shift of mul/divisor nanoseconds
	mul     uint64 // at most 1e9
	divisor uint64
}

// newClock makes a clock from the options if_tsresol and if_tsoffset (seconds).
// Resolutions finer than 10^-28 or 2^-63 seconds are taken for that.
func newClock(resolution uint8, offset int64) clock {
	const maxOffset = maxTimestamp / nanosPerSecond
	c := clock{offset: max(-maxOffset, min(maxOffset, offset)) * nanosPerSecond, mul: 1, divisor: 1}
	if resolution&0x80 != 0 {
		c.shift, c.mul = min(resolution&0x7f, 63), nanosPerSecond
		return c
	}
	for exp := resolution; exp < 9; exp++ {
		c.mul *= 10
	}
	for exp := uint8(9); exp < min(resolution, 9+19); exp++ {
		c.divisor *= 10
	}
	return c
}

// nanos returns units as nanoseconds since the epoch, between 0 and
// maxTimestamp: a time beyond either stands for it.
func (c clock) nanos(units uint64) int64 {
	hi, lo := bits.Mul64(units, c.mul)
	lo = hi<<(64-c.shift) | lo>>c.shift // a shift by 64 gives 0
	hi >>= c.shift
	if hi >= c.divisor {
		return maxTimestamp
	}
	n := lo
	if c.divisor > 1 { // which is rare, and divisions are slow
		n, _ = bits.Div64(hi, lo, c.divisor)
	}
	n = min(n, 2*maxTimestamp) // so that the sum below fits
	if c.offset < 0 {
		n -= min(n, uint64(-c.offset))
	} else {
		n += uint64(c.offset)
	}
	return int64(min(n, maxTimestamp))
}
