package watch

import "time"

// allowance is how many records are taken while nobody watches. A record costs
// more to encode than to find, so that at high rates most would be encoded to be
// overwritten unseen.
type allowance struct {
	rate, most int // per second; at once
	left       int
	filled     time.Time // when left was right
	allUntil   time.Time // nothing is left out before
}

func newAllowance(c Config) allowance {
	return allowance{rate: c.IdleRate, most: c.MaxRecords, left: c.MaxRecords}
}

// refillEvery is when a spent allowance is filled again: what is taken is runs
// of records that follow one another, not one here and one there.
const refillEvery = 100 * time.Millisecond

// take reports whether there is a record left to take, and takes it.
func (a *allowance) take(now time.Time) bool {
	if now.Before(a.allUntil) {
		return true
	}
	if a.rate <= 0 {
		return false
	}
	if passed := now.Sub(a.filled); passed >= refillEvery {
		if n := int64(passed.Seconds() * float64(a.rate)); n >= int64(a.most-a.left) {
			a.left, a.filled = a.most, now
		} else {
			a.left += int(n)
			a.filled = a.filled.Add(time.Duration(n) * time.Second / time.Duration(a.rate))
		}
	}
	if a.left == 0 {
		return false
	}
	a.left--
	return true
}
