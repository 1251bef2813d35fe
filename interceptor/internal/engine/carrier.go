package engine

import (
	"bytes"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/opaque"
	"capstan/interceptor/internal/l7/tls"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

// maxHeld bounds the bytes kept while the protocol of a connection is
// undecided: twice what it takes to recognise the longest start line.
const maxHeld = 16 << 10

// maxHeldChunks bounds the pieces that these bytes are held in: each costs
// memory of its own, and all are looked at again with each new one.
const maxHeldChunks = 256

// maxHeldGaps bounds what is held with gaps that cut nothing of it off: more of them say
// nothing new.
const maxHeldGaps = 16

// carrier decides what a connection, or the tunnel inside of one, carries, and
// hands its bytes to that protocol.
type carrier struct {
	of      *account
	conn    *reassembly.Conn
	named   *exchange.Connection // set inside of a tunnel, and behind a preamble
	tunnels uint8                // how many are around it
	// Who opened the connection, or the tunnel.
	client      flow.Direction
	clientKnown bool
	// start is the offset where a tunnel begins, by direction, once something was seen there.
	start    [2]int64
	entered  [2]bool
	decided  bool
	replaced bool // the connection has another handler now
	// lenient: the start was not seen, so bytes that make no sense may be the
	// middle of a message and a start may still come.
	lenient bool
	// reversed: the end that was connected to sends the requests.
	reversed bool
	// strange tells, by direction, that the first bytes were those of no known
	// protocol. The other end may know better what it answers.
	strange [2]bool
	// overheard tells, likewise, that a request was inside of what was passed over.
	overheard [2]bool
	// claims tells, likewise, that what is held begins with a request that a gap cuts off
	// within its path: too little to go by, unless the other end answers.
	claims   [2]bool
	parser   reassembly.Handler // of the protocol, nil for those that are only counted
	unknown  *opaque.Conn       // what was seen so far, should it never make sense, or nothing come of it
	untold   teller             // the parser, as long as it has told nothing
	preamble *preamble          // what it began with, if that is no part of the protocol
	// negotiation is what it may begin with instead; noSocks tells that it does not.
	negotiation *negotiation
	noSocks     bool
	origin      int32  // where requests begin in a tunnel of SOCKS
	held        []held // what came before the decision, in order
	heldLen     int
	// whole has the bytes held of each direction in one piece, but those that were skipped,
	// since all are looked at again with each new one. Nil if none are held.
	whole *[2][]byte
}

// held is a chunk or gap that arrived before the protocol was known.
type held struct {
	d       flow.Direction
	gap     bool
	skipped bool             // chunk is the last byte of some that made no sense
	chunk   reassembly.Chunk // its Bytes are owned by this value
	lost    reassembly.Gap
}

// giveTo hands h over.
func (h *held) giveTo(to interface {
	Data(flow.Direction, reassembly.Chunk)
	Gap(flow.Direction, reassembly.Gap)
}) {
	if h.gap {
		to.Gap(h.d, h.lost)
	} else {
		to.Data(h.d, h.chunk)
	}
}

// cut takes off what is before offset, and reports whether anything is left.
func (h *held) cut(offset int64) bool {
	if h.gap {
		return h.lost.Offset >= offset
	}
	n := min(max(offset-h.chunk.Offset, 0), int64(len(h.chunk.Bytes)))
	h.chunk.Bytes, h.chunk.Offset = h.chunk.Bytes[n:], h.chunk.Offset+n
	return len(h.chunk.Bytes) > 0
}

// Data implements reassembly.Handler.
// Next: http1.Conn.Data, http2.Conn.Data, or that of another protocol.
func (c *carrier) Data(d flow.Direction, chunk reassembly.Chunk) {
	switch {
	case c.untold != nil:
		c.unknown.Data(d, chunk)
		c.parser.Data(d, chunk)
		if c.untold.Told() {
			c.untold, c.unknown = nil, nil
		}
	case c.parser != nil:
		c.parser.Data(d, chunk)
	case !c.decided:
		c.begin(d, chunk)
	}
}

// decide looks at whole, the first bytes of a direction, which chunk ends.
func (c *carrier) decide(d flow.Direction, chunk reassembly.Chunk, whole []byte) {
	protocol := detect(whole, c.lenient)
	if protocol == Unknown && c.lenient && len(whole) > len(chunk.Bytes) {
		// What was held is the end of something, or the byte of a keep-alive
		// probe; this chunk starts a segment, so it may start a message.
		c.passHeld(d)
		protocol = detect(chunk.Bytes, true)
	}
	switch full := c.heldLen+len(chunk.Bytes) > maxHeld || len(c.held) >= maxHeldChunks; {
	case protocol == Undecided && full:
		protocol = Unknown
	case protocol == Unknown && !c.lenient && !full:
		c.strange[d] = true
		if !c.strange[d.Reverse()] {
			protocol = Undecided
		}
	}
	if protocol == Undecided || protocol == Unknown {
		c.count().Data(d, chunk)
	}
	switch {
	case protocol == Unknown && c.lenient && !opaque.CarriesHTTP(chunk.Bytes):
		// The middle of something. Its bytes can't be understood, the next
		// segment may start a message.
		c.skip(d, chunk)
	case protocol == Undecided:
		c.hold(d, chunk)
	case protocol == Unknown:
		c.become(protocol)
	default:
		c.reversed = c.asks(d, whole)
		if answers, _ := http1.LooksLikeResponse(whole); answers {
			c.claims[d] = false
		} else {
			c.claims[d.Reverse()] = false
		}
		c.become(protocol)
		c.Data(d, chunk)
		if c.mayStaySilent() {
			c.count().Data(d, chunk)
			c.countOn()
		}
	}
}

// asks reports whether b, the first bytes of the end that was connected to, are a
// request while the other end has said nothing: who keeps a connection open to
// be asked over it, as a service behind a firewall, answers there.
func (c *carrier) asks(d flow.Direction, b []byte) bool {
	if c.lenient || c.tunnels > 0 || !c.conn.ClientKnown || d == c.conn.Client || len(c.prefix(d.Reverse(), nil)) > 0 {
		return false
	}
	request, _ := http1.LooksLikeRequest(b, false)
	preface, _ := http2.LooksLikePreface(b)
	return request || preface
}

// count returns who counts what makes no sense so far.
func (c *carrier) count() *opaque.Conn {
	if c.unknown == nil {
		c.unknown = opaque.New(c.conn, c.of.shard.recorder, c.named)
	}
	return c.unknown
}

// prefix returns the bytes of d held so far followed by b, until the next call.
func (c *carrier) prefix(d flow.Direction, b []byte) []byte {
	if c.whole == nil || len(c.whole[d]) == 0 {
		return b
	}
	w := &c.whole[d]
	n := len(*w)
	whole := append(*w, b...)
	*w = whole[:n] // with the room that b took
	return whole
}

// hold keeps chunk, a copy of its bytes because the frame's buffer is reused.
func (c *carrier) hold(d flow.Direction, chunk reassembly.Chunk) {
	if c.whole == nil {
		c.whole = new([2][]byte)
	}
	w := &c.whole[d]
	n := len(*w)
	*w = append(*w, chunk.Bytes...)
	chunk.Bytes = (*w)[n:len(*w):len(*w)]
	c.held = append(c.held, held{d: d, chunk: chunk})
	c.heldLen += len(chunk.Bytes)
}

// forget drops what is held of direction d.
func (c *carrier) forget(d flow.Direction) {
	c.claims[d] = false
	kept := c.held[:0]
	for _, h := range c.held {
		if h.d == d && !h.gap {
			c.heldLen -= len(h.chunk.Bytes)
			continue
		}
		kept = append(kept, h)
	}
	c.held = kept
	if c.whole != nil {
		c.whole[d] = nil
	}
}

// skip passes over a chunk that can't be understood. Its last byte is kept:
// what its sender had received by then tells a protocol which messages belong
// together.
func (c *carrier) skip(d flow.Direction, chunk reassembly.Chunk) {
	c.overheard[d] = c.overheard[d] || http1.HoldsRequestLine(chunk.Bytes)
	c.forget(d)
	last := len(chunk.Bytes) - 1
	chunk.Bytes, chunk.Offset = bytes.Clone(chunk.Bytes[last:]), chunk.Offset+int64(last)
	c.held = append(c.held, held{d: d, skipped: true, chunk: chunk})
	c.heldLen++
}

// passHeld is skip for what is held of direction d.
func (c *carrier) passHeld(d flow.Direction) {
	for i := len(c.held) - 1; i >= 0; i-- {
		if h := c.held[i]; h.d == d && !h.gap {
			c.skip(d, h.chunk)
			return
		}
	}
}

// become settles the protocol and hands over what was held.
func (c *carrier) become(p Protocol) {
	s, conn := c.of.shard, c.conn
	c.decided = true
	c.of.recount(p)
	switch p {
	case HTTP1:
		c.parser = c.becomeHTTP1()
	case HTTP2:
		parser := http2.New(&s.cfg.HTTP2, conn, s.recorder, c.named)
		if c.reversed {
			parser.Reverse()
		}
		c.parser = parser
		if !s.cfg.NoConnectionRecords {
			c.untold = parser
			c.count().Name("http2", c.named)
		}
	case TLS:
		if !s.cfg.NoConnectionRecords {
			parser := tls.New(conn, s.recorder, c.named)
			if c.preamble != nil {
				parser.Preamble(c.preamble.d, c.preamble.tally)
			}
			c.parser = parser
		}
	case Unknown:
		if !s.cfg.NoConnectionRecords {
			c.parser = c.unknown // which has all that was held
		}
		c.held = nil
	}
	if c.parser != nil {
		for i := range c.held {
			c.held[i].giveTo(c.parser)
		}
	}
	if c.untold == nil && !c.replaced {
		c.unknown = nil
	}
	c.held, c.heldLen, c.whole, c.preamble = nil, 0, nil, nil
}

// becomeHTTP1 returns who takes HTTP/1. Where that isn't inside of a tunnel it takes
// the place of the connection.
func (c *carrier) becomeHTTP1() reassembly.Handler {
	s := c.of.shard
	if c.tunnels > 0 {
		parser := new(http1.Conn)
		parser.Init(s.http1, c.conn, c.named, c.tunnels)
		parser.StartAt(c.origin)
		c.tellOverheard(parser)
		return parser
	}
	x := s.newHTTP(c)
	c.tellOverheard(&x.Conn)
	for d, claims := range c.claims {
		if claims && !c.conn.ClientKnown {
			x.Conn.Asks(flow.Direction(d))
		}
	}
	if c.preamble != nil {
		x.Conn.StartAt(c.preamble.len)
	}
	if c.reversed {
		x.Conn.Reverse()
	}
	c.conn.Handler, c.replaced = x, true
	return &x.Conn // the bytes held, and those in hand, are counted
}

func (c *carrier) tellOverheard(parser *http1.Conn) {
	for d, overheard := range c.overheard {
		if overheard {
			parser.Overhear(flow.Direction(d))
		}
	}
}

// Gap implements reassembly.Handler.
func (c *carrier) Gap(d flow.Direction, g reassembly.Gap) {
	c.enter(d, g.Offset)
	if c.negotiation != nil {
		c.negotiateGap(d, g)
		return
	}
	if c.inPreamble(d) {
		if g = c.passPreambleGap(g); g.Len == 0 {
			return
		}
	}
	switch {
	case c.parser != nil:
		if c.untold != nil {
			c.unknown.Gap(d, g)
		}
		c.parser.Gap(d, g)
	case c.decided:
	case http1.LooksLikeCutRequest(c.prefix(d, nil), c.lenient):
		c.claims[d.Reverse()] = false
		c.become(HTTP1)
		c.Gap(d, g)
		if c.mayStaySilent() {
			c.count().Gap(d, g)
			c.countOn()
		}
	case http2.LooksLikeCutPreface(c.prefix(d, nil)):
		c.become(HTTP2)
		c.Gap(d, g)
	default:
		c.count().Gap(d, g)
		claims := c.lenient && c.tunnels == 0 && len(c.held) < maxHeldChunks && http1.LooksLikeCutRequest(c.prefix(d, nil), false)
		if claims {
			c.claims[d] = true
			c.whole[d] = nil // what follows doesn't go on from there
		} else {
			c.lenient = true
			c.forget(d)
		}
		if claims || len(c.held) < maxHeldGaps {
			c.held = append(c.held, held{d: d, gap: true, lost: g})
		}
	}
}

// End implements reassembly.Handler.
func (c *carrier) End(d flow.Direction, time int64) {
	if c.parser != nil {
		c.parser.End(d, time)
	}
}

// Close implements reassembly.Handler.
func (c *carrier) Close(time int64, r reassembly.CloseReason) {
	c.settle()
	switch {
	case c.parser != nil:
		c.parser.Close(time, r)
		if c.untold != nil {
			closeUntold(c.unknown, c.untold, r)
		}
	case c.unknown != nil && !c.of.shard.cfg.NoConnectionRecords:
		c.unknown.Close(time, r)
	}
}
