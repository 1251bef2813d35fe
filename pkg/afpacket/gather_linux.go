package afpacket

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// gatherLimit is how old the first frame of a full block gets, at most, while the
// block waits for others.
const gatherLimit = 50 * time.Millisecond

// gatherFrom is how long a block takes to fill, at least, that waits for others: if
// they come faster, there is hardly a pause, and room is what the ring needs.
const gatherFrom = 4 * time.Millisecond

// gathered reports whether the next block is ready and waits for no others. A block
// that was retired by its time has waited, and waits no more.
func (r *Ring) gathered() bool {
	for i := range r.gather {
		k := (r.index + i) % len(r.leased)
		status := atomic.LoadUint32(statusOf(r.blockAt(k)))
		switch {
		case status&unix.TP_STATUS_USER == 0:
			return i > 0 && !r.hold()
		case r.leased[k].Load():
			return i > 0 // the ring has come round
		case status&unix.TP_STATUS_BLK_TMO != 0:
			return true
		}
	}
	return true
}

// hold lets the next block, which is full, wait for others. It returns false if that
// gains nothing, or if another one would take too long to fill.
func (r *Ring) hold() bool {
	if r.held {
		return true
	}
	limit := min(r.timeout, r.gatherLimit)
	age := span(r.blockAt(r.index))
	if age < r.gatherFrom || age > limit/2 {
		return false
	}
	until := time.Now().Add(limit - age)
	if r.deadline.IsZero() || until.Before(r.deadline) {
		if r.file.SetReadDeadline(until) != nil || r.closed.Load() { // Close sets closed first and then a deadline of its own
			return false
		}
	}
	r.held = true
	return true
}

// span returns the time from the first to the last frame of a block, by the
// kernel's clock.
func span(block []byte) time.Duration {
	at := func(offset int) time.Duration { // struct tpacket_bd_ts
		return time.Duration(binary.NativeEndian.Uint32(block[offset:]))*time.Second +
			time.Duration(binary.NativeEndian.Uint32(block[offset+4:]))
	}
	return max(at(blockLastTimeOffset)-at(blockFirstTimeOffset), 0)
}
