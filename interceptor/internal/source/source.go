// Package source yields frames: from a capture server over RPCAP, or from
// capture files. One goroutine, the caller's, runs through a source and calls
// its Sink.
package source

import (
	"time"

	"capstan/pkg/capture"
)

// Sink takes what a source yields. All calls come from the goroutine that runs
// the source.
type Sink interface {
	// Frame is called for each frame; f and f.Data are valid during the call.
	Frame(f *capture.Frame)
	// Drained is called when no further frame is waiting, before the source
	// waits for one: the moment to hand on what is buffered.
	Drained()
	// Idle is called now and then while no frame comes; d is the time since
	// the last one, 0 where frames don't come as they are captured.
	Idle(d time.Duration)
	// Lost is called when the source was lost: frames pass unseen from here on
	// until Frame is called again.
	Lost()
}
