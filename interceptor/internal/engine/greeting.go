package engine

import (
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

// greeting is HTTP/2 of which not both ends have said something yet. A client may begin it
// without having been told that the server speaks it (RFC 9113 §3.3), and a server without having
// been asked. Where the other end speaks HTTP/1, a server takes the preface for a request, and
// answers that, mostly with 400 or 505; a client's request is not answered.
type greeting struct {
	*http2.Conn
	of      *carrier
	began   bool
	first   flow.Direction   // who began it
	opening reassembly.Chunk // by this
	backlog                  // what came since the second end spoke, until that tells what it speaks
}

// Data implements reassembly.Handler.
// Next: http2.Conn.Data.
func (g *greeting) Data(d flow.Direction, chunk reassembly.Chunk) {
	switch {
	case !g.began:
		g.began, g.first, g.opening = true, d, chunk
		g.opening.Bytes = nil // they are the caller's
	case d != g.first || len(g.held) > 0:
		g.answer(d, chunk)
		return
	}
	g.Conn.Data(d, chunk)
}

// answer takes what comes once the second end speaks.
func (g *greeting) answer(d flow.Direction, chunk reassembly.Chunk) {
	start, more := chunk.Offset, chunk.Bytes
	if len(g.held) > 0 {
		start = g.held[0].chunk.Offset
	}
	if d == g.first {
		more = nil
	}
	speaker := g.agree(g.prefix(g.first.Reverse(), more), start)
	if speaker == nil && !g.full(len(chunk.Bytes)) {
		g.hold(d, chunk)
		g.of.weigh()
		return
	}
	g.end(speaker).Data(d, chunk)
}

// end hands what is held over to who takes the connection from now on: to HTTP/2, if that is
// not known.
func (g *greeting) end(next reassembly.Handler) reassembly.Handler {
	if next == nil {
		next = g.Conn
	}
	g.of.parser = next
	for i := range g.held {
		g.held[i].giveTo(next)
	}
	g.backlog = backlog{}
	g.of.weigh()
	return next
}

// Gap implements reassembly.Handler.
func (g *greeting) Gap(d flow.Direction, gap reassembly.Gap) {
	g.end(nil).Gap(d, gap) // what an end begins with is missing
}

// End implements reassembly.Handler.
func (g *greeting) End(d flow.Direction, time int64) {
	if len(g.held) > 0 {
		g.end(nil).End(d, time)
		return
	}
	g.Conn.End(d, time)
}

// Close implements reassembly.Handler.
func (g *greeting) Close(time int64, r reassembly.CloseReason) { g.end(nil).Close(time, r) }

// agree returns who takes the connection, now that the second end said this, from offset start
// on; nil if more has to be seen.
func (g *greeting) agree(said []byte, start int64) reassembly.Handler {
	client, ok := g.Client()
	second := g.first.Reverse()
	speaks, more := http1.LooksLikeResponse(said)
	if second == client {
		speaks, more = http1.LooksLikeRequest(said, false)
	}
	switch {
	case !ok || !speaks && !more:
		return g.Conn
	case !speaks:
		return nil
	case second == client:
		return g.with(second, g.newHTTP1(client, start))
	}
	parser := g.newHTTP1(client, g.opening.Offset)
	parser.AsksByPreface()
	g.opening.Bytes = []byte(http1.PrefaceRequest)
	parser.Data(client, g.opening)
	return g.with(second, parser)
}

// newHTTP1 returns who takes HTTP/1, of which the requests start at that offset.
func (g *greeting) newHTTP1(client flow.Direction, start int64) *http1.Conn {
	c := g.of
	parser := new(http1.Conn)
	parser.Init(c.of.shard.http1, c.conn, g.Identity(), c.tunnels)
	parser.Asks(client)
	parser.StartAt(int32(start))
	return parser
}

// with returns who takes a connection of which direction d speaks HTTP/1.
func (g *greeting) with(d flow.Direction, parser *http1.Conn) reassembly.Handler {
	m := new(mixed)
	m[d], m[d.Reverse()] = parser, g.Conn
	return m
}

// mixed is a connection whose ends speak different protocols, by direction.
type mixed [2]reassembly.Handler

// Data implements reassembly.Handler.
func (m *mixed) Data(d flow.Direction, chunk reassembly.Chunk) { m[d].Data(d, chunk) }

// Gap implements reassembly.Handler.
func (m *mixed) Gap(d flow.Direction, g reassembly.Gap) { m[d].Gap(d, g) }

// End implements reassembly.Handler.
func (m *mixed) End(d flow.Direction, time int64) { m[d].End(d, time) }

// Close implements reassembly.Handler.
func (m *mixed) Close(time int64, r reassembly.CloseReason) {
	m[0].Close(time, r)
	m[1].Close(time, r)
}
