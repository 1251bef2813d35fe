package websocket

// enough is how many headers of a chain of frames prove it, each unlike the one before.
const enough = 3

// maxChainLen is the length from which no frame of a chain is believed: eight bytes
// at random would have the rest of the connection wait for its end.
const maxChainLen = 1 << 30

// turn is what the next data frame of a chain has to be (RFC 6455 §5.4).
type turn uint8

const (
	turnUnknown turn = iota
	turnFirst        // of a message
	turnContinuation
)

// takes reports whether h may be the next frame, and goes on behind it.
func (t *turn) takes(h *header) bool {
	if h.control() {
		return true
	}
	is, next := turnFirst, turnContinuation
	if h.opcode == opContinuation {
		is = turnContinuation
	}
	if h.fin {
		next = turnFirst
	}
	ok := *t == turnUnknown || *t == is
	*t = next
	return ok
}

// proves reports whether h is hardly found by chance among the bytes of a body. Zeros and
// other small numbers read as a server's empty frames, and as fragments that more have to
// follow. alone tells that h is all of a segment, as an empty pong is, and bodies are hardly
// cut into.
func (h *header) proves(alone bool) bool {
	return h.fin && (h.length > 0 || h.masked) || alone && h.control()
}

// seek looks at a segment where a chain of frames may begin. One that ends with it
// is believed at once, and told, if some frame of it proves it, unless it may be a
// body that repeats itself: no client uses a mask twice (RFC 6455 §5.3).
func (d *side) seek(b []byte) {
	d.candidate, d.proven, d.ahead, d.have, d.inChain = true, 0, 0, 0, turnUnknown
	d.frame = header{}
	var t turn
	var last header
	whole, proven := len(b), false
	for len(b) > 0 {
		n := headerLen(b)
		if len(b) < n {
			return
		}
		h, ok := parseHeader(b[:n])
		if !ok || !d.mayFollow(&t, &h) || h.length > int64(len(b)-n) || h.masked && h == last {
			return
		}
		last, proven = h, proven || h.proves(n == whole)
		b = b[n+int(h.length):]
	}
	if proven {
		d.state, d.candidate = stateHeader, false
	}
}

// mayFollow reports whether h may be the next frame of a chain, whose turn is t.
func (d *side) mayFollow(t *turn, h *header) bool {
	return h.fits(d.client, d.s.compress) && h.length <= maxChainLen && t.takes(h)
}

// follow takes bytes of a chain of frames that may be one.
func (d *side) follow(b []byte) int {
	if !d.candidate {
		return len(b)
	}
	if d.ahead > 0 {
		n := min(int64(len(b)), d.ahead)
		d.ahead -= n
		if d.ahead == 0 && n == int64(len(b)) && !d.frame.masked {
			d.proven++ // the frame ends where a segment does; a server's may all be as long
		}
		return int(n)
	}
	if d.proven >= enough && d.have == 0 {
		d.state, d.candidate = stateHeader, false
		return 0
	}
	n, h, whole, ok := d.collect(b)
	switch {
	case !whole:
	case !ok || !d.mayFollow(&d.inChain, &h):
		d.candidate = false
		return len(b)
	default:
		d.ahead = h.length
		switch {
		case h == d.frame, !h.proves(false): // what repeats itself proves no more
		case int64(len(b)-n) == d.ahead: // the frame ends with the segment, which proves as much
			d.proven = enough
		default:
			d.proven++
		}
		d.frame = h
	}
	return n
}
