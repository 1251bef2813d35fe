package pump

import (
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

// Source is where a pump takes its frames from: a ring, or a fake in tests.
type Source interface {
	// NextBlock gives back the block at hand, frames of it are invalid from
	// then on, and waits up to timeout (0: not at all) for the next one.
	//
	// The errors are those of afpacket's Ring.Next: os.ErrDeadlineExceeded,
	// os.ErrClosed, *afpacket.InterfaceGoneError.
	NextBlock(timeout time.Duration) error
	// Next fills in f with the next frame of the block at hand, and reports
	// whether there was one.
	Next(f *afpacket.Frame) bool
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
