package terminal

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	capstanv1 "capstan/proto/capstan/v1"
)

// TestStatusText: everything that the answer has is told, harmlessly.
func TestStatusText(t *testing.T) {
	before := &capstanv1.GetStatusResponse{Sources: []*capstanv1.SourceStatus{{Name: "a"}}}
	now := &capstanv1.GetStatusResponse{
		Version: "v1", StartTime: timestamppb.New(time.Now().Add(-time.Hour)), Problems: []string{"sink k: \x1b[2J"},
		MemoryBytes: 3 << 20, MemoryLimitBytes: 512 << 20, WaitingBytes: 100, Exchanges: 12_345, Watchers: 2,
		Sources: []*capstanv1.SourceStatus{
			{Name: "a", Capturing: true, Frames: 20_000, Bytes: 1 << 30, LostFrames: 5, Connections: map[string]uint64{"HTTP/1": 3},
				Settings: &capstanv1.CaptureSettings{Device: "any", Filter: "tcp", OneInFlows: 8}},
			{Name: "b", Problem: "gone"},
		},
		Sinks: []*capstanv1.SinkStatus{
			{Name: "k", Kind: "kafka", Policy: "spool", Failing: true, Accepted: 9000, Delivered: 7000, Queued: 10, QueueLimit: 10_000, Spooled: 1990, SpoolBytes: 2048, SpoolLimitBytes: 1 << 30},
			{Name: "f", Kind: "file", Policy: "block", Accepted: 5, Delivered: 4, Queued: 1, QueueLimit: 10},
		},
	}
	var out strings.Builder
	writeStatus(&out, before, now, 2*time.Second)
	got := out.String()
	for _, want := range []string{
		"up 1h0m0s", `not ready: sink k: \x1b[2J`, "12,345 records (6172/s), 2 watchers", "memory: 3.0 MiB in use of 512.0 MiB; 100 B of payload wait",
		"20,000 frames (10000/s), 1.0 GiB; 5 lost", "device any, filter tcp, one in 8 connections", "not capturing: gone", "connections open: HTTP/1 3",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	for _, want := range []string{
		"k kafka spool fails 9,000 7,000 0 0 10 of 10,000 1,990, 2.0 KiB of 1.0 GiB 0",
		"f file block works 5 4 0 0 1 of 10 - 0",
	} {
		if !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
			t.Errorf("want the line %q in\n%s", want, got)
		}
	}
}
