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
	prefix   [prefixLen]byte // of what was sent first
	have     int
	spoke    flow.Direction // who spoke first
	missed   bool           // the first bytes are not the first
	preamble bool           // a header of the PROXY protocol came first, from client
	client   flow.Direction // if preamble
	closed   bool
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

// Gap takes the news that bytes of direction d were not captured.
func (c *Conn) Gap(d flow.Direction, g reassembly.Gap) {
	c.missed = true
	c.tally.Gap(d, &g)
}

// End takes the news that direction d is over, which the record doesn't need.
func (c *Conn) End(flow.Direction, int64) {}

// Close emits the record.
func (c *Conn) Close(_ int64, r reassembly.CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	client := c.conn.Client
	switch {
	case c.preamble:
		client = c.client
	case !c.conn.ClientKnown:
		client = c.spoke // nobody knows better
	}
	x := c.tally.Record(capstanv1.Protocol_PROTOCOL_OTHER, c.conn, client, r)
	x.Connection.LooksLike = LooksLike(c.prefix[:c.have], c.spoke == client)
	if c.preamble && c.have == 0 && !c.missed {
		x.Connection.LooksLike = "proxy-protocol" // and nothing behind it
	}
	c.rec.Emit(c.named.Identity(c.conn, client), x, exchange.Screened{})
}
