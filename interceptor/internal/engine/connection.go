package engine

import (
	"strings"

	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// connection counts a TCP connection under the protocol that it carries, which
// may change. It is made with the first payload byte.
type connection struct {
	shard    *shard
	conn     *reassembly.Conn
	protocol Protocol
	carrier
}

func (s *shard) newConnection(rc *reassembly.Conn) reassembly.Handler {
	s.protocols[Undecided].Connections++
	s.protocols[Undecided].Active++
	c := &connection{shard: s, conn: rc}
	c.carrier = carrier{of: c, lenient: rc.Midstream}
	return c
}

// Data implements reassembly.Handler.
// Next: carrier.Data, until the protocol is known.
func (c *connection) Data(d flow.Direction, chunk reassembly.Chunk) {
	c.shard.protocols[c.protocol].Bytes += uint64(len(chunk.Bytes))
	c.carrier.Data(d, chunk)
}

// Close implements reassembly.Handler.
func (c *connection) Close(time int64, r reassembly.CloseReason) {
	c.shard.protocols[c.protocol].Active--
	c.carrier.Close(time, r)
}

// recount counts the connection under protocol p from now on.
func (c *connection) recount(p Protocol) {
	protocols := &c.shard.protocols
	protocols[c.protocol].Connections--
	protocols[c.protocol].Active--
	protocols[p].Connections++
	protocols[p].Active++
	c.protocol = p
}

// maxTunnels bounds how many tunnels inside of one another are looked into.
const maxTunnels = 4

// Upgrade takes a change from HTTP/1 to another protocol: to WebSocket, to
// HTTP/2 without TLS (RFC 7540 §3.2), else to what the bytes tell.
func (c *carrier) Upgrade(u *http1.Upgrade) reassembly.Handler {
	s, conn := c.of.shard, c.of.conn
	switch to := fieldOf(u.Response.Headers, "Upgrade"); {
	case u.Response.Status != 101: // CONNECT
	case strings.EqualFold(to, "websocket"):
		c.of.recount(WebSocket)
		return websocket.NewConn(s.cfg.WebSocket, websocket.Agreement{
			Extensions:  fieldOf(u.Response.Headers, "Sec-WebSocket-Extensions"),
			Subprotocol: fieldOf(u.Response.Headers, "Sec-WebSocket-Protocol"),
		}, conn, s.recorder, u.Identity, u.Client)
	case strings.EqualFold(to, "h2c"):
		c.of.recount(HTTP2)
		request, settings := u.Request, fieldOf(u.Request.GetHeaders(), "HTTP2-Settings")
		if settings == "" {
			request = nil // it did not ask for this
		}
		return http2.NewUpgraded(s.cfg.HTTP2, conn, s.recorder, u.Identity, u.Client, request, settings)
	}
	if c.tunnels == maxTunnels {
		return nil
	}
	c.of.recount(Undecided)
	return &carrier{of: c.of, named: u.Identity, tunnels: c.tunnels + 1, lenient: conn.Midstream}
}

// fieldOf returns the values of the fields of that name, joined by commas.
func fieldOf(fields []*capstanv1.Header, name string) (value string) {
	for _, f := range fields {
		switch {
		case !strings.EqualFold(f.Name, name):
		case value == "":
			value = f.Value
		default:
			value += "," + f.Value
		}
	}
	return value
}
