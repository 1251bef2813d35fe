package http1

import (
	"capstan/interceptor/internal/exchange"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

// Conn parses one connection. It implements [reassembly.Handler] and belongs to
// the goroutine of its assembler.
type Conn struct {
	cfg   *Config
	conn  *reassembly.Conn
	rec   *exchange.Recorder
	named *exchange.Connection // nil until the first record

	client     flow.Direction
	rolesKnown bool
	closed     bool
	half       [2]half
	upgrader   Upgrader
	next       reassembly.Handler // takes both directions behind an upgrade

	pairing
}

var _ reassembly.Handler = (*Conn)(nil)

// New returns the parser of connection conn, which hands its records to rec.
// named is the connection's identity if it has told records before, else nil;
// upgrader may be nil. cfg belongs to all connections made with it.
func New(cfg *Config, conn *reassembly.Conn, rec *exchange.Recorder, named *exchange.Connection, upgrader Upgrader) *Conn {
	cfg.setDefaults()
	c := cfg.Shared.conn()
	c.cfg, c.conn, c.rec, c.named, c.upgrader = cfg, conn, rec, named, upgrader
	for d := range c.half {
		h := &c.half[d]
		h.c, h.dir = c, flow.Direction(d)
		h.prior, h.lastAcked = -1, -1
		h.follows = !conn.Midstream
		if conn.Midstream || !conn.ClientKnown {
			h.state = stateResync
		}
	}
	if conn.ClientKnown {
		c.setClient(conn.Client)
	}
	c.pairing.init(conn.Midstream)
	return c
}

// setClient fixes the roles.
func (c *Conn) setClient(d flow.Direction) {
	c.client, c.rolesKnown = d, true
	c.half[d].request = true
	c.half[d.Reverse()].request = false
}

func (c *Conn) clientHalf() *half { return &c.half[c.client] }
func (c *Conn) serverHalf() *half { return &c.half[c.client.Reverse()] }

// identity names the connection when its first record leaves: what the
// assembler knows of it then is what the ids are made of.
func (c *Conn) identity() *exchange.Connection {
	if c.named == nil {
		c.named = exchange.NewConnection(exchange.IdentityOf(c.conn, c.client))
	}
	return c.named
}

// Data takes the next bytes of direction d.
// Next: half.data, and exchange.Recorder.Emit when an exchange is complete.
func (c *Conn) Data(d flow.Direction, ch reassembly.Chunk) { c.half[d].data(&ch) }

// Gap takes the news that bytes of direction d were not captured.
func (c *Conn) Gap(d flow.Direction, g reassembly.Gap) {
	if g.Len > 0 {
		c.half[d].gap(&g)
	}
}

// End takes the news that direction d is over.
func (c *Conn) End(d flow.Direction, time int64) {
	h := &c.half[d]
	if h.state == stateTunnel && c.next != nil {
		c.next.End(d, time)
	}
	if h.state == stateUntilClose {
		h.endMessage(true)
	} else {
		h.abort(exchange.CloseFlaw(reassembly.CloseFIN))
	}
	h.give(stateDead)
}

// Close emits whatever is left.
func (c *Conn) Close(time int64, r reassembly.CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	f := exchange.CloseFlaw(r)
	for d := range c.half {
		c.half[d].abort(f)
		c.half[d].give(stateDead)
	}
	c.pairing.close(c, r)
	if c.next != nil {
		c.next.Close(time, r)
	}
	c.cfg.Shared.closed(c)
}
