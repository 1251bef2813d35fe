package engine

import (
	"bytes"
	"math"
	"strconv"

	"capstan/interceptor/internal/l7/socks"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// negotiation is what may be the handshake of SOCKS that a connection, or the tunnel inside
// of one, begins with.
type negotiation struct {
	*socks.Handshake
	client  flow.Direction
	held    []held // all of it, in order: it may be something else
	heldLen int
}

// socksTunnel is what a handshake of SOCKS has made. It is untold as long as nothing is told
// of what is in it.
type socksTunnel struct {
	carrier
	before uint64 // records of the connection, before
}

// Told implements teller.
func (t *socksTunnel) Told() bool { return t.named.Records() > t.before }

// Client implements teller.
func (t *socksTunnel) Client() (d flow.Direction, ok bool) { return t.client, true }

// Data implements reassembly.Handler. Who had not received all of the handshake had received
// nothing of what is in the tunnel.
// Next: carrier.Data.
func (t *socksTunnel) Data(d flow.Direction, chunk reassembly.Chunk) {
	if chunk.Acked >= 0 {
		chunk.Acked = max(chunk.Acked, t.start[d.Reverse()])
	}
	t.carrier.Data(d, chunk)
}

// Close implements reassembly.Handler. Of a tunnel in which nothing was seen, only that it
// was made is told.
func (t *socksTunnel) Close(time int64, r reassembly.CloseReason) {
	if t.parser != nil || t.negotiation != nil || t.unknown != nil && !t.unknown.Silent() {
		t.carrier.Close(time, r)
	}
}

// mayNegotiate reports whether whole, the first bytes of direction d, which chunk ends, may
// be the first ones of a handshake.
func (c *carrier) mayNegotiate(d flow.Direction, chunk *reassembly.Chunk, whole []byte) bool {
	return socks.Begins(whole[0]) && len(whole) == len(chunk.Bytes) && !c.noSocks && c.tunnels < maxTunnels &&
		(!c.clientKnown || d == c.client) && len(c.prefix(d.Reverse(), nil)) == 0
}

// negotiate takes chunk as part of a handshake.
func (c *carrier) negotiate(d flow.Direction, chunk reassembly.Chunk) {
	n := c.negotiation
	if n == nil {
		n = &negotiation{Handshake: socks.New(c.lenient), client: d}
		c.negotiation = n
	}
	chunk.Bytes = bytes.Clone(chunk.Bytes) // the frame's buffer is reused
	n.held = append(n.held, held{d: d, chunk: chunk})
	n.heldLen += len(chunk.Bytes)
	if d == n.client {
		n.Client(chunk.Bytes, chunk.Offset)
	} else {
		n.Server(chunk.Bytes, chunk.Offset)
	}
	if !c.clientKnown && n.Version() == 0 {
		c.negotiateNoMore() // half a message of a client may as well be one of a proxy
		return
	}
	c.conclude()
}

// negotiateGap takes g as part of a handshake.
func (c *carrier) negotiateGap(d flow.Direction, g reassembly.Gap) {
	n := c.negotiation
	n.held = append(n.held, held{d: d, gap: true, lost: g})
	if d == n.client {
		n.ClientGap(g.Offset, g.Len)
	} else {
		n.ServerGap(g.Offset, g.Len)
	}
	c.conclude()
}

// conclude goes on as the handshake tells.
func (c *carrier) conclude() {
	n := c.negotiation
	full := n.heldLen > maxHeld || len(n.held) >= maxHeldChunks
	switch v := n.Verdict(); {
	case v == socks.None, v == socks.Pending && full && !n.Proven():
		c.negotiateNoMore()
	case v == socks.Made:
		c.enterSocks()
	case v == socks.Ended, full:
		c.countNegotiation()
		c.become(Unknown)
	}
}

// settle ends a handshake that the end of the connection found in progress.
func (c *carrier) settle() {
	n := c.negotiation
	if n == nil {
		return
	}
	n.Settle()
	switch n.Verdict() {
	case socks.None:
		c.negotiateNoMore()
	case socks.Made:
		c.enterSocks()
	default:
		c.countNegotiation()
	}
}

// negotiateNoMore takes what was held as what it would be without SOCKS.
func (c *carrier) negotiateNoMore() {
	n := c.negotiation
	c.negotiation, c.noSocks = nil, true
	for i := range n.held {
		h := &n.held[i]
		if u, ok := c.conn.Handler.(*untold); ok && c.replaced {
			h.giveTo(u.counted)
		}
		h.giveTo(c)
	}
}

// countNegotiation counts what was held as what makes no sense, but for its name.
func (c *carrier) countNegotiation() {
	n := c.negotiation
	c.negotiation = nil
	for i := range n.held {
		n.held[i].giveTo(c.count())
	}
	if n.Proven() {
		c.tellSocks(n)
	}
}

// enterSocks goes over to the tunnel that was made.
func (c *carrier) enterSocks() {
	n := c.negotiation
	c.negotiation = nil
	c.tellSocks(n)
	t := &socksTunnel{before: c.named.Records()}
	t.carrier = carrier{of: c.of, conn: c.conn, named: c.named, tunnels: c.tunnels + 1, client: n.client, clientKnown: true, entered: [2]bool{true, true}}
	t.start[n.client], t.start[n.client.Reverse()] = n.Starts()
	t.origin = int32(min(t.start[n.client], math.MaxInt32))
	c.decided, c.parser, c.untold = true, t, t
	c.backlog, c.preamble = backlog{}, nil
	for i := range n.held {
		h := &n.held[i]
		h.giveTo(c.unknown)
		if h.cut(t.start[h.d]) {
			h.giveTo(t)
		}
	}
	if t.Told() || c.of.shard.cfg.NoConnectionRecords {
		c.untold, c.unknown = nil, nil
	}
}

// tellSocks has records tell what the handshake was about.
func (c *carrier) tellSocks(n *negotiation) {
	told := &capstanv1.Socks{Version: uint32(n.Version()), Command: uint32(n.Command()), Target: n.Target()}
	if code, ok := n.Reply(); ok {
		told.Replied, told.Reply = true, uint32(code)
	}
	c.named = c.named.Through(told)
	c.count().Name("socks"+strconv.Itoa(n.Version()), c.named)
}
