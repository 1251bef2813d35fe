package reassembly

import (
	"fmt"
	"strconv"
)

// Overlap tells which bytes stay of those that wait behind a hole and come again
// as others. Hosts differ: Windows keeps the first, Linux mostly the last (Novak and
// Sturges, Target-Based TCP Stream Reassembly, 2007). What was delivered stays
// delivered.
type Overlap uint8

// The policies.
const (
	OverlapFirst Overlap = iota
	OverlapLast
)

var overlapNames = [...]string{OverlapFirst: "first", OverlapLast: "last"}

// String returns first or last.
func (o Overlap) String() string {
	if int(o) < len(overlapNames) {
		return overlapNames[o]
	}
	return "Overlap(" + strconv.Itoa(int(o)) + ")"
}

// MarshalText implements encoding.TextMarshaler.
func (o Overlap) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: the inverse of String.
func (o *Overlap) UnmarshalText(text []byte) error {
	for i, name := range overlapNames {
		if string(text) == name {
			*o = Overlap(i)
			return nil
		}
	}
	return fmt.Errorf("overlap policy %q: want first or last", text)
}
