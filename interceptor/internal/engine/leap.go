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
		at := e.clock.Tick
		if e.clock.Leaps(t) {
			right, sure := e.judge(t)
			if !sure && !all && !l.full() {
				return
			}
			if !right {
				at = e.clock.Reject
			}
		}
		f := l.pop()
		e.frame(&f, at(t))
	}
}

// judge hears the frames that wait behind one that leaps. One that refutes it decides;
// else it is right as far as is known, unless it was among late ones and they go on,
// but nothing from there.
func (e *Engine) judge(leap int64) (right, sure bool) {
	var heard [reassembly.NumTestimonies]bool
	for i := range e.leaping.frames[1:] {
		heard[e.clock.Hear(leap, e.leaping.frames[1+i].Timestamp)] = true
	}
	return !heard[reassembly.Refutes] && (heard[reassembly.Confirms] || !heard[reassembly.Doubts]), heard[reassembly.Refutes]
}
