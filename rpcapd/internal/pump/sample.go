package pump

import "capstan/pkg/capture"

// sampler applies a Sampling to the frames that match, one after the other.
type sampler struct {
	rule  capture.Sampling
	count uint32 // frames since the last that was kept, if rule.OneIn is set
	last  int64  // timestamp of the last that was kept, if rule.Interval is set
	begun bool   // one was kept
}

// keep reports whether a frame with that timestamp, in nanoseconds, is
// delivered. A new rule begins with a frame that is kept.
func (s *sampler) keep(rule capture.Sampling, timestamp int64) bool {
	if rule != s.rule {
		*s = sampler{rule: rule}
	}
	switch {
	case rule.OneIn > 1:
		first := s.count == 0
		if s.count++; s.count == rule.OneIn {
			s.count = 0
		}
		return first
	case rule.Interval > 0:
		// A clock that was set back must not silence the capture.
		if elapsed := timestamp - s.last; s.begun && elapsed < int64(rule.Interval) && elapsed > -int64(rule.Interval) {
			return false
		}
		s.last, s.begun = timestamp, true
	}
	return true
}
