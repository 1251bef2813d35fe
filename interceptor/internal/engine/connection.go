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

// account counts a TCP connection under the protocol that it carries, which may
// change. It is made with the first payload byte.
type account struct {
	shard    *shard
	protocol Protocol
}

func (a *account) accountOf() *account { return a }

func (a *account) carried(n int) { a.shard.protocols[a.protocol].Bytes += uint64(n) }

func (a *account) closed() { a.shard.protocols[a.protocol].Active-- }

// recount counts the connection under protocol p from now on.
func (a *account) recount(p Protocol) {
	protocols := &a.shard.protocols
	protocols[a.protocol].Connections--
	protocols[a.protocol].Active--
	protocols[p].Connections++
	protocols[p].Active++
	a.protocol = p
}

// connection is one that doesn't start with HTTP/1, or may not.
type connection struct {
	account
	carrier
}

// handler makes the handler of rc, of which first are the first bytes, of direction d.
func (s *shard) handler(rc *reassembly.Conn, d flow.Direction, first []byte) reassembly.Handler {
	if rc.ClientKnown && d == rc.Client && !rc.Midstream && s.http1.Begins(first) {
		return s.newHTTP(rc)
	}
	return s.newConnection(rc)
}

// newHTTP makes the handler of a connection that a client begins with a whole request line:
// what connection would come to, without what that takes to tell protocols apart.
func (s *shard) newHTTP(rc *reassembly.Conn) *httpConnection {
	p := &s.protocols[HTTP1]
	p.Connections++
	p.Active++
	x := s.https.take()
	x.account = account{s, HTTP1}
	x.Conn.Init(s.http1, rc, nil, 0)
	return x
}

func (s *shard) newConnection(rc *reassembly.Conn) *connection {
	s.protocols[Undecided].Connections++
	s.protocols[Undecided].Active++
	c := s.connections.take()
	*c = connection{}
	c.shard, c.conn, c.of, c.lenient = s, rc, &c.account, rc.Midstream
	c.client, c.clientKnown = rc.Client, rc.ClientKnown
	return c
}

// Data implements reassembly.Handler.
// Next: carrier.Data, until the protocol is known.
func (c *connection) Data(d flow.Direction, chunk reassembly.Chunk) {
	c.carrier.Data(d, chunk)
	c.carried(len(chunk.Bytes)) // as what they have shown it to be
	if c.replaced {
		c.shard.connections.give(c)
	}
}

// Close implements reassembly.Handler.
func (c *connection) Close(time int64, r reassembly.CloseReason) {
	if c.settle(); c.replaced {
		c.conn.Handler.Close(time, r)
		return
	}
	c.closed()
	c.carrier.Close(time, r)
}

// httpConnection is one that starts with HTTP/1. It has no more than that needs,
// since there may be very many that have nothing to say.
type httpConnection struct {
	account
	http1.Conn
}

// turnHTTP makes what takes the place of c.
func (s *shard) turnHTTP(c *carrier) *httpConnection {
	x := s.https.take()
	x.account = *c.of
	x.Conn.Init(s.http1, c.conn, c.named, 0)
	return x
}

// Data implements reassembly.Handler.
// Next: http1.Conn.Take.
func (x *httpConnection) Data(d flow.Direction, chunk reassembly.Chunk) {
	x.carried(len(chunk.Bytes))
	x.Conn.Take(d, &chunk)
}

// Close implements reassembly.Handler.
func (x *httpConnection) Close(time int64, r reassembly.CloseReason) {
	x.closed()
	x.Conn.Close(time, r)
	x.shard.https.give(x)
}

// spare keeps what is needed no more for the next who need such.
type spare[T any] []*T

// maxSpare bounds what is kept.
const maxSpare = 256

func (s *spare[T]) take() *T {
	n := len(*s)
	if n == 0 {
		return new(T)
	}
	x := (*s)[n-1]
	*s = (*s)[:n-1]
	return x
}

func (s *spare[T]) give(x *T) {
	if len(*s) < maxSpare {
		*s = append(*s, x)
	}
}

// maxTunnels bounds how many tunnels inside of one another are looked into.
const maxTunnels = 4

// Upgrade takes a change from HTTP/1 to another protocol: to WebSocket, to
// HTTP/2 without TLS (RFC 7540 §3.2), else to what the bytes tell.
func (s *shard) Upgrade(u *http1.Upgrade) reassembly.Handler {
	conn := u.Conn
	of := conn.Handler.(interface{ accountOf() *account }).accountOf()
	to := fieldOf(u.Response.GetHeaders(), "Upgrade")
	if to == "" && u.ResponseCut {
		to = fieldOf(u.Request.GetHeaders(), "Upgrade") // of one protocol there is no other choice
	}
	switch {
	case u.Response == nil && u.Request.GetMethod() != "CONNECT":
		of.recount(WebSocket)
		return s.guessedSocket(u)
	case u.Response.GetStatus() != 101, u.Unasked: // CONNECT, or what the bytes tell alone
	case strings.EqualFold(to, "websocket"):
		of.recount(WebSocket)
		return websocket.NewConn(s.cfg.WebSocket, websocket.Agreement{
			Extensions:  fieldOf(u.Response.Headers, "Sec-WebSocket-Extensions"),
			Subprotocol: fieldOf(u.Response.Headers, "Sec-WebSocket-Protocol"),
			Unseen:      u.ResponseCut,
		}, conn, s.recorder, u.Identity, u.Client)
	case isH2C(to):
		of.recount(HTTP2)
		from := http2.Origin{Request: u.Request, Flaws: u.Flaws, Settings: fieldOf(u.Request.GetHeaders(), "HTTP2-Settings")}
		if from.Settings == "" {
			from.Request = nil // it did not ask for this
		}
		return http2.NewUpgraded(&s.cfg.HTTP2, conn, s.recorder, u.Identity, u.Client, from)
	}
	if u.Tunnels == maxTunnels {
		return nil
	}
	of.recount(Undecided)
	return &carrier{of: of, conn: conn, named: u.Identity, tunnels: u.Tunnels + 1, client: u.Client, clientKnown: true, lenient: conn.Midstream}
}

// guessedSocket takes a WebSocket whose 101 was not seen: what was agreed on is what its
// frames show.
func (s *shard) guessedSocket(u *http1.Upgrade) reassembly.Handler {
	var a websocket.Agreement
	if u.Compressed {
		a.Extensions = "permessage-deflate"
	}
	c := websocket.NewConn(s.cfg.WebSocket, a, u.Conn, s.recorder, u.Identity, u.Client)
	c.Guess()
	return c
}

// isH2C reports whether a value of Upgrade names HTTP/2 without TLS: as RFC 7540 does, or
// as its last drafts did, whose frames are the same.
func isH2C(to string) bool {
	for _, name := range [...]string{"h2c", "h2c-14", "h2c-15", "h2c-16", "h2c-17"} {
		if strings.EqualFold(to, name) {
			return true
		}
	}
	return false
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
