package exchange

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"capstan/interceptor/internal/arena"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Identity is what names a connection in record ids.
type Identity struct {
	Client, Server flow.Endpoint
	// Initial sequence numbers of both ends, 0 where not known.
	ClientSeq, ServerSeq           uint32
	ClientSeqKnown, ServerSeqKnown bool
	// Start is the time of the connection's first segment in nanoseconds. It
	// names only what the sequence numbers can't.
	Start int64
	// Scope is that of the connection's key.
	Scope uint32
	// Conn is looked at whenever a record of the connection is emitted; nil if
	// there is none.
	Conn *reassembly.Conn
}

// IdentityOf returns the identity of conn, whose client sends in direction
// client.
func IdentityOf(conn *reassembly.Conn, client flow.Direction) Identity {
	server := client.Reverse()
	return Identity{
		Client: conn.Key.Sender(client), Server: conn.Key.Sender(server),
		ClientSeq: conn.InitialSeq[client], ClientSeqKnown: conn.InitialSeqKnown[client],
		ServerSeq: conn.InitialSeq[server], ServerSeqKnown: conn.InitialSeqKnown[server],
		Start: conn.Start, Scope: conn.Key.Scope, Conn: conn,
	}
}

// Connection is the recorder's side of one connection. It belongs to the
// connection's parser; the zero value is not usable.
type Connection struct {
	prefix [2 * idLen]byte
	client capstanv1.Endpoint
	server capstanv1.Endpoint
	next   uint64
	conn   *reassembly.Conn
}

const idLen = 16

// NewConnection returns the connection named by id, with no record yet.
//
// A connection is named by what it is rather than when it was seen, so that
// captures with clocks of their own agree. Where an initial sequence number was
// not seen, as of a connection joined midstream, its start in microseconds,
// which every source has, stands in.
func NewConnection(id Identity) *Connection {
	c := &Connection{conn: id.Conn}
	setEndpoint(&c.client, id.Client)
	setEndpoint(&c.server, id.Server)
	var b [2*(16+2+1+4) + 8 + 4]byte
	in := appendEnd(b[:0], id.Client, id.ClientSeq, id.ClientSeqKnown)
	in = appendEnd(in, id.Server, id.ServerSeq, id.ServerSeqKnown)
	if !id.ClientSeqKnown || !id.ServerSeqKnown {
		in = binary.BigEndian.AppendUint64(in, uint64(id.Start/1000))
	}
	if id.Scope != 0 {
		in = binary.BigEndian.AppendUint32(in, id.Scope)
	}
	sum := sha256.Sum256(in)
	hex.Encode(c.prefix[:], sum[:idLen])
	return c
}

// appendEnd appends one end: address, port, whether the sequence number is
// known, the sequence number; numbers in network order.
func appendEnd(b []byte, e flow.Endpoint, seq uint32, known bool) []byte {
	b = append(b, e.Addr[:]...)
	b = binary.BigEndian.AppendUint16(b, e.Port)
	if !known {
		seq = 0
	}
	b = append(b, boolByte(known))
	return binary.BigEndian.AppendUint32(b, seq)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func setEndpoint(to *capstanv1.Endpoint, e flow.Endpoint) {
	ap := e.AddrPort()
	to.Address, to.Port = ap.Addr().String(), uint32(ap.Port())
}

// inConflict reports whether bytes of the connection were seen twice and
// differed.
func (c *Connection) inConflict() bool {
	return c.conn != nil && (c.conn.Conflict[0] || c.conn.Conflict[1])
}

// nextID returns the id of the connection's next record, made by text.
func (c *Connection) nextID(text *arena.Text) string {
	var b [2*idLen + 1 + 20]byte
	id := append(b[:0], c.prefix[:]...)
	id = append(id, '-')
	id = strconv.AppendUint(id, c.next, 10)
	c.next++
	return text.String(id)
}
