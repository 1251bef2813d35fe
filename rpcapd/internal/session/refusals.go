package session

import (
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Refused logins have so many lines, in the log and in the record, of all
// sessions together. The others are counted: who isn't let in must not fill the
// disk.
const (
	refusalLinesPerSecond = 20
	refusalLinesBurst     = 200
)

// refusalLines says which refused logins have a line. The zero value is ready.
type refusalLines struct {
	once    sync.Once
	pace    *rate.Limiter
	omitted atomic.Uint64 // since the last line
}

// next reports whether a refused login has a line, and how many before it had
// none.
func (r *refusalLines) next() (omitted uint64, ok bool) {
	r.once.Do(func() { r.pace = rate.NewLimiter(refusalLinesPerSecond, refusalLinesBurst) })
	if !r.pace.Allow() {
		r.omitted.Add(1)
		return 0, false
	}
	return r.omitted.Swap(0), true
}
