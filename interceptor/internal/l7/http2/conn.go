package http2

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Conn parses one connection. It implements [reassembly.Handler] and belongs to
// the goroutine of its assembler.
type Conn struct {
	cfg    *Config
	shared *Shared
	conn   *reassembly.Conn
	rec    *exchange.Recorder
	named  *exchange.Connection // nil until the first record

	client     flow.Direction
	rolesKnown bool
	closed     bool
	allOpened  bool  // the client opened no stream beyond lastID
	openBodies bool  // a request that isn't followed may have trailers
	notCalls   bool  // a stream was no call of gRPC
	pushOff    bool  // the client never allowed promises
	cancelled  uint8 // streams that the client reset, of which the server may send something yet
	half       [2]half
	refusals   [2]refusal // by the direction of the GOAWAY
	lastID     uint32     // the highest of a stream that the client opened, 0 if none was seen
	opened     uint32     // the highest of a stream of which a header block came from the client
	lastIDAt   int64      // how many bytes had gone by in both directions when lastID came

	over        uint32 // streams that the client opened and the server sends nothing of any more
	cancelledAt uint32 // lastID when the last of those that are cancelled was

	streams
}

var _ reassembly.Handler = (*Conn)(nil)

// New returns the parser of connection conn, which hands its records to rec.
// named is the connection's identity if it has told records before, else nil.
// cfg belongs to all connections made with it.
func New(cfg *Config, conn *reassembly.Conn, rec *exchange.Recorder, named *exchange.Connection) *Conn {
	cfg.setDefaults()
	c := &Conn{cfg: cfg, shared: cfg.Shared, conn: conn, rec: rec, named: named}
	for d := range c.half {
		h := &c.half[d]
		h.c, h.dir, h.maxFrame = c, flow.Direction(d), defaultMaxFrame
		h.credit = firstCredit
		h.state = statePreface
		if conn.Midstream {
			h.state, h.search = stateResync, new(search)
		}
		if named != nil {
			h.offset = -1 // it starts anywhere
		}
	}
	if conn.ClientKnown {
		c.setClient(conn.Client)
	}
	return c
}

// Origin is the request of HTTP/1 that an upgrade to h2c makes that of stream 1.
type Origin struct {
	Request  *capstanv1.HttpRequest // nil if it was not seen
	Flaws    exchange.Flaws         // its own
	Settings string                 // the value of its HTTP2-Settings field
}

// NewUpgraded returns the parser of what follows an upgrade of HTTP/1 to h2c
// (RFC 7540 §3.2), which from asked for. named is the connection's identity, whose
// count of records goes on. Data goes on at any offset.
func NewUpgraded(cfg *Config, conn *reassembly.Conn, rec *exchange.Recorder, named *exchange.Connection, client flow.Direction, from Origin) *Conn {
	c := New(cfg, conn, rec, named)
	for d := range c.half {
		c.half[d].state, c.half[d].search, c.half[d].offset = statePreface, nil, -1
	}
	c.setClient(client)
	if b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(from.Settings, "=")); err == nil && len(b)%settingLen == 0 {
		for ; len(b) > 0; b = b[settingLen:] {
			c.half[client].setting(b)
		}
	}
	if from.Request != nil {
		s := c.open(1)
		s.flaws |= from.Flaws
		c.upgraded(s, from.Request)
	}
	return c
}

// setClient fixes the roles. A server sends no preface.
func (c *Conn) setClient(d flow.Direction) {
	c.client, c.rolesKnown = d, true
	if s := &c.half[d.Reverse()]; s.state == statePreface && s.have == 0 {
		s.begin()
	}
}

// Reverse tells that the end that was connected to sends the client's preface. It is
// called before any Data.
func (c *Conn) Reverse() {
	for d := range c.half {
		c.half[d].state = statePreface
	}
	c.setClient(c.client.Reverse())
}

// Client returns the direction of the client, if it is known.
func (c *Conn) Client() (d flow.Direction, ok bool) { return c.client, c.rolesKnown }

func (c *Conn) roleOf(d flow.Direction) role {
	switch {
	case !c.rolesKnown:
		return roleUnknown
	case d == c.client:
		return roleClient
	}
	return roleServer
}

// identity names the connection when its first record leaves: what the
// assembler knows of it then is what the ids are made of.
func (c *Conn) identity() *exchange.Connection {
	c.named = c.named.Identity(c.conn, c.client)
	return c.named
}

// Identity returns the identity of the connection, by what is known of it now.
func (c *Conn) Identity() *exchange.Connection { return c.identity() }

// Told reports whether a record has left.
func (c *Conn) Told() bool { return c.named.Told() }

// Data takes the next bytes of direction d.
// Next: half.data, and exchange.Recorder.Emit when an exchange is complete.
func (c *Conn) Data(d flow.Direction, ch reassembly.Chunk) {
	h := &c.half[d]
	if h.offset != ch.Offset && h.offset >= 0 && h.state < stateResync {
		h.lost() // the caller kept what came before to himself
	}
	h.offset, h.time, h.acked = ch.Offset, ch.Time, ch.Acked
	h.credit = min(h.credit+int32(min(len(ch.Bytes), maxCredit)), maxCredit)
	h.data(ch.Bytes, true)
	h.searched()
	c.tidy()
}

// Gap takes the news that bytes of direction d were not captured.
func (c *Conn) Gap(d flow.Direction, g reassembly.Gap) {
	if g.Len > 0 {
		h := &c.half[d]
		h.time = g.Time
		h.gap(g.Len)
		h.offset = g.Offset + g.Len
		h.searched()
		c.tidy()
	}
}

// End takes the news that direction d is over.
func (c *Conn) End(d flow.Direction, _ int64) {
	h := &c.half[d]
	h.abandonBlock()
	h.give(stateDead)
	c.tidy()
}

// Close emits whatever is left.
func (c *Conn) Close(_ int64, r reassembly.CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	for d := range c.half {
		c.half[d].abandonBlock()
		c.half[d].give(stateDead)
		c.half[d].untable()
	}
	c.closeStreams(exchange.CloseFlaw(r))
}

// setting takes one setting, which binds what the other end sends. What it makes of that of
// HPACK's table it tells in its header blocks (RFC 7541 §4.2), of which one may be lost.
func (h *half) setting(b []byte) {
	peer := &h.c.half[h.dir.Reverse()]
	value := binary.BigEndian.Uint32(b[2:])
	switch binary.BigEndian.Uint16(b) {
	case settingTableSize:
		peer.hpack.Limit(value)
	case settingMaxFrameSize:
		peer.maxFrame = min(max(value, defaultMaxFrame), maxFrameLimit)
	case settingEnablePush:
		// It is certain only of what answers a request behind it.
		h.c.pushOff = value == 0 && h.c.opened == 0 && h.c.roleOf(h.dir) == roleClient
	case settingEnableConnect:
		h.enablesConnect = value == 1
	}
}
