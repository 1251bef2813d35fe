package capture

import "time"

// Sampling thins out the frames that a filter has accepted. The zero value
// keeps all of them. At most one of the fields is set.
type Sampling struct {
	// OneIn keeps the first of every OneIn frames; 0 and 1 keep all.
	OneIn uint32
	// Interval keeps a frame only if at least Interval has passed since the
	// last one that was kept.
	Interval time.Duration
}

// Active reports whether anything is left out.
func (s Sampling) Active() bool { return s.OneIn > 1 || s.Interval > 0 }
