package websocket

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

// windowLen is how far back DEFLATE refers (RFC 1951 §2).
const windowLen = 32 << 10

// Shared is what the sessions of one goroutine share. The zero value is ready.
type Shared struct {
	Stats Stats

	reader io.ReadCloser // of flate
	source source
	out    []byte
}

// source reads a message and the end that its sender left out (RFC 7692 §7.2.2),
// with an empty last block behind it.
type source struct {
	bytes.Reader
	tail bytes.Reader
}

var tail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

func (s *source) reset(b []byte) {
	s.Reader.Reset(b)
	s.tail.Reset(tail)
}

func (s *source) Read(b []byte) (int, error) {
	if s.Len() > 0 {
		return s.Reader.Read(b)
	}
	return s.tail.Read(b)
}

// ReadByte keeps flate from a buffer of its own.
func (s *source) ReadByte() (byte, error) {
	if s.Len() > 0 {
		return s.Reader.ReadByte()
	}
	return s.tail.ReadByte()
}

// inflation is the state of one end's compression: what its earlier messages
// inflated to, which later ones refer to.
type inflation struct {
	window []byte
	dead   bool // a message was not inflated to its end, so that later ones can't be
}

// wanted reports whether the compressed message m is to be inflated: for its own
// content, or for that of later ones.
func (i *inflation) wanted(d *side, m *message) bool { return !i.dead && m.listed && d.room > 0 }

// lose gives up what later messages refer to.
func (i *inflation) lose(d *side) {
	i.window = nil
	i.dead = !d.noTakeover
}

// message returns the first bytes of what m inflates to, valid until the next
// call, and how many there are, 0 if that is not known.
func (i *inflation) message(d *side, m *message) ([]byte, uint64) {
	cfg := &d.s.cfg
	switch {
	case !i.wanted(d, m):
		i.lose(d)
		return nil, 0
	case m.size > int64(cfg.MaxCompressed):
		cfg.Shared.Stats.Uninflated++
		i.lose(d)
		return nil, 0
	}
	out := cfg.Shared.inflate(i.window, m.content, d.room, cfg.MaxInflated)
	if !out.whole {
		i.lose(d)
		return out.begin, 0
	}
	if !d.noTakeover {
		i.remember(out.end)
	}
	return out.begin, out.size
}

// remember keeps the end of what was inflated, at most windowLen bytes.
func (i *inflation) remember(end []byte) {
	if over := len(i.window) + len(end) - windowLen; over > 0 {
		i.window = i.window[:copy(i.window, i.window[over:])]
	}
	i.window = append(i.window, end...)
}

// Release lets go of memory that is only kept for reuse.
func (s *Shared) Release() { *s = Shared{Stats: s.Stats} }

// inflated is what a message inflates to, valid until the next one is inflated.
type inflated struct {
	begin []byte // its first bytes
	end   []byte // its last windowLen, or all
	size  uint64 // of all
	whole bool   // all was read
}

// inflate inflates b behind window, to so many bytes at most. It keeps the first bytes, at most
// keep, and what later messages may refer to, however much there is between.
func (s *Shared) inflate(window, b []byte, keep, limit int) inflated {
	s.source.reset(b)
	if s.reader == nil {
		s.reader = flate.NewReaderDict(&s.source, window)
	} else if err := s.reader.(flate.Resetter).Reset(&s.source, window); err != nil {
		return inflated{}
	}
	if s.out == nil {
		s.out = make([]byte, 4<<10)
	}
	most := min(keep, limit) + 2*windowLen
	size, n := 0, 0 // in all, and of those in s.out
	for {
		switch {
		case size == limit:
			s.Stats.Uninflated++
			return s.inflated(size, n, keep, false)
		case n < len(s.out):
		case n < most:
			s.out = append(s.out, make([]byte, min(n, most-n))...)
		default:
			n = most - 2*windowLen + copy(s.out[most-2*windowLen:], s.out[n-windowLen:n])
		}
		k, err := s.reader.Read(s.out[n:min(n+limit-size, len(s.out))])
		size += k
		n += k
		if err != nil {
			return s.inflated(size, n, keep, err == io.EOF)
		}
	}
}

// inflated returns what there is in the first n bytes of s.out, of size.
func (s *Shared) inflated(size, n, keep int, whole bool) inflated {
	return inflated{begin: s.out[:min(n, keep)], end: s.out[max(n-windowLen, 0):n], size: uint64(size), whole: whole}
}
