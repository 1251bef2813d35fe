//go:build linux

// Package trial makes one measured run: a server, traffic into its interface, a
// sink that takes what it delivers; everything in namespaces and processes of
// its own, and gone afterwards.
package trial

import (
	"time"

	"capstan/bench/internal/server"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/traffic"
)

// Load is the traffic of a trial.
type Load struct {
	Kind     traffic.Kind  `json:"kind,omitempty"` // UDP or TCP, which are marked
	Size     traffic.Size  `json:"size"`
	Rate     float64       `json:"rate"` // frames per second; 0 is flat out
	Burst    int           `json:"burst,omitempty"`
	Flows    int           `json:"flows,omitempty"`
	VLAN     []uint16      `json:"vlan,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	Count    uint64        `json:"count,omitempty"` // frames at which it ends before Duration; 0: none
}

// Plan returns what the generator makes of the load.
func (l *Load) Plan() traffic.Plan {
	return traffic.Plan{Kind: l.Kind, Size: l.Size, Flows: max(l.Flows, 1), VLAN: l.VLAN, Count: l.Count}
}

// Result is what came out. The frames balance:
//
//	Offered = Arrived + lost by Cable
//	Arrived = Delivered + Corrupt + Loss.Total
//	Loss.Total = Loss.Ring + Loss.Transport + Loss.Unaccounted
type Result struct {
	// Round tells the runs apart that were made one after the other, so that
	// figures of the same minute can be compared. Who makes rounds sets it.
	Round int `json:"round"`

	Offered     uint64  `json:"offered"`      // frames that the generator sent, by its own count
	OfferedRate float64 `json:"offered_rate"` // per second, as it really was
	Arrived     uint64  `json:"arrived"`      // frames that the interface received, by the kernel's count
	Delivered   uint64  `json:"delivered"`    // that reached the sink whole, each counted once
	Corrupt     uint64  `json:"corrupt"`      // that reached the sink damaged
	Duplicates  uint64  `json:"duplicates"`
	Late        uint64  `json:"late"` // of Delivered: out of order
	Loss        Loss    `json:"loss"`

	CPU     time.Duration      `json:"cpu_ns"`            // of all processes of the server, from before the first frame to after the last
	SinkCPU time.Duration      `json:"sink_cpu_ns"`       // of the sink
	Latency *sink.Latency      `json:"latency,omitempty"` // nil where there is no sink
	Memory  server.Memory      `json:"memory"`
	Stolen  float64            `json:"stolen"` // share of the host's processor time that its hypervisor took
	Others  float64            `json:"others"` // share that other processes took, bench's own watching included
	Settled bool               `json:"settled"`
	Claims  *sink.ServerCounts `json:"server_claims,omitempty"`
	// Syscalls is the number of system calls of the server's processes; nil
	// if they were not counted.
	Syscalls *uint64 `json:"syscalls,omitempty"`
	// Error is what went wrong without making the result useless.
	Error string `json:"error,omitempty"`
}

// Loss says where frames were lost, as far as anybody admits it.
type Loss struct {
	Total     int64 `json:"total"`     // frames that arrived and were not delivered
	Cable     int64 `json:"cable"`     // frames that never arrived; not in Total, since no server could have had them
	Ring      int64 `json:"ring"`      // dropped by the kernel since the ring was full, as the server says
	Transport int64 `json:"transport"` // numbered by the server and never delivered
	// Unaccounted is the rest. Below zero the server claims more loss than
	// there was.
	Unaccounted int64 `json:"unaccounted"`
}

// CPUPerFrame returns the server's processor time in nanoseconds for each frame
// delivered; 0 if there was none.
func (r *Result) CPUPerFrame() float64 {
	if r.Delivered == 0 {
		return 0
	}
	return float64(r.CPU) / float64(r.Delivered)
}

// SyscallsPerFrame is the same for system calls.
func (r *Result) SyscallsPerFrame() float64 {
	if r.Delivered == 0 || r.Syscalls == nil {
		return 0
	}
	return float64(*r.Syscalls) / float64(r.Delivered)
}

// LostShare returns the share of the frames that arrived that was not delivered
// whole, from 0 to 1.
func (r *Result) LostShare() float64 {
	if r.Arrived == 0 {
		return 0
	}
	return 1 - float64(r.Delivered)/float64(r.Arrived)
}

// balance fills in the losses. ring is what the server says, transport what is
// missing by its numbers.
func (r *Result) balance(ring, transport uint64) {
	r.Loss = Loss{
		Total: int64(r.Arrived) - int64(r.Delivered) - int64(r.Corrupt),
		Cable: int64(r.Offered) - int64(r.Arrived),
		Ring:  int64(ring), Transport: int64(transport),
	}
	r.Loss.Unaccounted = r.Loss.Total - r.Loss.Ring - r.Loss.Transport
}
