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

	freeConns []*Conn // closed, to be used again
}

const (
	// maxFree bounds the round trips that are kept for reuse.
	maxFree = 256
	// keepContentLen and keepFieldsLen bound what each keeps of a body and of
	// header fields.
	keepContentLen = 4 << 10
	// keepPendingLen bounds the lists of requests that each connection keeps.
	keepPendingLen = 16
	keepFieldsLen  = 64
)

// conn returns a Conn that nothing is known of.
func (s *Shared) conn() *Conn {
	n := len(s.freeConns)
	if n == 0 {
		return new(Conn)
	}
	c := s.freeConns[n-1]
	s.freeConns = s.freeConns[:n-1]
	pending, floating := c.pending[:0], c.floating[:0]
	*c = Conn{}
	c.pending, c.floating = pending, floating
	return c
}

// closed takes c back. It stays as it is until it is used again, so that nothing
// comes of a second close.
func (s *Shared) closed(c *Conn) {
	if len(s.freeConns) == maxFree || cap(c.pending) > keepPendingLen || cap(c.floating) > keepPendingLen {
		return
	}
	s.freeConns = append(s.freeConns, c)
}

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
