// Package flow names a conversation: the connection key both directions of a
// TCP connection share, and a symmetric hash of it.
package flow

import (
	"encoding/binary"
	"net/netip"
)

// Endpoint is one end of a connection: an address in 16-byte form (IPv4 as
// IPv4-mapped IPv6, RFC 4291 §2.5.5.2) and a port. It holds no pointer, so a
// key made of endpoints is cheap to hash, to compare and for the collector.
type Endpoint struct {
	Addr [16]byte // in network byte order
	Port uint16   // in host byte order
}

// AddrPort returns e in the form of net/netip, IPv4-mapped addresses unmapped.
func (e Endpoint) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(e.Addr).Unmap(), e.Port)
}

// EndpointFrom is the inverse of [Endpoint.AddrPort]; zones are lost.
func EndpointFrom(ap netip.AddrPort) Endpoint {
	return Endpoint{Addr: ap.Addr().As16(), Port: ap.Port()}
}

// less orders endpoints by address, then port.
func (e *Endpoint) less(o *Endpoint) bool {
	eh, oh := binary.BigEndian.Uint64(e.Addr[:8]), binary.BigEndian.Uint64(o.Addr[:8])
	if eh != oh {
		return eh < oh
	}
	el, ol := binary.BigEndian.Uint64(e.Addr[8:]), binary.BigEndian.Uint64(o.Addr[8:])
	if el != ol {
		return el < ol
	}
	return e.Port < o.Port
}

// Direction tells which end of a [Key] sent a segment.
type Direction uint8

// The directions, which index arrays of two.
const (
	AToB Direction = 0 // sent by Key.A
	BToA Direction = 1 // sent by Key.B
)

// Reverse returns the other direction.
func (d Direction) Reverse() Direction { return d ^ 1 }

// Key identifies a TCP connection whatever the direction of the segment it was
// made from: A is the lower endpoint.
type Key struct {
	A, B Endpoint
	// Scope tells networks apart in which the same endpoints mean different
	// hosts (VLANs, overlays); 0 where they are not told apart.
	Scope uint32
}

// NewKey returns the key of the connection between src and dst and the
// direction of a segment sent by src. Two equal endpoints (a connection of a
// port to itself) give AToB both ways.
func NewKey(src, dst Endpoint) (Key, Direction) {
	if dst.less(&src) {
		return Key{A: dst, B: src}, BToA
	}
	return Key{A: src, B: dst}, AToB
}

// Equal reports whether k and o are the same. It does what == does without a
// call, which counts where it is done for every packet.
func (k *Key) Equal(o *Key) bool {
	return k.A.equal(&o.A) && k.B.equal(&o.B) && k.Scope == o.Scope
}

func (e *Endpoint) equal(o *Endpoint) bool {
	return binary.LittleEndian.Uint64(e.Addr[:8]) == binary.LittleEndian.Uint64(o.Addr[:8]) &&
		binary.LittleEndian.Uint64(e.Addr[8:]) == binary.LittleEndian.Uint64(o.Addr[8:]) && e.Port == o.Port
}

// Sender returns the endpoint that sends in direction d.
func (k *Key) Sender(d Direction) Endpoint {
	if d == AToB {
		return k.A
	}
	return k.B
}

// Hash returns a 64-bit hash that is the same for both directions, since the
// key is. It is a multiply-mix (wyhash family), not keyed: it must not be the
// only defence against an attacker who picks ports to collide.
func (k *Key) Hash() uint64 { return k.hash(0) }

func (k *Key) hash(seed uint64) uint64 {
	a := mix(binary.LittleEndian.Uint64(k.A.Addr[:8])^mul0^seed, binary.LittleEndian.Uint64(k.A.Addr[8:])^mul1^seed)
	b := mix(binary.LittleEndian.Uint64(k.B.Addr[:8])^mul1^seed, binary.LittleEndian.Uint64(k.B.Addr[8:])^mul2^seed)
	return mix(a^uint64(k.Scope)<<32^uint64(k.A.Port)<<16^uint64(k.B.Port), b^mul0)
}

// SeededHash is another hash, for tables: with a seed that nobody knows, keys that
// collide can't be chosen. Keys of IPv4 take one multiplication.
func (k *Key) SeededHash(seed uint64) uint64 {
	if binary.LittleEndian.Uint64(k.A.Addr[:8])|binary.LittleEndian.Uint64(k.B.Addr[:8])|uint64(k.Scope) != 0 {
		return k.hash(seed)
	}
	// The ports take the place of zeros.
	a := binary.LittleEndian.Uint64(k.A.Addr[8:]) ^ uint64(k.A.Port)
	b := binary.LittleEndian.Uint64(k.B.Addr[8:]) ^ uint64(k.B.Port)
	return mix(a^mul0^seed, b^mul1^seed)
}
