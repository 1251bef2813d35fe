package traffic

import "encoding/binary"

// random is a small deterministic generator (splitmix64).
type random uint64

func (r *random) next() uint64 {
	v := mix(uint64(*r))
	*r += 0x9e3779b97f4a7c15
	return v
}

// below returns a number in [0, n).
func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

// bodyType is the media type of bodies: each is a JSON text.
const bodyType = "application/json"

// appendBody appends a JSON text of n bytes: a string, or a digit where that is
// too long.
func (r *random) appendBody(b []byte, n int) []byte {
	switch n {
	case 0:
		return b
	case 1:
		return append(b, '0'+byte(r.below(10)))
	}
	return append(r.appendText(append(b, '"'), n-2), '"')
}

// appendText appends n lower-case letters and spaces.
func (r *random) appendText(b []byte, n int) []byte {
	var word [8]byte
	for n > 0 {
		binary.LittleEndian.PutUint64(word[:], r.next())
		for i, c := range word[:min(n, len(word))] {
			word[i] = "abcdefghijklmnopqrstuvwxyz  eao "[c&31]
		}
		b = append(b, word[:min(n, len(word))]...)
		n -= len(word)
	}
	return b
}
