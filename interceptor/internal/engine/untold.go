package engine

import (
	"capstan/interceptor/internal/l7/opaque"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

// A connection with HTTP that no exchange comes of (none was made, or too much is
// missing) is told as one whose protocol is unknown is, since nothing may go by unseen.
// So it is counted like one, until it has told something. Connections with HTTP/1 nearly
// always do, by their first segment; the others have a handler of their own meanwhile.

// teller is the parser of such a connection.
type teller interface {
	Told() bool
	Client() (d flow.Direction, ok bool)
}

// closeUntold tells of a connection that is over, if its parser has not.
func closeUntold(counted *opaque.Conn, t teller, r reassembly.CloseReason) {
	if t.Told() {
		return
	}
	client, ok := t.Client()
	if !ok {
		client = counted.Client()
	}
	counted.CloseAs(client, r)
}

// untold is a connection with HTTP/1 that may never tell anything.
type untold struct {
	*httpConnection
	conn    *reassembly.Conn
	counted *opaque.Conn
}

// mayStaySilent reports whether c has become HTTP/1 and tells nothing by what it has seen.
func (c *carrier) mayStaySilent() bool {
	if !c.replaced || c.of.shard.cfg.NoConnectionRecords {
		return false
	}
	x, ok := c.conn.Handler.(*httpConnection)
	return ok && !x.Told() && !x.Began()
}

// countOn has what c has counted counted on.
func (c *carrier) countOn() {
	c.unknown.Name("http", c.named)
	c.conn.Handler = &untold{c.conn.Handler.(*httpConnection), c.conn, c.unknown}
}

// Data implements reassembly.Handler.
// Next: httpConnection.Data.
func (u *untold) Data(d flow.Direction, chunk reassembly.Chunk) {
	u.counted.Data(d, chunk)
	u.httpConnection.Data(d, chunk)
	if u.Told() {
		u.conn.Handler = u.httpConnection
	}
}

// Gap implements reassembly.Handler.
func (u *untold) Gap(d flow.Direction, g reassembly.Gap) {
	u.counted.Gap(d, g)
	u.httpConnection.Gap(d, g)
}

// Close implements reassembly.Handler.
func (u *untold) Close(time int64, r reassembly.CloseReason) {
	u.Conn.Close(time, r)
	closeUntold(u.counted, u, r)
	u.httpConnection.Close(time, r)
}
