package rpcap

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// InterfaceFlags describe an interface (PCAP_IF_*).
type InterfaceFlags uint32

// The flags of an interface; the two bits of InterfaceConnection hold one of
// the four connection values.
const (
	InterfaceLoopback InterfaceFlags = 0x01
	InterfaceUp       InterfaceFlags = 0x02
	InterfaceRunning  InterfaceFlags = 0x04
	InterfaceWireless InterfaceFlags = 0x08

	InterfaceConnection    InterfaceFlags = 0x30 // mask
	InterfaceConnected     InterfaceFlags = 0x10
	InterfaceDisconnected  InterfaceFlags = 0x20
	InterfaceNotApplicable InterfaceFlags = 0x30
)

// InterfaceAddress is one address of an interface. Absent parts are the zero
// Addr. A zone is an interface index in decimal.
type InterfaceAddress struct {
	Addr, Netmask, Broadcast, Destination netip.Addr
}

// Interface is one record of a listing (struct rpcap_findalldevs_if).
type Interface struct {
	Name        string // at most MaxName bytes are taken by libpcap's client
	Description string // likewise; often empty on Linux
	Flags       InterfaceFlags
	Addresses   []InterfaceAddress
}

// FindAllIfReply is the list of a server's interfaces, at most 65,535.
type FindAllIfReply struct {
	Interfaces []Interface
}

const (
	// maxInterfaces is what the count in the header can tell.
	maxInterfaces = 1<<16 - 1

	interfaceHeaderLen = 12
	sockaddrLen        = 128
	addressLen         = 4 * sockaddrLen
)

// Type returns [TypeFindAllIfReply].
func (*FindAllIfReply) Type() Type { return TypeFindAllIfReply }

func (m *FindAllIfReply) headerValue() uint16 { return uint16(len(m.sent())) }

// sent is the part of the list that the header's count can tell.
func (m *FindAllIfReply) sent() []Interface {
	return m.Interfaces[:min(len(m.Interfaces), maxInterfaces)]
}

func (m *FindAllIfReply) appendBody(dst []byte) []byte {
	for i := range m.sent() {
		dst = m.Interfaces[i].append(dst)
	}
	return dst
}

func (i *Interface) append(dst []byte) []byte {
	name, description := i.Name[:min(len(i.Name), MaxName)], i.Description[:min(len(i.Description), MaxName)]
	addresses := i.Addresses[:min(len(i.Addresses), 1<<16-1)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(name)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(description)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(i.Flags))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(addresses)))
	dst = append(dst, 0, 0)
	dst = append(dst, name...)
	dst = append(dst, description...)
	for a := range addresses {
		dst = appendSockaddr(dst, addresses[a].Addr)
		dst = appendSockaddr(dst, addresses[a].Netmask)
		dst = appendSockaddr(dst, addresses[a].Broadcast)
		dst = appendSockaddr(dst, addresses[a].Destination)
	}
	return dst
}

// decodeBody parses as many records as the header's value says. Some servers
// send 0 there (zrpcapd, a BSD one); then records are read to the body's end,
// but no more of them than a count could have told.
func (m *FindAllIfReply) decodeBody(value uint16, c cursor) error {
	m.Interfaces = nil
	for n := 0; c.err == nil && (n < int(value) || value == 0 && c.left() > 0); n++ {
		if n == maxInterfaces {
			c.reject("interfaces", 0, n+1, maxInterfaces, "too many interfaces")
			break
		}
		m.Interfaces = append(m.Interfaces, decodeInterface(&c))
	}
	if c.err != nil {
		m.Interfaces = nil
	}
	return c.done()
}

func decodeInterface(c *cursor) Interface {
	nameLen := int(c.u16("namelen"))
	descriptionLen := int(c.u16("desclen"))
	flags := InterfaceFlags(c.u32("flags"))
	count := int(c.u16("naddr"))
	c.u16("dummy")
	if nameLen > MaxName {
		c.reject("namelen", interfaceHeaderLen, nameLen, MaxName, "Interface name too long")
	}
	if descriptionLen > MaxName {
		c.reject("desclen", interfaceHeaderLen-2, descriptionLen, MaxName, "Interface description too long")
	}
	// Some servers count a terminating NUL in their strings.
	i := Interface{
		Name:        strings.TrimRight(c.string("name", nameLen), "\x00"),
		Description: strings.TrimRight(c.string("description", descriptionLen), "\x00"),
		Flags:       flags,
	}
	raw := c.bytes("addresses", count*addressLen)
	if len(raw) > 0 {
		i.Addresses = make([]InterfaceAddress, 0, count)
	}
	for ; len(raw) > 0; raw = raw[addressLen:] {
		a := InterfaceAddress{
			Addr:        parseSockaddr(raw),
			Netmask:     parseSockaddr(raw[sockaddrLen:]),
			Broadcast:   parseSockaddr(raw[2*sockaddrLen:]),
			Destination: parseSockaddr(raw[3*sockaddrLen:]),
		}
		if a != (InterfaceAddress{}) { // an entry of unknown families only is dropped, as libpcap does
			i.Addresses = append(i.Addresses, a)
		}
	}
	if len(i.Addresses) == 0 {
		i.Addresses = nil
	}
	return i
}
