package lograte

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestLinesAreWithheldAndTold(t *testing.T) {
	var out bytes.Buffer
	h := New(slog.NewTextHandler(&out, nil)).(*handler)
	now := time.Unix(0, 0)
	h.shared.now = func() time.Time { return now }
	log := slog.New(h).With("sink", "a")
	for range 50 {
		log.Warn("sink fails")
		log.Debug("not enabled")
	}
	slog.New(h.WithGroup("g")).Warn("another message", "k", 1)
	if n := strings.Count(out.String(), "sink fails"); n != burst {
		t.Errorf("%d lines of 50", n)
	}
	if !strings.Contains(out.String(), "another message") {
		t.Error("a message pays for another")
	}
	out.Reset()
	now = now.Add(interval)
	log.Warn("sink fails")
	if !strings.Contains(out.String(), "withheld=30") {
		t.Errorf("not told: %s", out.String())
	}
	for i := range maxKinds * 2 {
		log.Info(strings.Repeat("x", i))
	}
	if len(h.shared.kinds) > maxKinds {
		t.Errorf("%d messages kept", len(h.shared.kinds))
	}
}
