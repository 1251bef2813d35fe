package http2

import (
	"slices"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/grpc"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/pkg/flow"
	capstanv1 "capstan/proto/capstan/v1"
)

// stream is a request, its response, or both, on the way to a record. It is one
// allocation with everything of fixed size that a record needs, and is used again.
type stream struct {
	rec      capstanv1.Exchange
	req      capstanv1.HttpRequest
	resp     capstanv1.HttpResponse
	reqBody  capstanv1.Body
	respBody capstanv1.Body
	room     fieldRoom // of all header sections

	id    uint32
	flaws exchange.Flaws
	// orphan: the response is over and no request was seen. It may still come,
	// until the client's half has reached await.
	orphan   bool
	answered bool // the server has sent something of it
	request  side
	response side
	call     *grpc.Call         // nil unless it is one
	socket   *websocket.Session // nil unless it carries one
	cost     int                // estimated bytes it keeps
	await    int64

	older, newer *stream // in the order of opening
}

// side is what is known of one direction of a stream.
type side struct {
	seen    bool // any frame of it
	headers bool // its header section, that of a final response
	ended   bool
	data    bool // a frame of DATA
	damaged bool // the place was lost since it opened
	quiet   bool // nothing came since the connection was damaged, or swept
	doubt   bool // it may have begun before anybody looked
	// tentative: the header section may be that of an interim response, since
	// its status is unknown.
	tentative bool
	length    int64  // of content-length, or lengthUnknown
	cutKeep   bool   // no more of its body is kept
	reset     bool   // its sender gave it up
	passed    uint16 // the number of the screen that all fields of its header section have passed, or 0
	first     int64
	last      int64 // time of its latest byte
}

// touch notes a byte of the side at the given times.
func (s *side) touch(first, last int64) {
	if !s.seen {
		s.seen, s.first = true, first
	}
	s.last, s.quiet = max(s.last, last), false
}

// firstFields is how many header fields there is room for with each stream.
const firstFields = 14

// Estimates of what a stream keeps in memory.
const (
	streamCost = 2304 // the stream itself, as newStream allocates it
	fieldCost  = 88   // another header field besides its text
)

// streams are those of a connection that are open, in the order of opening.
type streams struct {
	byID           table
	oldest, newest *stream
	cost           int
	orphans        int32
	damaged        bool  // there is one with a damaged side
	calls          bool  // one was certainly a call of gRPC
	soonest        int64 // no orphan's request is over before the client's half has reached this
	sweepAt        int64 // when to look for damaged ones that nothing comes for
	gone           *gone
}

// gone remembers the streams that were told before both ends had ended them:
// frames of theirs may still come. Each has one row where it can be, the latest first:
// looking for it costs the same however many there are.
type gone [64][8]uint32

func (g *gone) row(id uint32) *[8]uint32 { return &g[id/2%64] } // ids are odd, or even, in turn

func (g *gone) has(id uint32) bool { return g != nil && slices.Contains(g.row(id)[:], id) }

func (t *streams) remember(id uint32) {
	if t.gone == nil {
		t.gone = new(gone)
	}
	row := t.gone.row(id)
	copy(row[1:], row[:])
	row[0] = id
}

// open makes stream id.
func (c *Conn) open(id uint32) *stream {
	for c.byID.n >= c.cfg.MaxStreams || c.streams.cost > c.cfg.MaxStreamBytes && c.oldest != nil {
		c.shared.Stats.ShedStreams++
		c.oldest.flaws.Add(capstanv1.Flaw_FLAW_EVICTED)
		c.finish(c.oldest)
	}
	s := c.shared.stream()
	s.id = id
	c.half[0].undamaged, c.half[1].undamaged = true, true
	c.noteID(id)
	c.byID.add(s)
	c.shared.Stats.Open++
	s.request.doubt = c.half[c.client].state == stateResync
	s.response.doubt = c.half[c.client.Reverse()].state == stateResync
	if s.older = c.newest; s.older != nil {
		s.older.newer = s
	} else {
		c.oldest = s
	}
	c.newest = s
	c.addCost(s, streamCost)
	return s
}

func (c *Conn) addCost(s *stream, n int) {
	s.cost += n
	c.streams.cost += n
	c.shared.Stats.Charge += n
}

// take removes s from the table.
func (c *Conn) take(s *stream) {
	c.byID.remove(s)
	c.shared.Stats.Open--
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		c.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		c.newest = s.older
	}
	s.older, s.newer = nil, nil
	c.streams.cost -= s.cost
	c.shared.Stats.Charge -= s.cost
	if s.orphan {
		c.orphans--
	}
	for d := range c.half {
		if c.half[d].stream == s {
			c.half[d].stream = nil
		}
	}
}

// streamOf returns stream id for a frame of direction d: one whose start was
// not seen is opened, one that was told already is not. Nil if there is no use
// in it.
func (c *Conn) streamOf(id uint32, d flow.Direction) *stream {
	if s := c.byID.get(id); s != nil {
		return s
	}
	if !c.rolesKnown || c.gone.has(id) || id%2 == 0 && d == c.client {
		return nil
	}
	s := c.open(id)
	h, other := &c.half[d], &c.half[d.Reverse()]
	late := !h.proven
	c.sideOf(s, d).doubt = c.sideOf(s, d).doubt || late
	if !other.proven && (late || d != c.client || other.acked > h.offset) {
		c.sideOf(s, other.dir).doubt = true // it may have begun in what that one lost
	}
	return s
}

// sideOf returns the side of s that direction d sends.
func (c *Conn) sideOf(s *stream, d flow.Direction) *side {
	if d == c.client {
		return &s.request
	}
	return &s.response
}
