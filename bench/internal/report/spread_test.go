//go:build linux

package report

import "testing"

func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   string
		median float64
	}{
		{nil, "–", 0},
		{[]float64{5}, "5", 5},
		{[]float64{3, 1, 2}, "2 (1–3)", 2},
		{[]float64{4, 1, 3, 2}, "2.5 (1–4)", 2.5},
		{[]float64{1000, 1000}, "1,000", 1000},
		{[]float64{0.012345, 0.02, 0.03}, "0.02 (0.0123–0.03)", 0.02},
		{[]float64{1234567.8}, "1,234,568", 1234567.8},
		{[]float64{-1234, -5.25}, "-620 (-1,234–-5.25)", -619.625},
		{[]float64{99.96}, "100", 99.96},
		{[]float64{0}, "0", 0},
	} {
		s := SpreadOf(tc.values)
		if s.String() != tc.want || s.Median != tc.median {
			t.Errorf("%v: %q, median %v, want %q", tc.values, s, s.Median, tc.want)
		}
	}
}

func TestCompare(t *testing.T) {
	of := func(values ...float64) Spread { return SpreadOf(values) }
	for _, tc := range []struct {
		a, b Spread
		want string
	}{
		{of(10, 11, 12), of(5, 5, 6), "2.2 × as much"},
		{of(5, 5, 6), of(10, 11, 12), "1/2.2 as much"},
		{of(10, 11, 12), of(12, 13, 14), "no difference beyond noise"},
		{of(10, 13, 13), of(14, 15, 15), "no difference beyond noise"}, // apart by 2, but spread over 3
		{of(10, 30, 12), of(11, 13, 14), "no difference beyond noise"},
		{of(10, 11), of(1, 2, 3), "not compared: too few runs"},
		{of(0, 0, 0), of(0, 0, 0), "both 0"},
		{of(0, 0, 0), of(2, 2, 3), "0 to 2"},
	} {
		if got := Compare(tc.a, tc.b); got != tc.want {
			t.Errorf("%v and %v: %q, want %q", tc.a, tc.b, got, tc.want)
		}
	}
}
