package pump

import (
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

// Source is where a pump takes its frames from: a ring, or a fake in tests.
type Source interface {
	// Read waits up to timeout (0: not at all) and fills frames from the next
	// retired block. It returns how many there are, at least one if the error
	// is nil. They are valid until the next call; a block with more frames
	// than fit is continued by it.
	//
	// The errors are those of afpacket's Ring.Next: os.ErrDeadlineExceeded,
	// os.ErrClosed, *afpacket.InterfaceGoneError.
	Read(frames []afpacket.Frame, timeout time.Duration) (int, error)
	// Stats returns the kernel's counters since the source was opened. It may
	// be called from any goroutine.
	Stats() (afpacket.Stats, error)
	Close() error
}

// Filter is the kernel side of the client's filter, see package sockfilter.
type Filter interface {
	// SetSampled replaces the program; nil is everything. On frames that the
	// kernel doesn't judge, which come whole, the program must be run. Unless
	// sampled is true, what is accepted is still to be thinned out.
	SetSampled(p *sockfilter.Program, rule capture.Sampling) (judged sockfilter.Judged, sampled bool, err error)
	// Stop lets nothing pass any more.
	Stop() error
	Counts() (sockfilter.Counts, error)
	Close() error
}
