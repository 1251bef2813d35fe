package reassembly

import (
	"capstan/pkg/flow"
)

// state is where a connection is in its life.
type state uint8

const (
	stateOpen      state = iota
	stateClosing         // its handler is being told the rest
	stateLingering       // closed, remembered for its late segments
)

// connection is a connection with everything needed to go on with it. Structs
// are recycled.
type connection struct {
	Conn
	state       state
	established bool // more was seen than the first steps of a handshake
	handler     Handler
	half        [2]half
	seen        [2]bool // a segment of this direction was seen
	closedBy    CloseReason
	closedDir   flow.Direction // of the segment that closed it

	last     int64 // assembler time of the last segment
	lastTime int64 // that segment's own time

	// Place in one of the assembler's age lists.
	prev, next *connection
	listed     int64
	list       *ageList
}

// half is one direction of a connection. Offsets are 64 bit and count from the
// first byte of the stream; sequence numbers are turned into offsets on entry.
type half struct {
	conn *connection
	dir  flow.Direction

	next   uint32 // sequence number expected next
	synced bool   // next is known
	soft   bool   // next comes from a segment without data, which may have been a keep-alive probe
	plain  bool   // no pieces, no FIN, no hole: the fast path may take it
	ended  bool   // FIN reached; next stands behind it
	told   bool   // the handler knows

	finSeen bool
	held    bool // the only piece came with a SYN and waits for its SYN-ACK

	offset  int64 // stream offset of next
	finOff  int64 // stream offset of the FIN, if finSeen
	finTime int64
	ackOff  int64 // the peer acknowledged up to here, if beyond offset
	sentOff int64 // the sender's own sequence number without data, if beyond offset

	pieces []piece // sorted, disjoint, beyond offset
	charge int     // what they count against the limits

	openedAt int64 // assembler time the hole was opened, 0 if there is none
	ackedAt  int64 // assembler time the peer's ACK was seen past it, 0 if it was not
	deadline int64
	slot     int // 1-based place in the deadline heap, 0 if not in it
}

// pos returns the stream offset of sequence number seq, which lies within 2 GiB
// of the offset reached.
func (h *half) pos(seq uint32) int64 {
	p := h.offset + int64(int32(seq-h.next))
	if h.ended {
		p++ // next counts the FIN, offset does not
	}
	return p
}

// sync makes seq the sequence number of stream offset 0.
func (h *half) sync(seq uint32) {
	h.next, h.synced, h.plain = seq, true, true
	h.offset, h.ackOff, h.sentOff = 0, 0, 0
}

// virgin reports whether nothing of the direction's data was seen.
func (h *half) virgin() bool { return h.offset == 0 && len(h.pieces) == 0 && !h.finSeen }

// tail returns the offset behind everything seen.
func (h *half) tail() int64 {
	t := h.offset
	if n := len(h.pieces); n > 0 {
		t = h.pieces[n-1].end()
	}
	if h.finSeen {
		t = max(t, h.finOff)
	}
	return t
}

// peer returns the other direction of the same connection.
func (h *half) peer() *half { return &h.conn.half[h.dir.Reverse()] }

// acked returns the offset that a segment with this acknowledgement number
// acknowledges in h, its FIN not counted, or -1 if h is not known.
func (h *half) acked(ack uint32) int64 {
	if !h.synced {
		return -1
	}
	p := max(h.pos(ack), 0)
	if h.finSeen {
		p = min(p, h.finOff)
	}
	return p
}

// reset makes c ready for a new connection, keeping what is worth keeping.
func (c *connection) reset() {
	pieces := [2][]piece{c.half[0].pieces[:0], c.half[1].pieces[:0]}
	*c = connection{}
	for d := range c.half {
		c.half[d].conn, c.half[d].dir = c, flow.Direction(d)
		if cap(pieces[d]) <= maxRecycledPieces {
			c.half[d].pieces = pieces[d]
		}
	}
}

// maxRecycledPieces bounds the room for pieces that an idle struct keeps.
const maxRecycledPieces = 16
