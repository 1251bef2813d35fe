package proxyproto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Header is what a header says.
type Header struct {
	// Version of the protocol, 1 or 2.
	Version int
	// Len is the length of the header in bytes.
	Len int
	// Source and Destination are the ends of the forwarded connection. Neither is
	// valid where the proxy speaks for itself (LOCAL), as in a health check, nor
	// where that connection is unknown or neither of IPv4 nor of IPv6.
	Source, Destination netip.AddrPort
}

// Parse takes the header that b, the first bytes of a connection, starts with.
// Behind the addresses of version 2 may stand more than b has; h.Len tells. With ok
// false, needMore tells that b may be the start of a header: it has less than 107
// bytes then.
func Parse(b []byte) (h Header, ok, needMore bool) {
	switch {
	case startsLike(b, signature1):
		return parse1(b)
	case startsLike(b, signature2):
		return parse2(b)
	}
	return Header{}, false, false
}

// startsLike reports whether b starts with signature, as far as it goes.
func startsLike(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

const (
	signature1 = "PROXY "
	// maxLen1 is the length of the longest header of version 1, its line's end
	// included.
	maxLen1 = 107
)

// parse1 takes a header of version 1 (§2.1): a line of text.
func parse1(b []byte) (h Header, ok, needMore bool) {
	line, _, whole := bytes.Cut(b[:min(len(b), maxLen1)], []byte("\r\n"))
	if !whole {
		return h, false, len(b) < maxLen1
	}
	h = Header{Version: 1, Len: len(line) + len("\r\n")}
	fields := bytes.Split(line[len(signature1):], []byte(" "))
	family := string(fields[0])
	if family == "UNKNOWN" {
		return h, true, false // whatever else is on the line
	}
	if len(fields) != 5 || family != "TCP4" && family != "TCP6" {
		return h, false, false
	}
	source, ok1 := endpoint(fields[1], fields[3], family == "TCP4")
	destination, ok2 := endpoint(fields[2], fields[4], family == "TCP4")
	h.Source, h.Destination = source, destination
	return h, ok1 && ok2, false
}

func endpoint(address, port []byte, is4 bool) (e netip.AddrPort, ok bool) {
	a, err := netip.ParseAddr(string(address))
	if err != nil || a.Is4() != is4 || a.Zone() != "" {
		return e, false
	}
	p, err := strconv.ParseUint(string(port), 10, 16)
	return netip.AddrPortFrom(a, uint16(p)), err == nil
}

const (
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
	// fixedLen2 is the length of what all headers of version 2 have.
	fixedLen2 = 16
)

// The upper halves of the 13th and 14th byte: version and address family.
const (
	version2   = 2
	familyNone = 0
	familyIPv4 = 1
	familyIPv6 = 2
	familyUnix = 3
)

// The lower halves: command and transport.
const (
	commandLocal = 0
	commandProxy = 1
	maxTransport = 2 // datagrams; 1 is a stream, 0 is neither
)

// addressesLen are the lengths of both addresses and ports, by family.
var addressesLen = [...]int{familyNone: 0, familyIPv4: 2*4 + 2*2, familyIPv6: 2*16 + 2*2, familyUnix: 2 * 108}

// parse2 takes a header of version 2 (§2.2): binary, numbers in network order.
// Behind the addresses are fields of type, length and value, which are passed over.
func parse2(b []byte) (h Header, ok, needMore bool) {
	if len(b) < fixedLen2 {
		return h, false, true
	}
	version, command := b[12]>>4, b[12]&0xf
	family, transport := b[13]>>4, b[13]&0xf
	behind := int(binary.BigEndian.Uint16(b[14:]))
	h = Header{Version: version2, Len: fixedLen2 + behind}
	switch {
	case version != version2 || command > commandProxy || family > familyUnix || transport > maxTransport:
		return h, false, false
	case command == commandLocal:
		return h, true, false // whatever addresses say, they are to be ignored
	case behind < addressesLen[family]:
		return h, false, false
	}
	n := 4
	switch family {
	case familyNone, familyUnix:
		return h, true, false
	case familyIPv6:
		n = 16
	}
	addresses := b[fixedLen2:]
	if len(addresses) < addressesLen[family] {
		return h, false, true
	}
	h.Source = binaryEndpoint(addresses[:n], addresses[2*n:])
	h.Destination = binaryEndpoint(addresses[n:2*n], addresses[2*n+2:])
	return h, true, false
}

func binaryEndpoint(address, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(address) // which has 4 or 16 bytes
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}
