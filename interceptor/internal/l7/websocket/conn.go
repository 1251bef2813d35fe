package websocket

import (
	"slices"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Conn is a connection that carries a WebSocket from here on. Its record leaves
// when it closes.
type Conn struct {
	conn    *reassembly.Conn
	rec     *exchange.Recorder
	named   *exchange.Connection
	client  flow.Direction
	session *Session
	tally   exchange.Tally
	closed  bool
	guessed bool // that this is a WebSocket, by its frames
}

var _ reassembly.Handler = (*Conn)(nil)

// NewConn returns the parser of what follows an upgrade. named is the
// connection's identity, whose count of records goes on.
func NewConn(cfg Config, a Agreement, conn *reassembly.Conn, rec *exchange.Recorder, named *exchange.Connection, client flow.Direction) *Conn {
	a.ContentLimit = rec.BodyLimit()
	return &Conn{conn: conn, rec: rec, named: named, client: client, session: New(cfg, a)}
}

// Guess tells that the upgrade was not seen, and more of the server may be missing: what
// follows looks like frames. It is called before any Data.
func (c *Conn) Guess() {
	c.guessed = true
	c.session.Gap(false, 0)
}

// Data takes the next bytes of direction d.
func (c *Conn) Data(d flow.Direction, ch reassembly.Chunk) {
	c.tally.Data(d, &ch)
	c.session.Data(d == c.client, ch.Time, ch.Bytes)
}

// Gap takes the news that bytes of direction d were not captured.
func (c *Conn) Gap(d flow.Direction, g reassembly.Gap) {
	c.tally.Gap(d, &g)
	c.session.Gap(d == c.client, g.Len)
}

// End takes the news that direction d is over, which the record doesn't need.
func (c *Conn) End(flow.Direction, int64) {}

// Close emits the record.
func (c *Conn) Close(time int64, r reassembly.CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	c.tally.Over(time)
	x := c.tally.Record(capstanv1.Protocol_PROTOCOL_WEBSOCKET, c.conn, c.client, r)
	switch f := exchange.CloseFlaw(r); {
	case c.session.Closed():
		// Neither end says more (RFC 6455 §5.5.1), however the connection ends.
		x.Flaws = slices.DeleteFunc(x.Flaws, func(g capstanv1.Flaw) bool { return g == f })
	case (r != reassembly.CloseFIN || c.session.Unfinished()) && !slices.Contains(x.Flaws, f):
		x.Flaws = append(x.Flaws, f) // what an end had yet to say is not known
	}
	x.Complete = len(x.Flaws) == 0 && !c.conn.Midstream
	x.Websocket = c.session.Record()
	if x.Websocket.Client.MalformedFrames+x.Websocket.Server.MalformedFrames > 0 {
		x.Flaws = append(x.Flaws, capstanv1.Flaw_FLAW_MALFORMED)
	}
	if c.guessed {
		x.Flaws = append(x.Flaws, capstanv1.Flaw_FLAW_PLACE_GUESSED)
	}
	c.rec.Emit(c.named, x, exchange.Screened{})
}
