package exchange

import (
	"encoding/binary"
	"math/bits"
	"strconv"

	"github.com/twmb/murmur3"

	"capstan/interceptor/internal/arena"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Connection is the recorder's side of one connection. It belongs to the
// connection's parser; Identity makes it usable.
type Connection struct {
	conn    *reassembly.Conn // nil as long as it has no name
	proxies *proxies         // nil if none said anything
	prefix  [idLen]byte      // of the ids of its records
	// The next record's number; 48 bits, since idle connections are many.
	next   uint32
	wraps  uint16
	client flow.Direction
}

const idLen = 16

// proxies is what proxies said of a connection, in the order seen, and what the last one of
// SOCKS was asked for.
type proxies struct {
	first   *capstanv1.Proxied
	further []*capstanv1.Proxied
	socks   *capstanv1.Socks
}

// heard returns c, or a new Connection without name where c is nil, with room for what
// proxies say.
func (c *Connection) heard() *Connection {
	if c == nil {
		c = new(Connection)
	}
	if c.proxies == nil {
		c.proxies = new(proxies)
	}
	return c
}

// Proxied returns c, or a new Connection without name where c is nil, of which each
// record tells p from now on, what a proxy said of it, behind what others said before.
func (c *Connection) Proxied(p *capstanv1.Proxied) *Connection {
	c = c.heard()
	if c.proxies.first == nil {
		c.proxies.first = p
	} else {
		c.proxies.further = append(c.proxies.further, p)
	}
	return c
}

// Through is Proxied for s, what a proxy was asked for, in the tunnel that the last one has
// made, if there was one. s becomes the Connection's.
func (c *Connection) Through(s *capstanv1.Socks) *Connection {
	c = c.heard()
	s.Outer, c.proxies.socks = c.proxies.socks, s
	return c
}

// Identity returns c, or a new Connection where c is nil. Unless it has a name it gets
// that of conn, whose client sends in direction client. Conn is looked at whenever a
// record of it is emitted.
//
// A connection is named by what it is rather than when it was seen, so that
// captures with clocks of their own agree: by its endpoints, the initial
// sequence numbers and the scope of its key. Where an initial sequence number was
// not seen, as of a connection joined midstream, its start in microseconds,
// which every source has, stands in.
func (c *Connection) Identity(conn *reassembly.Conn, client flow.Direction) *Connection {
	if c == nil {
		c = new(Connection)
	}
	if c.conn == nil {
		c.name(conn, client)
	}
	return c
}

// name makes c that of conn.
func (c *Connection) name(conn *reassembly.Conn, client flow.Direction) {
	var b [2*(16+2+1+4) + 8 + 4]byte
	server := client.Reverse()
	in := appendEnd(b[:0], conn, client)
	in = appendEnd(in, conn, server)
	if !conn.InitialSeqKnown[client] || !conn.InitialSeqKnown[server] {
		in = binary.BigEndian.AppendUint64(in, uint64(conn.Start/1000))
	}
	if conn.Key.Scope != 0 {
		in = binary.BigEndian.AppendUint32(in, conn.Key.Scope)
	}
	c.conn, c.client = conn, client
	high, low := murmur3.Sum128(in)
	binary.BigEndian.PutUint64(c.prefix[:], high)
	binary.BigEndian.PutUint64(c.prefix[idLen/2:], low)
}

// appendEnd appends the end that sends in direction d: address, port, whether
// the sequence number is known, the sequence number; numbers in network order.
func appendEnd(b []byte, conn *reassembly.Conn, d flow.Direction) []byte {
	e := &conn.Key.A
	if d == flow.BToA {
		e = &conn.Key.B
	}
	b = append(b, e.Addr[:]...)
	b = binary.BigEndian.AppendUint16(b, e.Port)
	if !conn.InitialSeqKnown[d] {
		return append(b, 0, 0, 0, 0, 0)
	}
	return binary.BigEndian.AppendUint32(append(b, 1), conn.InitialSeq[d])
}

// inConflict reports whether bytes of the connection were seen twice and
// differed.
func (c *Connection) inConflict() bool { return c.conn.Conflict != 0 }

// Told reports whether a record has left. c may be nil.
func (c *Connection) Told() bool { return c != nil && c.Records() > 0 }

// Records returns how many records have left.
func (c *Connection) Records() uint64 { return uint64(c.wraps)<<32 | uint64(c.next) }

// nextID returns the id of the connection's next record, made by text.
func (c *Connection) nextID(text *arena.Text) string {
	var b [2*idLen + 1 + 20]byte
	for i := 0; i < idLen; i += 4 {
		binary.LittleEndian.PutUint64(b[2*i:], hexDigits(binary.BigEndian.Uint32(c.prefix[i:])))
	}
	b[2*idLen] = '-'
	id := strconv.AppendUint(b[:2*idLen+1], c.Records(), 10)
	if c.next++; c.next == 0 {
		c.wraps++
	}
	return text.String(id)
}

// hexDigits returns the hexadecimal digits of v as text, the first in the lowest byte. It
// does what encoding/hex does, for all digits at once: every record has an id.
func hexDigits(v uint32) uint64 {
	const ones = 0x0101_0101_0101_0101
	x := uint64(bits.ReverseBytes32(v))
	x = (x | x<<16) & 0x0000_ffff_0000_ffff
	x = (x | x<<8) & 0x00ff_00ff_00ff_00ff
	x = (x>>4 | x<<8) & (0x0f * ones) // a digit in each byte
	letters := (x + 6*ones) >> 4 & ones
	return x + '0'*ones + letters*('a'-'0'-10)
}
