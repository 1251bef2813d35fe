package engine

import (
	"strings"

	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// maxHeld bounds the bytes kept while the protocol of a connection is
// undecided: twice what it takes to recognise the longest start line.
const maxHeld = 16 << 10

// maxHeldChunks bounds the pieces that these bytes are held in: each costs
// memory of its own, and all are looked at again with each new one.
const maxHeldChunks = 256

// connection decides what a TCP connection carries and hands its bytes to
// that protocol. It is made with the first payload byte.
type connection struct {
	shard    *shard
	conn     *reassembly.Conn
	protocol Protocol
	parser   reassembly.Handler // of the protocol, nil for those that are only counted
	held     []held             // what came before the decision, in order
	heldLen  int
	// lenient: the connection's start was not seen, so bytes that make no
	// sense may be the middle of a message and a start may still come.
	lenient bool
}

// held is a chunk or gap that arrived before the protocol was known.
type held struct {
	d       flow.Direction
	gap     bool
	skipped bool             // chunk is the last byte of some that made no sense
	chunk   reassembly.Chunk // its Bytes are owned by this value
	lost    reassembly.Gap
}

func (s *shard) newConnection(c *reassembly.Conn) reassembly.Handler {
	s.protocols[Undecided].Connections++
	s.protocols[Undecided].Active++
	return &connection{shard: s, conn: c, lenient: c.Midstream}
}

// Data implements reassembly.Handler.
// Next: http1.Conn.Data or http2.Conn.Data.
func (c *connection) Data(d flow.Direction, chunk reassembly.Chunk) {
	c.shard.protocols[c.protocol].Bytes += uint64(len(chunk.Bytes))
	switch {
	case c.parser != nil:
		c.parser.Data(d, chunk)
	case c.protocol == Undecided:
		c.decide(d, chunk)
	}
}

// decide looks at the first bytes of a direction.
func (c *connection) decide(d flow.Direction, chunk reassembly.Chunk) {
	protocol := detect(c.prefix(d, chunk.Bytes), c.lenient)
	if protocol == Undecided && (c.heldLen+len(chunk.Bytes) > maxHeld || len(c.held) >= maxHeldChunks) {
		protocol = Unknown
	}
	if protocol == Unknown && c.lenient {
		// The middle of something. Its bytes can't be understood, the next
		// segment may start a message.
		c.skip(d, chunk)
		return
	}
	if protocol == Undecided {
		c.hold(d, chunk)
		return
	}
	c.become(protocol)
	if c.parser != nil {
		c.parser.Data(d, chunk)
	}
}

// prefix returns the bytes of d held so far followed by b.
func (c *connection) prefix(d flow.Direction, b []byte) []byte {
	var whole []byte
	for i := range c.held {
		if h := &c.held[i]; h.d == d && !h.gap && !h.skipped {
			whole = append(whole, h.chunk.Bytes...)
		}
	}
	if whole == nil {
		return b
	}
	return append(whole, b...)
}

func (c *connection) hold(d flow.Direction, chunk reassembly.Chunk) {
	chunk.Bytes = append([]byte(nil), chunk.Bytes...) // copied because the frame's buffer is reused
	c.held = append(c.held, held{d: d, chunk: chunk})
	c.heldLen += len(chunk.Bytes)
}

// forget drops what is held of direction d.
func (c *connection) forget(d flow.Direction) {
	kept := c.held[:0]
	for _, h := range c.held {
		if h.d == d && !h.gap {
			c.heldLen -= len(h.chunk.Bytes)
			continue
		}
		kept = append(kept, h)
	}
	c.held = kept
}

// skip passes over a chunk that can't be understood. Its last byte is kept:
// what its sender had received by then tells a protocol which messages belong
// together.
func (c *connection) skip(d flow.Direction, chunk reassembly.Chunk) {
	c.forget(d)
	last := len(chunk.Bytes) - 1
	chunk.Bytes, chunk.Offset = chunk.Bytes[last:], chunk.Offset+int64(last)
	c.hold(d, chunk)
	c.held[len(c.held)-1].skipped = true
}

// become settles the protocol and hands over what was held.
func (c *connection) become(p Protocol) {
	s := c.shard
	c.recount(p)
	switch p {
	case HTTP1:
		cfg := s.cfg.HTTP1
		cfg.Upgrade = c.upgrade
		c.parser = http1.New(cfg, c.conn, s.recorder)
	case HTTP2:
		c.parser = http2.New(s.cfg.HTTP2, c.conn, s.recorder)
	}
	if c.parser != nil {
		for i := range c.held {
			if h := &c.held[i]; h.gap {
				c.parser.Gap(h.d, h.lost)
			} else {
				c.parser.Data(h.d, h.chunk)
			}
		}
	}
	c.held, c.heldLen = nil, 0
}

// recount counts the connection under protocol p from now on.
func (c *connection) recount(p Protocol) {
	protocols := &c.shard.protocols
	protocols[c.protocol].Connections--
	protocols[c.protocol].Active--
	protocols[p].Connections++
	protocols[p].Active++
	c.protocol = p
}

// upgrade takes a change from HTTP/1 to another protocol: to HTTP/2 without TLS
// (RFC 7540 §3.2) if that was agreed on.
func (c *connection) upgrade(u *http1.Upgrade) reassembly.Handler {
	if !strings.EqualFold(field(u.Response.Headers, "Upgrade"), "h2c") {
		return nil
	}
	c.recount(HTTP2)
	s := c.shard
	request, settings := u.Request, field(u.Request.GetHeaders(), "HTTP2-Settings")
	if settings == "" {
		request = nil // it did not ask for this
	}
	return http2.NewUpgraded(s.cfg.HTTP2, c.conn, s.recorder, u.Identity, u.Client, request, settings)
}

// field returns the value of the first field of that name, or nothing.
func field(fields []*capstanv1.Header, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Gap implements reassembly.Handler.
func (c *connection) Gap(d flow.Direction, g reassembly.Gap) {
	switch {
	case c.parser != nil:
		c.parser.Gap(d, g)
	case c.protocol == Undecided:
		c.lenient = true
		c.forget(d)
		if len(c.held) < 16 { // more of them say nothing new
			c.held = append(c.held, held{d: d, gap: true, lost: g})
		}
	}
}

// End implements reassembly.Handler.
func (c *connection) End(d flow.Direction, time int64) {
	if c.parser != nil {
		c.parser.End(d, time)
	}
}

// Close implements reassembly.Handler.
func (c *connection) Close(time int64, r reassembly.CloseReason) {
	c.shard.protocols[c.protocol].Active--
	if c.parser != nil {
		c.parser.Close(time, r)
	}
}
