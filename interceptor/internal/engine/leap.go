package engine

import (
	"slices"

	"capstan/pkg/capture"
	"capstan/pkg/reassembly"
)

// Bounds on the frames that wait. A time is wrong if one of the frames that follow
// says so: up to maxLeaping-1 wrong ones in a row move no clock.
const (
	maxLeaping      = 8
	maxLeapingBytes = 1 << 20 // and one frame
)

// leaping are frames that wait, in order, until those behind them tell whether the
// time of the first, far ahead of all others, is wrong or the source was silent
// meanwhile. The others wait for nothing but their turn.
type leaping struct {
	frames []capture.Frame
	bytes  int
}

// push appends f. Its data is copied each time, since shards may still have those of
// the one before.
func (l *leaping) push(f *capture.Frame) {
	l.frames = append(l.frames, *f)
	l.frames[len(l.frames)-1].Data = slices.Clone(f.Data)
	l.bytes += len(f.Data)
}

func (l *leaping) pop() capture.Frame {
	f := l.frames[0]
	l.frames = slices.Delete(l.frames, 0, 1)
	l.bytes -= len(f.Data)
	return f
}

func (l *leaping) full() bool { return len(l.frames) >= maxLeaping || l.bytes > maxLeapingBytes }

// far takes a frame whose time is far from that of others, or that comes behind one
// that leaps.
func (e *Engine) far(f *capture.Frame) {
	switch {
	case len(e.leaping.frames) == 0 && !e.clock.Leaps(f.Timestamp):
		e.frame(f, e.clock.Tick(f.Timestamp))
	case e.cfg.Live || e.clock.Young():
		e.frame(f, e.clock.Reject(f.Timestamp))
	default:
		e.leaping.push(f)
		e.settleLeaps(false)
	}
}

// settleLeaps takes the frames that wait as far as their times are known to be right
// or wrong. If no further frame is to be waited for, so is each.
func (e *Engine) settleLeaps(all bool) {
	for l := &e.leaping; len(l.frames) > 0; {
		t := l.frames[0].Timestamp
		heard := e.hear(t)
		var at reassembly.Instant
		switch {
		case !e.clock.Leaps(t):
			at = e.clock.Tick(t)
		case heard[reassembly.Refutes]:
			at = e.clock.Reject(t)
		case !all && !l.full():
			return
		case heard[reassembly.Doubts] && !heard[reassembly.Confirms]:
			at = e.clock.Reject(t)
		default:
			e.happen(event{at: e.clock.Tick(e.least())})
			continue // which shows whether the time is right
		}
		f := l.pop()
		e.frame(&f, at)
	}
}

// hear returns what the frames tell that wait behind one that leaps.
func (e *Engine) hear(leap int64) (heard [reassembly.NumTestimonies]bool) {
	for i := range e.leaping.frames[1:] {
		heard[e.clock.Hear(leap, e.leaping.frames[1+i].Timestamp)] = true
	}
	return heard
}

// least returns the earliest time of the frames that leap, to which a pause lasted at
// least.
func (e *Engine) least() int64 {
	least := e.leaping.frames[0].Timestamp
	for i := range e.leaping.frames {
		if t := e.leaping.frames[i].Timestamp; t < least && e.clock.Leaps(t) {
			least = t
		}
	}
	return least
}
