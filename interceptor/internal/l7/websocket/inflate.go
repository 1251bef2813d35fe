package websocket

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

const (
	// maxInflated is the longest compressed message that is inflated.
	maxInflated = 64 << 10
	// maxInflatesTo is how much of what a message inflates to is read.
	maxInflatesTo = 1 << 20
	// windowLen is how far back DEFLATE refers (RFC 1951 §2).
	windowLen = 32 << 10
)

// Shared is what the sessions of one goroutine share. The zero value is ready.
type Shared struct {
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
	if !i.wanted(d, m) || m.size > maxInflated {
		i.lose(d)
		return nil, 0
	}
	shared := d.s.cfg.Shared
	out, whole := shared.inflate(i.window, m.content)
	if !whole {
		i.lose(d)
		return out, 0
	}
	if !d.noTakeover {
		i.remember(out)
	}
	return out, uint64(len(out))
}

// remember keeps the end of what was inflated.
func (i *inflation) remember(out []byte) {
	if len(out) >= windowLen {
		i.window = append(i.window[:0], out[len(out)-windowLen:]...)
		return
	}
	if over := len(i.window) + len(out) - windowLen; over > 0 {
		i.window = i.window[:copy(i.window, i.window[over:])]
	}
	i.window = append(i.window, out...)
}

// inflate returns what b inflates to behind window, valid until the next call,
// and whether that is all of it.
func (s *Shared) inflate(window, b []byte) (out []byte, whole bool) {
	s.source.reset(b)
	if s.reader == nil {
		s.reader = flate.NewReaderDict(&s.source, window)
	} else if err := s.reader.(flate.Resetter).Reset(&s.source, window); err != nil {
		return nil, false
	}
	if s.out == nil {
		s.out = make([]byte, 4<<10)
	}
	n := 0
	for {
		if n == len(s.out) {
			if n >= maxInflatesTo {
				return s.out[:n], false
			}
			s.out = append(s.out, make([]byte, n)...)
		}
		k, err := s.reader.Read(s.out[n:])
		n += k
		if err != nil {
			return s.out[:n], err == io.EOF
		}
	}
}
