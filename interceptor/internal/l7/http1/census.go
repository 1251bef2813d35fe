package http1

import "math/bits"

// census is what is known of the bytes of a section as a whole.
type census struct {
	controls int    // control characters
	all      uint64 // bytes, at any place in a word, or'ed
}

// Constants for eight bytes at a time.
const (
	eachLow  = 0x0101010101010101
	eachHigh = 0x8080808080808080
)

// word returns the eight bytes of b from at on, the first in the lowest byte. It is one load
// where the compiler knows that they are there, as in a loop whose condition says
// at >= 0 && at < len(b)-7; a slice of b would cost more than that.
func word[T string | []byte](b T, at int) uint64 {
	return uint64(b[at]) | uint64(b[at+1])<<8 | uint64(b[at+2])<<16 | uint64(b[at+3])<<24 |
		uint64(b[at+4])<<32 | uint64(b[at+5])<<40 | uint64(b[at+6])<<48 | uint64(b[at+7])<<56
}

// controlsOf returns v with the highest bit of each byte that is a control
// character set, and no other.
func controlsOf(v uint64) uint64 {
	// A byte's highest bit is set in the sum if its rest is at least a space.
	return ^((v&^eachHigh + 0x60*eachLow) | v) & eachHigh
}

// ascii reports whether all bytes were ASCII.
func (c *census) ascii() bool { return c.all&eachHigh == 0 }

// usual reports whether the bytes are those of an ASCII line that CR and LF end.
func (c *census) usual() bool { return c.controls == len(lineEnd) && c.ascii() }

// line takes the bytes of b up to the first line feed, or all, and returns where
// that is, or -1.
func (c *census) line(b []byte) int {
	controls, all, at := c.controls, c.all, 0
	for ; at >= 0 && at < len(b)-7; at += 8 {
		v := word(b, at)
		m := controlsOf(v)
		if m == 0 {
			all |= v
			continue
		}
		i := firstByte(v, '\n')
		if i < 8 {
			unread := 56 - 8*i // bits
			c.controls, c.all = controls+marked(m<<unread), all|v<<unread
			return at + i
		}
		controls += marked(m)
		all |= v
	}
	for ; at < len(b); at++ {
		x := b[at]
		all |= uint64(x)
		if x < ' ' {
			if controls++; x == '\n' {
				c.controls, c.all = controls, all
				return at
			}
		}
	}
	c.controls, c.all = controls, all
	return -1
}

// marked returns how many bytes of m have their highest bit set. There is no other
// bit in m.
func marked(m uint64) int { return int(m >> 7 * eachLow >> 56) }

// firstByte returns which of the eight bytes of v, the lowest first, is the first
// that equals x, 8 if there is none.
func firstByte(v uint64, x byte) int { return first(equal(v, x)) }

// equal returns marks of which the lowest is that of the first byte of v that equals
// x; 0 if there is none.
func equal(v uint64, x byte) uint64 { return below(v^uint64(x)*eachLow, 1) }

// below is equal for bytes less than x, which is ASCII.
func below(v uint64, x byte) uint64 { return (v - uint64(x)*eachLow) &^ v & eachHigh }

// first returns which byte has the lowest mark, 8 if there is none.
func first(marks uint64) int { return bits.TrailingZeros64(marks) / 8 }

// censusOf returns the census of s.
func censusOf(s string) (c census) {
	for i := range len(s) {
		if s[i] < ' ' {
			c.controls++
		}
		c.all |= uint64(s[i])
	}
	return c
}

// colonIn returns where the first colon of s is, or the length of s. Names are too
// short for a call of strings.IndexByte to be worth while.
func colonIn(s string) int {
	at := 0
	for ; at >= 0 && at < len(s)-7; at += 8 {
		if i := firstByte(word(s, at), ':'); i < 8 {
			return at + i
		}
	}
	for at < len(s) && s[at] != ':' {
		at++
	}
	return at
}
