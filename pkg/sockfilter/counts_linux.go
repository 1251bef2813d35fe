package sockfilter

import (
	"fmt"
	"os"
)

// Counts are the frames that a filter met since it was loaded. What the
// client's program refused is not among them, for it may end in the middle of
// a load and can't be followed by counting. But the sums balance: with the
// frames that the socket matched (tp_packets of its statistics, drops
// included),
//
//	Seen = Excluded + refused + Sampled + matched
//
// exactly, as long as no frame is in the filter while the two are read: call
// [Filter.Stop] before.
type Counts struct {
	Seen     uint64 // frames that reached the filter
	Excluded uint64 // of those: left out by the Config's rules, or with no program set
	// Inactive is the part of Excluded that came before the first Set or
	// after Stop.
	Inactive uint64
	// OtherFlows is the part of Excluded that Config.Flows has left out.
	OtherFlows uint64
	// Sampled counts the frames that the program accepted and that the kernel's
	// sampling left out.
	Sampled uint64
	// Refusals counts programs, not frames: those that the kernel refused and
	// that were therefore left to the interpreter.
	Refusals uint64
	// Partial says that the frames are not counted, see [ClassicFilter].
	Partial bool
}

// counters is one processor's value in the counters' map.
type counters struct {
	Seen, Ruled, Inactive, OtherFlows uint64
}

// Offsets in counters.
const (
	counterSeen       = 0
	counterRuled      = 8
	counterInactive   = 16
	counterOtherFlows = 24
	countersLen       = 32
)

// Counts returns the counters summed over all processors.
func (f *Filter) Counts() (Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return Counts{}, fmt.Errorf("sockfilter: counts: %w", os.ErrClosed)
	}
	var values []counters
	if err := f.counters.Lookup(uint32(0), &values); err != nil {
		return Counts{}, kernelError("counts", err)
	}
	c := Counts{Refusals: f.refusals}
	if err := f.sampled.Lookup(uint32(0), &c.Sampled); err != nil {
		return Counts{}, kernelError("counts", err)
	}
	for _, v := range values {
		c.Seen += v.Seen
		c.Excluded += v.Ruled + v.Inactive
		c.Inactive += v.Inactive
		c.OtherFlows += v.OtherFlows
	}
	return c, nil
}
