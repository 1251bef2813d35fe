package http1

import (
	"capstan/interceptor/internal/exchange"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Conn parses one connection. It implements [reassembly.Handler] and belongs to
// the goroutine of its assembler; Init makes it usable.
//
// Most connections are idle most of the time, so it has only what has to be known
// between two exchanges; what is needed inside of one is lent by Shared.
type Conn struct {
	shared *Shared
	conn   *reassembly.Conn
	named  *exchange.Connection // nil until the first record
	own    exchange.Connection  // what named is unless told otherwise
	next   reassembly.Handler   // takes both directions behind an upgrade

	client     flow.Direction
	rolesKnown bool
	closed     bool
	tunnels    uint8 // that are around it
	origin     int32 // where the first request starts, if it is seen

	half [2]half
	pairing
}

var _ reassembly.Handler = (*Conn)(nil)

// Init makes c the parser of connection conn, which s belongs to. named is the
// connection's identity if it has told records before, else nil; tunnels is for
// the Upgrader.
func (c *Conn) Init(s *Shared, conn *reassembly.Conn, named *exchange.Connection, tunnels uint8) {
	*c = Conn{}
	c.shared, c.conn, c.named, c.tunnels = s, conn, named, tunnels
	for d := range c.half {
		h := &c.half[d]
		h.c, h.dir = c, flow.Direction(d)
		h.lastAcked = -1
		h.follows = !conn.Midstream
		if conn.Midstream || !conn.ClientKnown {
			h.state = stateResync
		}
	}
	if conn.ClientKnown {
		c.setClient(conn.Client)
	}
	c.pairing.init(conn.Midstream)
}

// setClient fixes the roles.
func (c *Conn) setClient(d flow.Direction) {
	c.client, c.rolesKnown = d, true
	c.half[d].request = true
	c.half[d.Reverse()].request = false
}

// Reverse tells that the end that was connected to sends the requests. It is
// called before any Data.
func (c *Conn) Reverse() { c.setClient(c.client.Reverse()) }

// Asks tells that direction d sends the requests, of a connection whose roles are not
// known. It is called before any Data.
func (c *Conn) Asks(d flow.Direction) { c.setClient(d) }

// PrefaceRequest is what a client of HTTP/2 begins with (RFC 9113 §3.4), as far as HTTP/1 takes it for a request.
const PrefaceRequest = "PRI * HTTP/2.0\r\n\r\n"

// AsksByPreface tells that what the client begins with is PrefaceRequest, and that the server
// has answered it in HTTP/1. It is called before any Data.
func (c *Conn) AsksByPreface() { c.clientHalf().preface = true }

// StartAt tells that the requests start at that offset, behind something else. It is
// called before any Data.
func (c *Conn) StartAt(offset int32) { c.origin = offset }

// Overhear tells that what was kept back of direction d before its first Data has a
// request line inside of a segment: see [HoldsRequestLine].
func (c *Conn) Overhear(d flow.Direction) { c.half[d].overheard = true }

func (c *Conn) clientHalf() *half { return &c.half[c.client] }
func (c *Conn) serverHalf() *half { return &c.half[c.client.Reverse()] }

// identity names the connection when its first record leaves: what the
// assembler knows of it then is what the ids are made of.
func (c *Conn) identity() *exchange.Connection {
	if c.named == nil {
		c.named = &c.own
	}
	return c.named.Identity(c.conn, c.client)
}

// Told reports whether a record has left.
func (c *Conn) Told() bool { return c.named.Told() }

// Began reports whether a message has begun that a record will tell of: its first line is
// there. None tells of an interim response alone.
func (c *Conn) Began() bool {
	return c.inFlight != nil && (len(c.pending) > 0 || c.group != nil && (c.group.rec.Request != nil || c.group.answer.final))
}

// Client returns the direction of the client, if it is known.
func (c *Conn) Client() (d flow.Direction, ok bool) { return c.client, c.rolesKnown }

// Data takes the next bytes of direction d.
func (c *Conn) Data(d flow.Direction, ch reassembly.Chunk) { c.Take(d, &ch) }

// Take is Data for who has the chunk in memory: it is not copied, since a copy of a struct
// written just now waits for its parts.
// Next: half.data, and exchange.Recorder.Emit when an exchange is complete.
func (c *Conn) Take(d flow.Direction, ch *reassembly.Chunk) {
	c.enter()
	c.half[d].data(ch)
	c.weigh()
	if len(c.pending) == 0 && c.group == nil {
		c.leave()
	}
}

// Gap takes the news that bytes of direction d were not captured.
func (c *Conn) Gap(d flow.Direction, g reassembly.Gap) {
	if g.Len > 0 {
		c.enter()
		c.half[d].gap(&g)
		c.weigh()
		c.leave()
	}
}

// End takes the news that direction d is over.
func (c *Conn) End(d flow.Direction, time int64) {
	h := &c.half[d]
	if c.inFlight == nil && h.state != stateTunnel {
		h.state = stateDead // nothing is in progress
		return
	}
	c.enter()
	c.serverLeft = c.serverLeft || !h.request && c.clientHalf().state != stateDead
	if h.state == stateTunnel && c.next != nil {
		c.next.End(d, time)
	}
	if h.state == stateUntilClose {
		h.endMessage(true)
	} else {
		h.abort(exchange.CloseFlaw(reassembly.CloseFIN))
	}
	h.give(stateDead)
	c.weigh()
	c.leave()
}

// Close emits whatever is left.
func (c *Conn) Close(time int64, r reassembly.CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	if c.inFlight == nil && c.next == nil {
		return // nothing is in progress
	}
	c.enter()
	f := exchange.CloseFlaw(r)
	for d := range c.half {
		h := &c.half[d]
		if h.state == stateUntilClose && c.conn.EndUnseen {
			h.a.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED)
			h.endMessage(true)
		} else {
			h.abort(f)
		}
		h.give(stateDead)
	}
	c.pairing.close(c, r)
	if c.next != nil {
		c.next.Close(time, r)
		c.next = nil // c may be kept for long until it is used again
	}
	c.weigh()
	c.leave()
}

// enter makes sure that there is what a part of an exchange needs.
func (c *Conn) enter() {
	if c.inFlight == nil {
		c.takeOff()
	}
}

func (c *Conn) takeOff() {
	f := c.shared.inFlight()
	c.inFlight = f
	for d := range c.half {
		c.half[d].message = &f.messages[d]
	}
}

// weigh has Stats tell what the sections in progress hold.
func (c *Conn) weigh() {
	f := c.inFlight
	if n := len(f.messages[0].buf) + len(f.messages[1].buf); n != f.held {
		c.shared.Stats.HeldHeads += n - f.held
		f.held = n
	}
}

// leave gives back what enter has got when nothing is in progress.
func (c *Conn) leave() {
	if !c.pairing.rests() || !c.half[0].rests() || !c.half[1].rests() {
		return
	}
	c.shared.land(c.inFlight)
	c.inFlight, c.half[0].message, c.half[1].message = nil, nil, nil
}
