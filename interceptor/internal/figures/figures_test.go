package figures

import (
	"math"
	"testing"
)

func TestFigures(t *testing.T) {
	for _, tt := range []struct {
		n           uint64
		count, size string
	}{
		{0, "0", "0 B"},
		{999, "999", "999 B"},
		{1000, "1,000", "1000 B"},
		{1023, "1,023", "1023 B"},
		{1536, "1,536", "1.5 KiB"},
		{1_234_567, "1,234,567", "1.2 MiB"},
		{1 << 30, "1,073,741,824", "1.0 GiB"},
		{math.MaxUint64, "18,446,744,073,709,551,615", "16.0 EiB"},
	} {
		if got := Count(tt.n); got != tt.count {
			t.Errorf("Count(%d) = %q, want %q", tt.n, got, tt.count)
		}
		if got := Size(tt.n); got != tt.size {
			t.Errorf("Size(%d) = %q, want %q", tt.n, got, tt.size)
		}
	}
}
