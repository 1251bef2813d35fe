package reassembly

import (
	"capstan/pkg/flow"
)

// connection is a connection with everything needed to go on with it. Structs
// are recycled. They are as small as they can be, since most connections are
// idle most of the time: what only trouble needs is in pending.
type connection struct {
	Conn
	closed      bool           // its handler is being told the rest, or has been
	hurried     bool           // nothing waits any more for what the other direction has
	established bool           // more was seen than the first steps of a handshake
	answered    bool           // the first SYN seen acknowledged the other end's
	closedDir   flow.Direction // of the segment that closed it
	list        listKind       // that it is in
	half        [2]half

	lastTime int64 // the last segment's own time
	settled  int64 // until then activity does not change the place in the list

	// What is from here on most segments don't touch.
	born       uint64      // number of the instant of the first segment
	prev, next *connection // in the list
}

// half is one direction of a connection. Offsets are 64 bit and count from the
// first byte of the stream; sequence numbers are turned into offsets on entry.
type half struct {
	*pending // nil while nothing is pending

	offset int64  // stream offset of next
	next   uint32 // sequence number expected next
	recent uint32 // the latest entry of the history that is of this direction, 0 if there is none
	oob    uint32 // urgent bytes taken out of the stream so far

	dir    flow.Direction
	synced bool // next is known
	soft   bool // next comes from a segment without data, which may have been a keep-alive probe
	plain  bool // segments of it were seen, and nothing is awaited, neither bytes nor a FIN seen ahead of them nor a choice: the usual ways may take it
}

// pending is what a direction waits for. Every direction has one while a
// segment of its connection that is not in order is taken; it keeps it while it
// has a hole, a piece, a FIN, an urgent byte, a rival or a SYN that may start another
// connection.
type pending struct {
	conn *connection // that it is lent to

	finSeen bool
	ended   bool // FIN reached; next stands behind it
	told    bool // the handler knows
	held    bool // the only piece came with a SYN and waits for its SYN-ACK
	afloat  bool // the pieces came before the SYN: how far from it they are is not known
	missed  bool // the peer's data waited for some of this direction, in vain
	asked   bool // the peer acknowledged up to a hole, and no further, with bytes behind it under way

	finOff  int64 // stream offset of the FIN, if finSeen
	finTime int64
	ackOff  int64 // the peer acknowledged up to here, if beyond offset
	roseAt  int64 // assembler time since when it has
	sentOff int64 // the sender's own sequence number without data, if beyond offset

	urgent int64 // stream offset of the byte to be taken out, -1 if there is none

	pieces []piece // sorted, disjoint, beyond offset
	charge int     // what they count against the limits

	openedAt int64 // assembler time the hole was opened, 0 if there is none
	ackedAt  int64 // assembler time the peer's ACK was seen past it, 0 if it was not
	deadline int64
	awaited  bool // slot is one of Assembler.awaited, not of holes
	slot     int  // 1-based place in a heap of deadlines, 0 if in none

	rival    uint32 // sequence number of a second SYN-ACK, which had another one
	rivalled bool   // rival is known

	uncounted bool // the peer acknowledged just the SYN's own number: it may be that of the first byte, too

	reopens   bool // reopening is known
	reopening reopening

	reset     bool // this direction has reset the connection, but what came before that is not here
	resetSeq  uint32
	resetTime int64 // of the reset
	resetAt   int64 // assembler time it was taken
}

// pos returns the stream offset of sequence number seq, which lies within 2 GiB
// of the offset reached.
func (h *half) pos(seq uint32) int64 {
	p := h.offset + int64(int32(seq-h.next))
	if h.over() {
		p++ // next counts the FIN, offset does not
	}
	return p
}

// over reports whether the FIN was reached.
func (h *half) over() bool { return h.pending != nil && h.ended }

// begin makes seq the sequence number of stream offset 0, where nothing is
// pending.
func (h *half) begin(seq uint32) {
	h.next, h.synced, h.plain, h.offset = seq, true, true, 0
}

// sync is begin where something may be pending.
func (h *half) sync(seq uint32) {
	h.begin(seq)
	h.ackOff, h.sentOff = 0, 0
}

// virgin reports whether nothing of the direction's data was seen.
func (h *half) virgin() bool { return h.offset == 0 && len(h.pieces) == 0 && !h.finSeen }

// tail returns the offset behind everything seen.
func (h *half) tail() int64 {
	t := h.offset
	if h.pending == nil {
		return t
	}
	if n := len(h.pieces); n > 0 {
		t = h.pieces[n-1].end()
	}
	if h.finSeen {
		t = max(t, h.finOff)
	}
	return t
}

// peer returns the other direction of the same connection. Something is pending.
func (h *half) peer() *half { return &h.conn.half[h.dir.Reverse()] }

// acked returns the offset that a segment with this acknowledgement number
// acknowledges in h as handlers count, its FIN left out; -1 if h is not known.
func (h *half) acked(ack uint32) int64 {
	if !h.synced {
		return -1
	}
	p := max(h.pos(ack), 0)
	if h.pending != nil {
		if h.afloat {
			return -1
		}
		if h.finSeen {
			p = min(p, h.finOff)
		}
	}
	return max(p-int64(h.oob), 0)
}

// chunkLen is how many connections are allocated at a time: few, since memory
// that one of them lives in is kept.
const chunkLen = 8

// connection returns one that nothing is known of.
func (a *Assembler) connection() *connection {
	var c *connection
	if n := len(a.free); n > 0 {
		c, a.free = a.free[n-1], a.free[:n-1]
		*c = connection{}
	} else {
		if len(a.chunk) == 0 {
			a.chunk = make([]connection, chunkLen)
		}
		c, a.chunk = &a.chunk[0], a.chunk[1:]
	}
	c.half[flow.BToA].dir = flow.BToA
	c.Unseen = 1<<flow.AToB | 1<<flow.BToA
	return c
}

// Bounds on what is kept for reuse: structs, and the room for pieces in one.
const (
	maxFreePending    = 1024
	maxRecycledPieces = 16
)

// attach gives both directions of c their pending.
func (a *Assembler) attach(c *connection) {
	for d := range c.half {
		if h := &c.half[d]; h.pending == nil {
			a.lend(c, h)
		}
	}
}

// lend gives h, a direction of c that has none, its pending.
func (a *Assembler) lend(c *connection, h *half) {
	if n := len(a.freePending); n > 0 {
		h.pending, a.freePending = a.freePending[n-1], a.freePending[:n-1]
	} else {
		h.pending = &pending{urgent: -1}
	}
	h.conn = c
}

// release takes back what attach gave, where nothing is pending.
func (a *Assembler) release(c *connection) {
	for d := range c.half {
		if h := &c.half[d]; h.pending != nil && h.idle() {
			a.detach(h)
		}
	}
}

// idle reports whether nothing is pending in h.
func (h *half) idle() bool {
	return !h.finSeen && h.slot == 0 && len(h.pieces) == 0 && h.ackOff <= h.offset && h.sentOff <= h.offset && h.urgent < 0 && !h.rivalled && !h.uncounted && !h.reopens && !h.reset
}

func (a *Assembler) detach(h *half) {
	p := h.pending
	h.pending = nil
	if len(a.freePending) >= maxFreePending {
		return
	}
	pieces := p.pieces[:0]
	if cap(pieces) > maxRecycledPieces {
		pieces = nil
	}
	*p = pending{urgent: -1, pieces: pieces}
	a.freePending = append(a.freePending, p)
}
