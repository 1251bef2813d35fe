package exchange

import (
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Flaws is a set of [capstanv1.Flaw], bit n for value n.
type Flaws uint16

// Add puts f into the set.
func (s *Flaws) Add(f capstanv1.Flaw) { *s |= 1 << f }

// Has reports whether f is in the set.
func (s Flaws) Has(f capstanv1.Flaw) bool { return s&(1<<f) != 0 }

// Append appends the flaws of the set to dst in ascending order.
func (s Flaws) Append(dst []capstanv1.Flaw) []capstanv1.Flaw {
	for f := range capstanv1.Flaw(16) {
		if s.Has(f) {
			dst = append(dst, f)
		}
	}
	return dst
}

// CloseFlaw returns what a message lacks that the close of its connection cut
// off.
func CloseFlaw(r reassembly.CloseReason) capstanv1.Flaw {
	switch r {
	case reassembly.CloseTimeout:
		return capstanv1.Flaw_FLAW_TIMEOUT
	case reassembly.CloseEvicted:
		return capstanv1.Flaw_FLAW_EVICTED
	case reassembly.CloseEndOfCapture, reassembly.CloseSourceLost:
		return capstanv1.Flaw_FLAW_CAPTURE_ENDED
	default:
		return capstanv1.Flaw_FLAW_CLOSED_EARLY
	}
}

// CloseOf returns how records tell the close of a connection.
func CloseOf(r reassembly.CloseReason) capstanv1.Close {
	switch r {
	case reassembly.CloseFIN:
		return capstanv1.Close_CLOSE_FIN
	case reassembly.CloseRST:
		return capstanv1.Close_CLOSE_RESET
	case reassembly.CloseReplaced:
		return capstanv1.Close_CLOSE_REPLACED
	case reassembly.CloseTimeout:
		return capstanv1.Close_CLOSE_TIMEOUT
	case reassembly.CloseEvicted:
		return capstanv1.Close_CLOSE_EVICTED
	case reassembly.CloseEndOfCapture:
		return capstanv1.Close_CLOSE_CAPTURE_ENDED
	case reassembly.CloseSourceLost:
		return capstanv1.Close_CLOSE_SOURCE_LOST
	}
	return capstanv1.Close_CLOSE_UNSPECIFIED
}
