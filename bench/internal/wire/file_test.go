package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"capstan/bench/internal/traffic"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// times writes a file and returns the times of its frames since the first,
// having checked that they are the marks' too.
func times(t *testing.T, p traffic.Plan, c FileConfig) (at []time.Duration) {
	t.Helper()
	g, err := traffic.New(p)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteFile(t.Context(), &out, g, c); err != nil {
		t.Fatal(err)
	}
	r, err := capfile.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var f capture.Frame
		if err := r.Next(&f); err == io.EOF {
			return at
		} else if err != nil {
			t.Fatal(err)
		}
		m, ok := traffic.ParseMark(f.Data, f.LinkType)
		if !ok || m.Seq != uint64(len(at)) || m.SentAt != f.Timestamp || !traffic.CheckPattern(f.Data, f.LinkType, m, f.Truncated()) {
			t.Fatalf("frame %d: %+v %v at %d", len(at), m, ok, f.Timestamp)
		}
		at = append(at, time.Duration(f.Timestamp-time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()))
	}
}

func TestTimesInAFileFollowTheRate(t *testing.T) {
	for name, c := range map[string]struct {
		plan traffic.Plan
		cfg  FileConfig
		want []time.Duration // in microseconds
	}{
		"default":       {traffic.Plan{Count: 3}, FileConfig{}, []time.Duration{0, 10, 20}},
		"rate":          {traffic.Plan{Count: 3}, FileConfig{Rate: 1000}, []time.Duration{0, 1000, 2000}},
		"duration":      {traffic.Plan{}, FileConfig{Rate: 1000, Duration: 4 * time.Millisecond}, []time.Duration{0, 1000, 2000, 3000}},
		"bursts":        {traffic.Plan{Count: 5}, FileConfig{Rate: 1000, Burst: 3}, []time.Duration{0, 1, 2, 3000, 3001}},
		"narrow bursts": {traffic.Plan{Count: 5}, FileConfig{Rate: 1e6, Burst: 2}, []time.Duration{0, 1, 2, 3, 4}},
	} {
		got := times(t, c.plan, c.cfg)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i]*time.Microsecond {
				t.Errorf("%s: %v, want %v µs", name, got, c.want)
				break
			}
		}
	}
}

func TestEndOfContextEndsAFile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g, err := traffic.New(traffic.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(ctx, io.Discard, g, FileConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := WriteFile(t.Context(), io.Discard, g, FileConfig{Rate: -1}); err == nil {
		t.Error("took a rate of -1")
	}
}
