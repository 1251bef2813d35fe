package tls

import (
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/opaque"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Conn is a connection that carries TLS from here on. Its record leaves when it
// closes.
type Conn struct {
	conn  *reassembly.Conn
	rec   *exchange.Recorder
	stats *Stats
	named *exchange.Connection // nil until the record, unless it goes on from something else

	client     flow.Direction
	rolesKnown bool
	closed     bool
	half       [2]half
	tally      exchange.Tally
	record     capstanv1.Tls
	answer     []byte // the first bytes of the server, if they are maybe no TLS
	held       int    // as Stats has it
}

// Stats counts what hellos wait for their ends, and those that are too long to.
type Stats struct {
	Unread uint64 // hellos longer than 16 KiB, of which nothing is told
	Held   int    // bytes, now
}

var _ reassembly.Handler = (*Conn)(nil)

// New returns the parser of connection conn. named is the connection's identity
// if it has told records before, else nil. The connections of one goroutine share stats.
func New(conn *reassembly.Conn, rec *exchange.Recorder, named *exchange.Connection, stats *Stats) *Conn {
	return &Conn{conn: conn, rec: rec, stats: stats, named: named, client: conn.Client, rolesKnown: conn.ClientKnown}
}

// Preamble tells what direction d, the client's, carried in front of TLS. It is called
// before any Data.
func (c *Conn) Preamble(d flow.Direction, t exchange.Tally) {
	c.client, c.rolesKnown, c.tally = d, true, t
}

// Data takes the next bytes of direction d.
func (c *Conn) Data(d flow.Direction, ch reassembly.Chunk) {
	c.tally.Data(d, &ch)
	h := &c.half[d]
	if !h.spoke {
		h.spoke = true
		record, _ := LooksLikeRecord(ch.Bytes)
		h.foreign = !record
	}
	if h.foreign {
		c.listen(d, ch.Bytes)
	}
	h.data(c, d, ch.Bytes)
	c.weigh()
}

// weigh has Stats tell what c holds.
func (c *Conn) weigh() {
	held := len(c.half[0].message) + len(c.half[1].message)
	c.stats.Held += held - c.held
	c.held = held
}

// listen takes what a direction says that may begin with something else than TLS. A server
// that does not expect that speaks its own protocol.
func (c *Conn) listen(d flow.Direction, b []byte) {
	if c.rolesKnown && d != c.client {
		c.answer = append(c.answer, b[:min(len(b), opaque.PrefixLen-len(c.answer))]...)
	}
}

// Gap takes the news that bytes of direction d were not captured. What is in the
// clear is at the beginning: where some of it is missing, no more is looked for.
func (c *Conn) Gap(d flow.Direction, g reassembly.Gap) {
	c.tally.Gap(d, &g)
	c.half[d].spoke, c.half[d].foreign = true, false
	c.half[d].blind()
	c.weigh()
}

// End takes the news that direction d is over, which the record doesn't need.
func (c *Conn) End(flow.Direction, int64) {}

// Close emits the record.
func (c *Conn) Close(_ int64, r reassembly.CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	c.stats.Held -= c.held
	c.guessRoles()
	x := c.tally.Record(capstanv1.Protocol_PROTOCOL_TLS, c.conn, c.client, r)
	x.Tls, x.Connection.LooksLike = &c.record, c.answered()
	for d := range c.half {
		c.record.EncryptedBytes += c.half[d].encrypted
	}
	c.rec.Emit(c.named.Identity(c.conn, c.client), x, exchange.Screened{})
}

// answered names what the server said to a hello, if that is no TLS.
func (c *Conn) answered() string {
	if record, more := LooksLikeRecord(c.answer); record || more || !c.record.ClientHello {
		return ""
	}
	return opaque.LooksLike(c.answer, false)
}

// hello takes a whole message of a handshake in the clear. It reports whether
// more may follow.
func (c *Conn) hello(d flow.Direction, kind byte, body []byte) (more bool) {
	switch kind {
	case clientHello:
		if !c.rolesKnown {
			c.client, c.rolesKnown = d, true
		}
		if d == c.client && parseClientHello(&c.record, body) {
			c.record.ClientHello = true
			return true // another may be asked for, and a client's alert may follow
		}
	case serverHello:
		if !c.rolesKnown {
			c.client, c.rolesKnown = d.Reverse(), true
		}
		if d != c.client && parseServerHello(&c.record, body) {
			return c.record.Version < version13 || c.record.HelloRetry && !c.record.ServerHello
		}
	default:
		return true // certificates and keys of TLS 1.2, which are passed over
	}
	return false
}

func (c *Conn) alert(description byte) {
	if !c.record.Alerted {
		c.record.Alerted, c.record.Alert = true, uint32(description)
	}
}
