package engine

import (
	"slices"

	"capstan/pkg/capture"
)

// leap is a frame that waits for the next one, which tells whether its time, far
// ahead of all others, is wrong or the frames were silent meanwhile.
type leap struct {
	frame capture.Frame
	waits bool
}

// keep keeps f. Its data is copied each time, since shards may still have those of
// the one before.
func (l *leap) keep(f *capture.Frame) {
	l.frame, l.waits = *f, true
	l.frame.Data = slices.Clone(f.Data)
}

// settleLeap takes the frame that waits, if there is one. What is refuted takes its
// place in the order and moves no clock; what nothing refutes, since no frame is
// left, is believed.
func (e *Engine) settleLeap(refuted bool) {
	if !e.leap.waits {
		return
	}
	e.leap.waits = false
	f := &e.leap.frame
	if refuted {
		e.frame(f, e.clock.Stand())
		return
	}
	e.front.last = max(e.front.last, f.Timestamp)
	e.frame(f, e.clock.Tick(f.Timestamp))
}
