package rpcap

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Address families on the wire (RPCAP_AF_INET, RPCAP_AF_INET6): IPv6 has
// Windows' number on every platform.
const (
	familyInet  = 2
	familyInet6 = 23
)

// appendSockaddr appends the 128 bytes that carry one address
// (struct rpcap_sockaddr): family, port, then for IPv4 the address, for IPv6
// flow info, address and scope. The zero Addr is 128 zero bytes.
func appendSockaddr(dst []byte, a netip.Addr) []byte {
	var b [sockaddrLen]byte
	switch a = a.Unmap(); {
	case a.Is4():
		binary.BigEndian.PutUint16(b[0:], familyInet)
		v4 := a.As4()
		copy(b[4:], v4[:])
	case a.Is6():
		binary.BigEndian.PutUint16(b[0:], familyInet6)
		v6 := a.As16()
		copy(b[8:], v6[:])
		// A zone that is no index has no place on the wire and stays 0.
		scope, _ := strconv.ParseUint(a.Zone(), 10, 32)
		binary.BigEndian.PutUint32(b[24:], uint32(scope))
	}
	return append(dst, b[:]...)
}

// parseSockaddr reads an address from the first 128 bytes of b. It knows the
// families that old servers leaked from their platforms (Linux 10, the BSDs 24
// to 30, AIX, and BSD forms whose first byte is a length). An unknown family is
// an absent address, the zero Addr.
func parseSockaddr(b []byte) netip.Addr {
	switch binary.BigEndian.Uint16(b) {
	case familyInet, 0x1002, 0x1000:
		return netip.AddrFrom4([4]byte(b[4:8]))
	case familyInet6, 10, 22, 24, 26, 28, 30, 0x1c18, 0x1c1c, 0x1c1e, 0x1c00:
		a := netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		if scope := binary.BigEndian.Uint32(b[24:]); scope != 0 && a.Is6() {
			a = a.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
		return a
	}
	return netip.Addr{}
}
