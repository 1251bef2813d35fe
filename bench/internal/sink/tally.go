//go:build linux

package sink

import (
	"fmt"
	"slices"
	"time"

	"capstan/bench/internal/traffic"
	"capstan/pkg/capture"
)

// Verify says what a sink looks at.
type Verify uint8

// What to look at.
const (
	VerifyAll  Verify = iota // every byte of every frame
	VerifyNone               // frames are only counted
)

// tally counts frames by what is wrong with them.
type tally struct {
	verify Verify
	vlan   []uint16 // what the tags of test frames must be; none: not looked at

	frames, bytes uint64
	corrupt       uint64
	foreign       uint64
	truncated     uint64
	sequence      Sequence
	latency       Histogram
	first, last   int64 // times of arrival
}

// add takes a frame that arrived now, in nanoseconds of CLOCK_REALTIME.
func (t *tally) add(f *capture.Frame, now int64) {
	if t.frames == 0 {
		t.first = now
	}
	t.frames++
	t.bytes += uint64(len(f.Data))
	t.last = now
	if t.verify == VerifyNone {
		return
	}
	cut := f.Truncated()
	if cut {
		t.truncated++
	}
	m, ok := traffic.ParseMark(f.Data, f.LinkType)
	switch {
	case !ok && traffic.Ours(f.Data, f.LinkType), ok && !traffic.CheckPattern(f.Data, f.LinkType, m, cut):
		t.corrupt++
		return
	case !ok:
		t.foreign++
		return
	case len(t.vlan) > 0 && !t.tagged(f):
		t.corrupt++
		return
	}
	t.sequence.Add(m.Seq)
	if m.SentAt != 0 {
		t.latency.Add(time.Duration(now - m.SentAt))
	}
}

// tagged reports whether a test frame still has a tag that it was sent with.
func (t *tally) tagged(f *capture.Frame) bool {
	tci, ok := traffic.Tag(f.Data, f.LinkType)
	return ok && slices.Contains(t.vlan, tci)
}

// Result is what a sink has seen.
type Result struct {
	LinkType string `json:"link_type"`
	Verified bool   `json:"verified"` // else only Frames, Bytes, Holes, Elapsed, CPU and Server tell anything
	Frames   uint64 `json:"frames"`   // that arrived: Unique + Duplicates + Unclear + Corrupt + Foreign
	Bytes    uint64 `json:"bytes"`    // captured bytes of them

	Unique     uint64 `json:"unique"`     // test frames that arrived whole, each counted once
	Duplicates uint64 `json:"duplicates"` // test frames that arrived again
	Unclear    uint64 `json:"unclear"`    // late or again: too old to tell
	Corrupt    uint64 `json:"corrupt"`    // test frames with a byte that was not sent
	Foreign    uint64 `json:"foreign"`    // frames that are no test frames
	Late       uint64 `json:"late"`       // of Unique: after a later one
	Truncated  uint64 `json:"truncated"`  // of Frames: cut by a snap length

	// Holes are the frames missing by the server's own packet numbers: it says
	// that it sent them.
	Holes   uint64        `json:"holes"`
	Elapsed time.Duration `json:"elapsed_ns"` // from the first frame to the last
	Latency Latency       `json:"latency"`    // from the mark's time to the read that got the frame
	CPU     time.Duration `json:"cpu_ns"`     // of the sink itself

	// Server is the server's answer to STATS after the last frame; nil if it
	// gave none, and then StatsError says why.
	Server     *ServerCounts `json:"server,omitempty"`
	StatsError string        `json:"stats_error,omitempty"`
	// Error is why the capture ended, if not because the sink ended it.
	Error string `json:"error,omitempty"`
}

// Latency sums a [Histogram] up.
type Latency struct {
	Count uint64        `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

// ServerCounts are what a server says about a capture (struct rpcap_stats).
type ServerCounts struct {
	Received         uint32 `json:"received"`
	InterfaceDropped uint32 `json:"interface_dropped"`
	KernelDropped    uint32 `json:"kernel_dropped"`
	Sent             uint32 `json:"sent"`
}

func (t *tally) result() Result {
	return Result{
		Verified: t.verify == VerifyAll,
		Frames:   t.frames, Bytes: t.bytes,
		Unique: t.sequence.Unique, Duplicates: t.sequence.Duplicates, Unclear: t.sequence.Unclear, Late: t.sequence.Late,
		Corrupt: t.corrupt, Foreign: t.foreign, Truncated: t.truncated,
		Elapsed: time.Duration(t.last - t.first),
		Latency: Latency{
			Count: t.latency.Count(), P50: t.latency.Quantile(0.5), P99: t.latency.Quantile(0.99), Max: t.latency.Max(),
		},
	}
}

// Text describes the result in a few lines.
func (r *Result) Text() string {
	s := fmt.Sprintf("%d frames, %d bytes in %v\n", r.Frames, r.Bytes, r.Elapsed.Round(time.Millisecond))
	if r.Verified {
		s += fmt.Sprintf("test frames: %d whole (%d of them late), %d again, %d unclear, %d damaged; %d other frames; %d truncated\n",
			r.Unique, r.Late, r.Duplicates, r.Unclear, r.Corrupt, r.Foreign, r.Truncated)
	}
	s += fmt.Sprintf("%d missing by the server's numbers\n", r.Holes)
	if r.Latency.Count > 0 {
		s += fmt.Sprintf("latency: p50 %v, p99 %v, max %v\n", r.Latency.P50, r.Latency.P99, r.Latency.Max)
	}
	if c := r.Server; c != nil {
		s += fmt.Sprintf("the server says: %d received, %d dropped by the kernel, %d by the interface, %d sent\n",
			c.Received, c.KernelDropped, c.InterfaceDropped, c.Sent)
	} else {
		s += "the server says nothing: " + r.StatsError + "\n"
	}
	s += fmt.Sprintf("processor time of the sink: %v\n", r.CPU)
	if r.Error != "" {
		s += "the capture ended: " + r.Error + "\n"
	}
	return s
}
