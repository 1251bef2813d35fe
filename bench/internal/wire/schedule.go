package wire

import (
	"fmt"
	"time"
)

const maxRate = 1e9

// checkSchedule refuses rates, bursts and durations that make no sense.
func checkSchedule(rate float64, burst int, duration time.Duration) error {
	switch {
	case !(rate >= 0 && rate <= maxRate): // refuses NaN too
		return fmt.Errorf("wire: rate %v: want 0 to %.0e frames per second", rate, float64(maxRate))
	case burst < 0:
		return fmt.Errorf("wire: burst of %d frames", burst)
	case duration < 0:
		return fmt.Errorf("wire: duration %v", duration)
	}
	return nil
}
