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
	conn   *reassembly.Conn
	rec    *exchange.Recorder
	named  *exchange.Connection
	tally  exchange.Tally
	prefix [prefixLen]byte // of what was sent first
	have   int
	spoke  flow.Direction // who spoke first
	missed bool           // the first bytes are not the first
	closed bool
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
	if !c.conn.ClientKnown {
		client = c.spoke // nobody knows better
	}
	x := c.tally.Record(capstanv1.Protocol_PROTOCOL_OTHER, c.conn, client, r)
	x.Connection.LooksLike = LooksLike(c.prefix[:c.have], c.spoke == client)
	if c.named == nil {
		c.named = exchange.NewConnection(c.conn, client)
	}
	c.rec.Emit(c.named, x, exchange.Screened{})
}
