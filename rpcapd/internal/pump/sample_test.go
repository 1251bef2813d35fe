package pump

import (
	"testing"
	"time"

	"capstan/pkg/capture"
)

func TestSampler(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, tc := range []struct {
		name  string
		rule  capture.Sampling
		times []int64 // in milliseconds
		keep  string  // x is kept
	}{
		{"none", capture.Sampling{}, []int64{0, 0, 0}, "xxx"},
		{"one in three", capture.Sampling{OneIn: 3}, []int64{0, 0, 0, 0, 0, 0, 0}, "x--x--x"},
		{"interval", capture.Sampling{Interval: 50 * time.Millisecond}, []int64{0, 49, 50, 60, 99, 100, 300}, "x-x--xx"},
		{"the first frame, whatever its time", capture.Sampling{Interval: time.Hour}, []int64{5, 6}, "x-"},
		{"frames a little out of order", capture.Sampling{Interval: 50 * time.Millisecond}, []int64{100, 99, 150}, "x-x"},
		{"clock set back", capture.Sampling{Interval: 50 * time.Millisecond}, []int64{100_000, 100, 110, 150}, "xx-x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s sampler
			got := ""
			for _, at := range tc.times {
				if s.keep(tc.rule, at*ms) {
					got += "x"
				} else {
					got += "-"
				}
			}
			if got != tc.keep {
				t.Errorf("kept %s, want %s", got, tc.keep)
			}
		})
	}
	t.Run("a new rule begins anew", func(t *testing.T) {
		var s sampler
		s.keep(capture.Sampling{OneIn: 5}, 0)
		if !s.keep(capture.Sampling{OneIn: 4}, 0) || s.keep(capture.Sampling{OneIn: 4}, 0) {
			t.Error("the old rule is in force")
		}
	})
}
