package engine

import (
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/opaque"
	"capstan/interceptor/internal/l7/tls"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

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
	origin      int32 // where requests begin in a tunnel of SOCKS
	weighed     int   // bytes that UndecidedStats counts as held
	backlog           // what came before the decision
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
		c.weigh()
	}
}

// weigh has the counters tell what is held.
func (c *carrier) weigh() {
	n := c.heldLen
	if c.negotiation != nil {
		n += c.negotiation.heldLen
	}
	if g, ok := c.parser.(*greeting); ok {
		n += g.heldLen
	}
	c.told(n)
}

// told has the counters tell that n bytes are held.
func (c *carrier) told(n int) {
	c.of.shard.undecided.Held += n - c.weighed
	c.weighed = n
}

// decide looks at whole, the first bytes of a direction, which chunk ends.
func (c *carrier) decide(d flow.Direction, chunk reassembly.Chunk, whole []byte) {
	switch protocol := c.recognise(d, chunk, whole); protocol {
	case Undecided:
		c.count().Data(d, chunk)
		c.hold(d, chunk)
	case Unknown:
		c.count().Data(d, chunk)
		if c.lenient && !opaque.CarriesHTTP(chunk.Bytes) {
			// The middle of something. Its bytes can't be understood, the next
			// segment may start a message.
			c.skip(d, chunk)
		} else {
			c.become(Unknown)
		}
	default:
		c.settleOn(protocol, d, chunk, whole)
	}
}

// recognise tells the protocol by whole, which chunk ends: Undecided where what comes
// later, of either end, may tell more.
func (c *carrier) recognise(d flow.Direction, chunk reassembly.Chunk, whole []byte) Protocol {
	protocol := detect(whole, c.lenient)
	if protocol == Unknown && c.lenient && len(whole) > len(chunk.Bytes) {
		// What was held is the end of something, or the byte of a keep-alive
		// probe; this chunk starts a segment, so it may start a message.
		c.skip(d, *c.last(d))
		protocol = detect(chunk.Bytes, true)
	}
	if protocol == Unknown && !c.lenient {
		c.strange[d] = true
		if !c.strange[d.Reverse()] {
			protocol = Undecided
		}
	}
	if protocol == Undecided && c.full(len(chunk.Bytes)) {
		if http1.LooksLikeCutRequest(whole, c.lenient) {
			return HTTP1 // of which little came with each segment
		}
		c.of.shard.undecided.Cuts++
		return Unknown
	}
	return protocol
}

// settleOn takes the connection for one of protocol p, by whole, which chunk ends.
func (c *carrier) settleOn(p Protocol, d flow.Direction, chunk reassembly.Chunk, whole []byte) {
	c.reversed = c.asks(d, whole)
	if answers, _ := http1.LooksLikeResponse(whole); answers {
		c.claims[d] = false
	} else {
		c.claims[d.Reverse()] = false
	}
	c.turnTo(p, held{d: d, chunk: chunk})
}

// turnTo takes the connection for one of protocol p, by x, which that gets. The bytes of x stay
// the caller's.
func (c *carrier) turnTo(p Protocol, x held) {
	c.become(p)
	x.giveTo(c)
	if c.mayStaySilent() {
		x.giveTo(c.count())
		c.countOn()
	}
}

// skip passes over a chunk that can't be understood, and what is held of its direction.
// Its last byte is kept: what its sender had received by then tells a protocol which
// messages belong together.
func (c *carrier) skip(d flow.Direction, chunk reassembly.Chunk) {
	c.overheard[d] = c.overheard[d] || http1.HoldsRequestLine(chunk.Bytes)
	c.claims[d] = false
	c.holdLast(d, chunk)
}

// forget drops what is held of direction d.
func (c *carrier) forget(d flow.Direction) {
	c.claims[d] = false
	c.drop(d)
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

// become settles the protocol and hands over what was held.
func (c *carrier) become(p Protocol) {
	c.decided = true
	c.of.recount(p)
	c.parser = c.newParser(p)
	if c.parser != nil && p != Unknown { // whose counter has all that was held
		for i := range c.held {
			c.held[i].giveTo(c.parser)
		}
	}
	if c.untold == nil && !c.replaced {
		c.unknown = nil
	}
	c.backlog, c.preamble = backlog{}, nil
}

// newParser returns who takes a connection with protocol p from its first byte, nil if
// it is only counted.
func (c *carrier) newParser(p Protocol) reassembly.Handler {
	switch silent := c.of.shard.cfg.NoConnectionRecords; {
	case p == HTTP1:
		return c.newHTTP1()
	case p == HTTP2:
		return c.newHTTP2()
	case silent:
		return nil
	case p == TLS:
		return c.newTLS()
	}
	return c.unknown
}

// newHTTP2 returns who takes HTTP/2, and has it counted until it tells something.
func (c *carrier) newHTTP2() reassembly.Handler {
	s := c.of.shard
	parser := http2.New(&s.cfg.HTTP2, c.conn, s.recorder, c.named)
	if c.reversed {
		parser.Reverse()
	}
	if !s.cfg.NoConnectionRecords {
		c.untold = parser
		c.count().Name("http2", c.named)
	}
	if c.lenient {
		return parser
	}
	return &greeting{Conn: parser, of: c}
}

// newTLS returns who takes TLS.
func (c *carrier) newTLS() reassembly.Handler {
	parser := tls.New(c.conn, c.of.shard.recorder, c.named, &c.of.shard.tls)
	if c.preamble != nil {
		parser.Preamble(c.preamble.d, c.preamble.tally)
	}
	return parser
}

// newHTTP1 returns who takes HTTP/1. Where that isn't inside of a tunnel it takes
// the place of the connection.
func (c *carrier) newHTTP1() reassembly.Handler {
	s := c.of.shard
	if c.tunnels > 0 {
		parser := new(http1.Conn)
		parser.Init(s.http1, c.conn, c.named, c.tunnels)
		parser.StartAt(c.origin)
		c.tellOverheard(parser)
		return parser
	}
	x := s.turnHTTP(c)
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
	undecided := !c.decided
	c.gap(d, g)
	if undecided {
		c.weigh()
	}
}

func (c *carrier) gap(d flow.Direction, g reassembly.Gap) {
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
		c.turnTo(HTTP1, held{d: d, gap: true, lost: g})
	case http2.LooksLikeCutPreface(c.prefix(d, nil)):
		c.turnTo(HTTP2, held{d: d, gap: true, lost: g})
	default:
		c.count().Gap(d, g)
		c.waitBehind(d, g)
	}
}

// waitBehind has what follows g, which tells nothing of the protocol, be looked at on its
// own.
func (c *carrier) waitBehind(d flow.Direction, g reassembly.Gap) {
	if c.lenient && c.tunnels == 0 && len(c.held) < maxHeldChunks && http1.LooksLikeCutRequest(c.prefix(d, nil), false) {
		c.claims[d] = true
		c.cut(d)
		c.holdGap(d, g)
		return
	}
	c.lenient = true
	c.forget(d)
	if len(c.held) < maxHeldGaps {
		c.holdGap(d, g)
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
	c.told(0)
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
