package engine

import "sync/atomic"

// lender lends a source the buffers that it reads frames into, so that shards find
// them there: nothing is copied. A buffer is used again when the source has
// exchanged it and the rounds that have frames in it are over. Since rounds are
// few, so are buffers.
type lender struct {
	current *loan      // the source's; nil before the first
	idle    chan *loan // that nobody uses
}

// loan is a lent buffer.
type loan struct {
	b     []byte
	users atomic.Int32 // the source and rounds
}

// Sizes. A buffer is about what the batches of a round of two shards hold.
const (
	loanLen = 256 << 10
	// maxIdle bounds the buffers that are kept: about so many are in use at a time,
	// most by two rounds.
	maxIdle = 2 * maxRounds
)

// exchange lends a buffer of n bytes at least in place of the one before.
func (l *lender) exchange(n int) []byte {
	if l.current != nil {
		l.release(l.current)
	}
	select {
	case l.current = <-l.idle:
	default:
		l.current = new(loan)
	}
	if len(l.current.b) < n {
		l.current.b = make([]byte, max(n, loanLen))
	}
	l.current.users.Store(1)
	return l.current.b
}

// release ends one use of a buffer. Any goroutine may call it.
func (l *lender) release(b *loan) {
	if b.users.Add(-1) > 0 || len(b.b) > loanLen { // what held one huge frame is not kept
		return
	}
	select {
	case l.idle <- b:
	default:
	}
}

// hold keeps b until the round is over.
func (d *round) hold(b *loan) {
	if n := len(d.lent); n == 0 || d.lent[n-1] != b {
		b.users.Add(1)
		d.lent = append(d.lent, b)
		d.lentLen += len(b.b)
	}
}
