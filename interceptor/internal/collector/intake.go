package collector

import (
	"io"
	"sync/atomic"
)

// intake bounds what messages take in memory from their arrival until they are
// stored, of all senders together.
type intake struct {
	limit  int64
	held   atomic.Int64
	denied atomic.Uint64
}

// hold takes room for n more bytes of a message that has held so many. One
// message alone may be however long it is.
func (i *intake) hold(n, held int64) bool {
	if all := i.held.Add(n); all > i.limit && all > held+n {
		i.held.Add(-n)
		i.denied.Add(1)
		return false
	}
	return true
}

// share is what one message has of an intake. It belongs to one goroutine.
type share struct {
	of   *intake // nil: nothing is counted
	held int64
}

func (s *share) hold(n int64) error {
	if s.of == nil || n == 0 {
		return nil
	}
	if !s.of.hold(n, s.held) {
		return errCrowded
	}
	s.held += n
	return nil
}

// release gives n bytes back.
func (s *share) release(n int64) {
	if n > 0 {
		s.of.held.Add(-n)
		s.held -= n
	}
}

// holding reads from r and holds what it has read, but for the first bytes that
// are held already.
type holding struct {
	r       io.Reader
	share   *share
	already int64
}

// Read implements io.Reader.
func (h *holding) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	more := int64(n) - h.already
	h.already = max(-more, 0)
	if holdErr := h.share.hold(max(more, 0)); holdErr != nil {
		return 0, holdErr
	}
	return n, err
}
