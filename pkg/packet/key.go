package packet

import (
	"encoding/binary"
	"math/bits"

	"capstan/pkg/flow"
)

// address is an IP address in 16-byte form as two numbers in host byte order,
// which fit in registers.
type address struct{ hi, lo uint64 }

// mapped4 returns the IPv4 address in b as an IPv4-mapped IPv6 address.
func mapped4(b []byte) address {
	return address{lo: 0xffff_0000_0000 | uint64(binary.BigEndian.Uint32(b))}
}

// address6 returns the IPv6 address in b.
func address6(b []byte) address {
	return address{hi: binary.BigEndian.Uint64(b), lo: binary.BigEndian.Uint64(b[8:])}
}

// less orders endpoints as flow.NewKey does: by address, then port.
func less(a address, aPort uint16, b address, bPort uint16) bool {
	if a.hi != b.hi {
		return a.hi < b.hi
	}
	if a.lo != b.lo {
		return a.lo < b.lo
	}
	return aPort < bPort
}

// setKey sets s.Key and s.Dir to what flow.NewKey returns for the same
// endpoints, which the tests hold it to. It is done here since passing
// endpoints by value through the calls costs four times the rest of the
// decoding: copies of freshly written structs stall on store forwarding. They change
// places without a branch, since nobody foresees who sends the next segment.
func (s *Segment) setKey(src address, srcPort uint16, dst address, dstPort uint16, scope uint32) {
	s.Key.Scope = scope
	dir := flow.AToB
	if less(dst, dstPort, src, srcPort) {
		dir = flow.BToA
	}
	s.Dir = dir
	m := -uint64(dir)
	hi, lo, port := (src.hi^dst.hi)&m, (src.lo^dst.lo)&m, (srcPort^dstPort)&uint16(m)
	setEndpoint(&s.Key.A, address{src.hi ^ hi, src.lo ^ lo}, srcPort^port)
	setEndpoint(&s.Key.B, address{dst.hi ^ hi, dst.lo ^ lo}, dstPort^port)
}

// setKey4 is setKey for IPv4: addresses and ports hold those of the source in their
// upper halves, as headers do.
func (s *Segment) setKey4(addresses uint64, ports uint32) {
	s.Key.Scope = 0
	src, dst := endpoints4(addresses, ports)
	dir := flow.AToB
	if dst < src {
		dir = flow.BToA
	}
	s.Dir = dir
	swap := (src ^ dst) & -uint64(dir)
	src, dst = src^swap, dst^swap
	setEndpoint4(&s.Key.A, uint32(src>>16), uint16(src))
	setEndpoint4(&s.Key.B, uint32(dst>>16), uint16(dst))
}

// endpoints4 returns those of setKey4 as numbers: an address, and a port in the lower
// 16 bits.
func endpoints4(addresses uint64, ports uint32) (src, dst uint64) {
	return addresses>>32<<16 | uint64(ports>>16), addresses<<32>>16 | uint64(ports&0xffff)
}

func setEndpoint(e *flow.Endpoint, a address, port uint16) {
	binary.BigEndian.PutUint64(e.Addr[:8], a.hi)
	binary.BigEndian.PutUint64(e.Addr[8:], a.lo)
	e.Port = port
}

// setEndpoint4 stores the address in one piece: it is read back so at once.
func setEndpoint4(e *flow.Endpoint, a uint32, port uint16) {
	binary.LittleEndian.PutUint64(e.Addr[:8], 0)
	binary.LittleEndian.PutUint64(e.Addr[8:], uint64(bits.ReverseBytes32(a))<<32|0xffff_0000)
	e.Port = port
}
