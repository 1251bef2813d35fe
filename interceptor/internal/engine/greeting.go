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
	of    *carrier
	spoke [2]bool
	began reassembly.Chunk // the client's first
}

// Data implements reassembly.Handler.
// Next: http2.Conn.Data.
func (g *greeting) Data(d flow.Direction, chunk reassembly.Chunk) {
	first := !g.spoke[d]
	g.spoke[d] = true
	switch {
	case !first:
	case g.spoke[d.Reverse()]:
		g.of.parser = g.agree(d, chunk)
		g.of.parser.Data(d, chunk)
		return
	default:
		g.began = chunk
		g.began.Bytes = nil // they are the caller's
	}
	g.Conn.Data(d, chunk)
}

// Gap implements reassembly.Handler.
func (g *greeting) Gap(d flow.Direction, gap reassembly.Gap) {
	g.of.parser = g.Conn // what an end begins with is missing
	g.Conn.Gap(d, gap)
}

// agree returns who takes the connection now that the second end says something.
func (g *greeting) agree(d flow.Direction, chunk reassembly.Chunk) reassembly.Handler {
	client, ok := g.Client()
	asks, _ := http1.LooksLikeRequest(chunk.Bytes, false)
	answers, _ := http1.LooksLikeResponse(chunk.Bytes)
	switch {
	case ok && d == client && asks:
		return g.with(d, g.newHTTP1(d, chunk.Offset))
	case ok && d != client && answers:
		parser := g.newHTTP1(client, g.began.Offset)
		parser.AsksByPreface()
		g.began.Bytes = []byte(http1.PrefaceRequest)
		parser.Data(client, g.began)
		return g.with(d, parser)
	}
	return g.Conn
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
