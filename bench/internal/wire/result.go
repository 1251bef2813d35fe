package wire

import (
	"time"

	"capstan/bench/internal/traffic"
)

// Result says what was really sent.
type Result struct {
	Frames  uint64        `json:"frames"` // that the kernel took
	Bytes   uint64        `json:"bytes"`  // of those frames
	Elapsed time.Duration `json:"elapsed_ns"`
	Rate    float64       `json:"rate"` // Frames per second of Elapsed
	// Retries counts frames that the kernel refused (ENOBUFS, EAGAIN) and that
	// were sent again. An interface may have counted them as dropped.
	Retries uint64 `json:"retries"`
	// Behind is the time by which the schedule had to be put off since the
	// sender could not keep up with the rate.
	Behind time.Duration `json:"behind_ns"`
	// Interface holds what the interface itself counted meanwhile, which
	// includes other senders.
	Interface InterfaceCounts `json:"interface"`
}

// InterfaceCounts are counters of an interface's sending side.
type InterfaceCounts struct {
	Sent    uint64 `json:"sent"`
	Dropped uint64 `json:"dropped"` // not carried to the other end, whether the sender was told or not
}

// Offered is the number of frames that arrived at the other end of the cable:
// those that the kernel took without those that the interface dropped behind
// its back. Drops of which the sender was told are among Retries.
func (r Result) Offered() uint64 {
	silent := r.Interface.Dropped - min(r.Interface.Dropped, r.Retries)
	return r.Frames - min(silent, r.Frames)
}

// Report is what "bench generate --json" prints.
type Report struct {
	Plan      traffic.Plan   `json:"plan"`
	Interface string         `json:"interface,omitempty"`
	File      string         `json:"file,omitempty"`
	Generated traffic.Counts `json:"generated"`
	Result    *Result        `json:"result,omitempty"` // of an interface only
}

// BitRate is bits per second of the frames as they are, without what a cable
// adds to them.
func (r Result) BitRate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Bytes) * 8 / r.Elapsed.Seconds()
}
