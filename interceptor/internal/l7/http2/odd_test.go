package http2

import (
	"math/rand/v2"
	"slices"
)

// oddEncoder is an encoder of HPACK (RFC 7541) that does at random what it may, and none
// that is known does: it inserts again what its table has, or sends what the table has as a
// literal, and makes the table smaller unasked.
type oddEncoder struct {
	r       *rand.Rand
	entries [][2]string // the newest first
	most    int         // bytes that they may have
	resized bool
}

func newOddEncoder(r *rand.Rand) *oddEncoder { return &oddEncoder{r: r, most: 4096} }

func (e *oddEncoder) resize(n int) {
	e.most, e.resized = n, true
	e.evict()
}

// evict lets go of the oldest entries (RFC 7541 §4.3).
func (e *oddEncoder) evict() {
	size := 0
	for i, f := range e.entries {
		if size += len(f[0]) + len(f[1]) + 32; size > e.most {
			e.entries = e.entries[:i]
			return
		}
	}
}

// encode returns a header block; names and values take turns.
func (e *oddEncoder) encode(fields []string) (b []byte) {
	if e.resized {
		b, e.resized = integer(b, 0x20, 5, e.most), false
	}
	for i := 0; i < len(fields); i += 2 {
		b = e.field(b, [2]string{fields[i], fields[i+1]})
	}
	return b
}

// firstDynamic is the index of the newest entry.
const firstDynamic = 62

func (e *oddEncoder) field(b []byte, f [2]string) []byte {
	if i := slices.Index(e.entries, f); i >= 0 && e.r.IntN(6) > 0 {
		return integer(b, 0x80, 7, firstDynamic+i)
	}
	kind, bits := byte(0x40), 6 // inserted
	if e.r.IntN(6) == 0 {
		kind, bits = 0x00, 4
	}
	if i := slices.IndexFunc(e.entries, func(o [2]string) bool { return o[0] == f[0] }); i >= 0 && e.r.IntN(3) > 0 {
		b = integer(b, kind, bits, firstDynamic+i)
	} else {
		b = literal(append(b, kind), f[0])
	}
	if kind == 0x40 {
		e.entries = slices.Insert(e.entries, 0, f)
		e.evict()
	}
	return literal(b, f[1])
}

// integer appends a number of which the first byte has so many bits (RFC 7541 §5.1).
func integer(b []byte, kind byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, kind|byte(n))
	}
	b = append(b, kind|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func literal(b []byte, s string) []byte { return append(integer(b, 0, 7, len(s)), s...) }
