//go:build linux

package sink

import (
	"math/bits"
	"time"
)

// subBuckets is how many buckets a Histogram has from one power of two to the
// next: a quantile is at most 1/64 too high.
const (
	subBucketBits = 6
	subBuckets    = 1 << subBucketBits
)

// Histogram counts durations in buckets that grow with them.
type Histogram struct {
	counts [(64 - subBucketBits) * subBuckets]uint64
	count  uint64
	max    time.Duration
}

// Add counts d; less than nothing is nothing.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.count++
	h.max = max(h.max, d)
}

// bucket returns the bucket of v: below subBuckets v itself, then subBuckets for
// each power of two.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-subBucketBits-1, 0)
	return shift<<subBucketBits + int(v>>shift)
}

// upper returns the highest value in a bucket.
func upper(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i>>subBucketBits - 1
	mantissa := uint64(i - shift<<subBucketBits)
	return (mantissa+1)<<shift - 1
}

// Count returns how many durations there are.
func (h *Histogram) Count() uint64 { return h.count }

// Max returns the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that the share q, from 0 to 1, of all doesn't
// exceed; 0 if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.count))
	if float64(rank) < q*float64(h.count) {
		rank++
	}
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return min(time.Duration(upper(i)), h.max)
		}
	}
	return h.max
}
