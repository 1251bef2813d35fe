package opaque

import (
	"capstan/interceptor/internal/exchange"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Conn is a connection whose protocol isn't known. Its record leaves when it
// closes.
type Conn struct {
	conn     *reassembly.Conn
	rec      *exchange.Recorder
	named    *exchange.Connection
	tally    exchange.Tally
	prefix   [PrefixLen]byte // of what was sent first
	have     int
	spoke    flow.Direction // who spoke first
	missed   bool           // the first bytes are not the first
	preamble bool           // a header of the PROXY protocol came first, from client
	client   flow.Direction // if preamble
	closed   bool
	name     string // of the protocol, if somebody knows better than the first bytes tell
}

var _ reassembly.Handler = (*Conn)(nil)

// New returns the counter of connection conn. named is the connection's identity
// if it has told records before, else nil.
func New(conn *reassembly.Conn, rec *exchange.Recorder, named *exchange.Connection) *Conn {
	return &Conn{conn: conn, rec: rec, named: named}
}

// Data takes the next bytes of direction d.
func (c *Conn) Data(d flow.Direction, ch reassembly.Chunk) {
	if c.have == 0 {
		c.spoke = d
	}
	if c.spoke == d && c.have < len(c.prefix) && !c.missed {
		c.have += copy(c.prefix[c.have:], ch.Bytes)
	}
	c.tally.Data(d, &ch)
}

// BeginPreamble tells that what direction d, the client's, has sent is of a header of the
// PROXY protocol. named is the identity that the connection has by it.
func (c *Conn) BeginPreamble(d flow.Direction, named *exchange.Connection) {
	c.preamble, c.client, c.named = true, d, named
	if c.spoke == d {
		c.have = 0
	}
}

// Preamble takes more bytes of that header; ends tells whether no more of their segment
// follow.
func (c *Conn) Preamble(ch *reassembly.Chunk, ends bool) { c.tally.Part(c.client, ch, ends) }

// Name tells what the connection carries, and the identity that it has by now.
func (c *Conn) Name(protocol string, named *exchange.Connection) { c.name, c.named = protocol, named }

// Gap takes the news that bytes of direction d were not captured.
func (c *Conn) Gap(d flow.Direction, g reassembly.Gap) {
	c.missed = true
	c.tally.Gap(d, &g)
}

// End takes the news that direction d is over, which the record doesn't need.
func (c *Conn) End(flow.Direction, int64) {}

// Silent reports whether no byte was captured.
func (c *Conn) Silent() bool { return c.tally.Bytes(0)+c.tally.Bytes(1) == 0 }

// Close emits the record.
func (c *Conn) Close(_ int64, r reassembly.CloseReason) { c.CloseAs(c.Client(), r) }

// Client returns the direction that is most likely the client's.
func (c *Conn) Client() flow.Direction {
	switch {
	case c.preamble:
		return c.client
	case !c.conn.ClientKnown:
		return c.spoke // nobody knows better
	}
	return c.conn.Client
}

// CloseAs is Close for who knows better who the client was.
func (c *Conn) CloseAs(client flow.Direction, r reassembly.CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	x := c.tally.Record(capstanv1.Protocol_PROTOCOL_OTHER, c.conn, client, r)
	x.Connection.LooksLike = c.looksLike(client)
	c.rec.Emit(c.named.Identity(c.conn, client), x, exchange.Screened{})
}

func (c *Conn) looksLike(client flow.Direction) string {
	switch {
	case c.name != "":
		return c.name
	case c.preamble && c.have == 0 && !c.missed:
		return "proxy-protocol" // and nothing behind it
	}
	return LooksLike(c.prefix[:c.have], c.spoke == client)
}
