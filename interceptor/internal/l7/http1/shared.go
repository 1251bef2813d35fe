package http1

import (
	"capstan/interceptor/internal/arena"
)

// Shared is what the connections of one goroutine share: counters, and memory
// that no connection needs for long. The zero value is ready.
type Shared struct {
	Stats Stats

	text arena.Text   // of header sections
	free []*roundTrip // to be used again
}

const (
	// maxFree bounds the round trips that are kept for reuse.
	maxFree = 256
	// keepContentLen and keepFieldsLen bound what each keeps of a body and of
	// header fields.
	keepContentLen = 4 << 10
	keepFieldsLen  = 64
)

// roundTrip returns one that nothing is known of.
func (s *Shared) roundTrip() *roundTrip {
	n := len(s.free)
	if n == 0 {
		return new(roundTrip)
	}
	x := s.free[n-1]
	s.free = s.free[:n-1]
	return x
}

// recycle takes back x, whose record has left, and with it the memory of its
// parts.
func (s *Shared) recycle(x *roundTrip) {
	if x.lent || len(s.free) == maxFree {
		return
	}
	request, response := x.reqRoom.kept(), x.respRoom.kept()
	content, answer := keptContent(x.reqBody.Content), keptContent(x.own.body.Content)
	flaws, interim := x.rec.Flaws[:0], x.own.msg.InterimStatuses[:0]
	*x = roundTrip{reqRoom: request, respRoom: response}
	x.reqBody.Content, x.own.body.Content = content, answer
	x.rec.Flaws, x.own.msg.InterimStatuses = flaws, interim
	s.free = append(s.free, x)
}

func keptContent(b []byte) []byte {
	if cap(b) > keepContentLen {
		return nil
	}
	return b[:0]
}
