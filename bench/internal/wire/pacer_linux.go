package wire

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// step is the least time between two bursts that nobody asked for: what
	// waking up costs is small against it.
	step = 50 * time.Microsecond
	// maxLag is how far a sender may be late and still catch up by sending
	// back to back. Beyond it the schedule is put off, since a long burst is
	// not what the rate promised.
	maxLag = 10 * time.Millisecond
	// nap bounds how long a wait goes on after its context has ended.
	nap = 50 * time.Millisecond
)

// pacer keeps a schedule in which frame n has its time at start + n/rate, so
// that no error adds up. Frames go out in bursts at the time of the first.
type pacer struct {
	rate   float64 // 0 = no schedule
	burst  int
	begin  time.Time
	behind time.Duration // by which the schedule was put off

	frames uint64
	left   int // frames of the current burst
}

func newPacer(rate float64, burst int, now time.Time) pacer {
	if burst == 0 {
		burst = min(max(1, int(rate*step.Seconds())), maxBatch)
	}
	if rate == 0 {
		burst = maxBatch
	}
	return pacer{rate: rate, burst: burst, begin: now, left: burst}
}

// next is when the next frame has its time: now, if there is no schedule.
func (p *pacer) next() time.Time {
	if p.rate == 0 {
		return time.Now()
	}
	return p.begin.Add(p.behind + time.Duration(float64(p.frames)/p.rate*1e9))
}

// wait waits for the time of the next burst, if that is what comes next, and
// returns false if ctx ended first.
func (p *pacer) wait(ctx context.Context) bool {
	if p.rate == 0 || p.left < p.burst && p.left > 0 {
		return true
	}
	late, ok := sleepUntil(ctx, p.next())
	if late > maxLag {
		p.behind += late
	}
	return ok
}

// finish waits until the share of time of the last frame is over, so that
// frames per time elapsed is the rate.
func (p *pacer) finish(ctx context.Context) {
	if p.rate != 0 {
		sleepUntil(ctx, p.next())
	}
}

// sleepUntil returns by how much t is over, or false if ctx ended before.
func sleepUntil(ctx context.Context, t time.Time) (late time.Duration, ok bool) {
	for {
		rest := time.Until(t)
		if rest <= 0 {
			return -rest, true
		}
		if ctx.Err() != nil {
			return 0, false
		}
		sleep := unix.NsecToTimespec(int64(min(rest, nap)))
		_ = unix.Nanosleep(&sleep, nil) // cut short by signals, hence the loop
	}
}

// sent counts n frames of the current burst.
func (p *pacer) sent(n int) {
	p.frames += uint64(n)
	if p.left -= n; p.left == 0 {
		p.left = p.burst
	}
}

func (p *pacer) elapsed() time.Duration { return time.Since(p.begin) }

// sharpenTimers lets the calling thread wake up as exactly as the kernel can
// (PR_SET_TIMERSLACK); the returned function undoes that.
func sharpenTimers() (restore func()) {
	slack := func(nanoseconds uintptr) { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0) }
	slack(1)
	return func() { slack(0) } // 0 = the thread's default
}
