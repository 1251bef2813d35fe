//go:build linux

package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Spread is what repeated runs gave.
type Spread struct {
	Median, Min, Max float64
	Count            int // of runs; 0 means that there is nothing
}

// SpreadOf returns the spread of values.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	n := len(sorted)
	return Spread{
		Median: (sorted[(n-1)/2] + sorted[n/2]) / 2,
		Min:    sorted[0], Max: sorted[n-1], Count: n,
	}
}

// Differs reports whether the runs tell that the two are different: their ranges
// have no value in common, and the medians are farther apart than the runs of
// either are among themselves.
func (s Spread) Differs(o Spread) bool {
	apart := s.Max < o.Min || o.Max < s.Min
	return apart && math.Abs(s.Median-o.Median) > max(s.Max-s.Min, o.Max-o.Min)
}

// Noise returns the width of the range as a share of the median.
func (s Spread) Noise() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / math.Abs(s.Median)
}

// String returns "median (min–max)", with as many digits as make sense.
func (s Spread) String() string {
	switch {
	case s.Count == 0:
		return "–"
	case s.Count == 1 || number(s.Min) == number(s.Max):
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Min), number(s.Max))
}

// number prints x with three significant digits, or all before the point, and
// commas between thousands.
func number(x float64) string {
	decimals := 0
	if a := math.Abs(x); a > 0 && a < 99.95 {
		decimals = min(max(2-int(math.Floor(math.Log10(a))), 0), 4)
	}
	s := strconv.FormatFloat(x, 'f', decimals, 64)
	if decimals > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// minRuns is how many runs a comparison needs: of two ranges of one or two runs
// that don't overlap, chance alone makes too many.
const minRuns = 3

// Compare says in words how a stands to b, where less is better: by which factor
// the medians differ, or that the runs don't tell.
func Compare(a, b Spread) string {
	switch {
	case a.Count < minRuns || b.Count < minRuns:
		return "not compared: too few runs"
	case a.Min == 0 && a.Max == 0 && b.Min == 0 && b.Max == 0:
		return "both 0"
	case !a.Differs(b):
		return "no difference beyond noise"
	case b.Median == 0 || a.Median == 0:
		return number(a.Median) + " to " + number(b.Median)
	case a.Median > b.Median:
		return number(a.Median/b.Median) + " × as much"
	}
	return "1/" + number(b.Median/a.Median) + " as much"
}
