package socks

// maxMessageLen bounds what is kept of a message: none is longer but a request of version 4
// with a user id that nobody has.
const maxMessageLen = 1 << 10

// end is what one end has said.
type end struct {
	version byte
	buf     []byte // the message in progress
	behind  int64  // offset behind that
	taken   int    // what the messages taken weigh as evidence
	gapLen  int64  // bytes missing since the last message taken
	gapAt   int64  // offset of the first of them, if there are any
	start   int64  // offset of what is behind the handshake, if done
	late    bool   // the first messages may be missing
	done    bool   // nothing more of the handshake is to come
	strange bool   // what it said is no such handshake
}

// What the messages weigh: those that are short, or may be anything, prove nothing alone.
const (
	weak   = 1
	strong = 2
)

// Results of what takes a message, besides its length.
const (
	incomplete = 0
	invalid    = -1
)

// take takes the next bytes. message takes the message at the start of its argument and
// returns its length, incomplete or invalid.
func (e *end) take(b []byte, offset int64, message func(b []byte) int) {
	if e.done || e.strange {
		return
	}
	e.buf = append(e.buf, b...)
	e.behind = offset + int64(len(b))
	for len(e.buf) > 0 && !e.done && !e.strange {
		n := message(e.buf)
		switch {
		case n > 0:
			e.buf, e.gapLen = e.buf[n:], 0
			e.start = e.behind - int64(len(e.buf))
		case n == incomplete && len(e.buf) <= maxMessageLen:
			return
		case e.gapLen > 0:
			e.giveUp() // the last message was among what is missing, and this is behind it
		default:
			e.strange = true
		}
	}
	e.buf = nil
}

// gap takes n missing bytes. A message that they cut off is lost.
func (e *end) gap(offset, n int64) {
	if e.done || e.strange {
		return
	}
	if e.gapLen == 0 {
		e.gapAt = offset
	}
	e.gapLen += n
	e.buf = nil
}

// giveUp ends the handshake where bytes of it are missing.
func (e *end) giveUp() {
	if !e.done && e.gapLen > 0 {
		e.done, e.start = true, e.gapAt
	}
}
