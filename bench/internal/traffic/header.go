package traffic

import "encoding/binary"

// side is an end of a connection.
type side uint8

const (
	client side = iota
	server
)

func (s side) other() side { return 1 - s }

// Protocol numbers.
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	etherVLAN   = 0x8100
	protocolTCP = 6
	protocolUDP = 17
)

// Header lengths in bytes.
const (
	ethernetLen = 14
	tagLen      = 4
	ipv4Len     = 20
	ipv6Len     = 40
	udpLen      = 8
	tcpLen      = 20
)

// Offsets of fields in the headers.
const (
	ipv4LengthAt   = 2
	ipv4IDAt       = 4
	ipv4ProtocolAt = 9
	ipv4ChecksumAt = 10
	ipv4SourceAt   = 12
	ipv6LengthAt   = 4
	ipv6ProtocolAt = 6
	ipv6HopLimitAt = 7
	ipv6SourceAt   = 8
	udpLengthAt    = 4
	udpChecksumAt  = 6
	tcpSeqAt       = 4
	tcpOffsetAt    = 12
	tcpChecksumAt  = 16
)

const (
	hopLimit = 64
	// discardPort is the destination of test frames (RFC 863).
	discardPort = 9
	// window is what both ends of a connection offer.
	window = 502
)

// macs are locally administered and nobody's.
var macs = [2][6]byte{client: {0x02, 0x00, 0x5e, 0x12, 0x00, 0x01}, server: {0x02, 0x00, 0x5e, 0x13, 0x00, 0x01}}

// The networks of the two ends; the last 16 bits are the host.
var (
	networks4 = [2][2]byte{client: {198, 18}, server: {198, 19}}
	networks6 = [2][14]byte{
		client: {0x20, 0x01, 0x00, 0x02},
		server: {0x20, 0x01, 0x00, 0x02, 0, 0, 0, 1},
	}
)

// endpoint is a host in its side's network and a port.
type endpoint struct{ host, port uint16 }

// link is what the frames of a flow have below TCP and UDP.
type link struct {
	ipv6   bool
	tagged bool
	vlan   uint16
}

// networkOffset is where the network header starts.
func (l link) networkOffset() int {
	if l.tagged {
		return ethernetLen + tagLen
	}
	return ethernetLen
}

// headerLen is the length of all headers without the tag, with a transport
// header of the given length.
func headerLen(ipv6 bool, transport int) int {
	if ipv6 {
		return ethernetLen + ipv6Len + transport
	}
	return ethernetLen + ipv4Len + transport
}

func (l link) appendEthernet(b []byte, from side) []byte {
	b = append(b, macs[from.other()][:]...)
	b = append(b, macs[from][:]...)
	if l.tagged {
		b = binary.BigEndian.AppendUint16(b, etherVLAN)
		b = binary.BigEndian.AppendUint16(b, l.vlan)
	}
	if l.ipv6 {
		return binary.BigEndian.AppendUint16(b, etherIPv6)
	}
	return binary.BigEndian.AppendUint16(b, etherIPv4)
}

// appendIP appends the network header of a packet whose payload has n bytes,
// and returns the sum of its pseudo-header (RFC 9293, section 3.1; RFC 8200,
// section 8.1) too. hosts are those of both sides.
func (l link) appendIP(b []byte, from side, hosts [2]uint16, protocol uint8, id uint16, n int) ([]byte, uint64) {
	start, pseudo := len(b), uint64(protocol)+uint64(n)
	if l.ipv6 {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
		b = append(b, protocol, hopLimit)
		for _, s := range [2]side{from, from.other()} {
			b = append(b, networks6[s][:]...)
			b = binary.BigEndian.AppendUint16(b, hosts[s])
		}
		return b, pseudo + sum(b[start+8:])
	}
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4Len+n))
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, 0x40, 0, hopLimit, protocol, 0, 0) // don't fragment
	for _, s := range [2]side{from, from.other()} {
		b = append(b, networks4[s][:]...)
		b = binary.BigEndian.AppendUint16(b, hosts[s])
	}
	binary.BigEndian.PutUint16(b[start+10:], ^fold(sum(b[start:])))
	return b, pseudo + sum(b[start+12:])
}

// TCP flags.
const (
	flagFIN = 1 << iota
	flagSYN
	_
	flagPSH
	flagACK
)

// appendTCP appends a TCP header with the checksum left zero. options are a
// multiple of four bytes.
func appendTCP(b []byte, from, to uint16, seq, ack uint32, flags uint8, win uint16, options []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, uint8(tcpLen+len(options))/4<<4, flags)
	b = binary.BigEndian.AppendUint16(b, win)
	b = append(b, 0, 0, 0, 0) // checksum, urgent pointer
	return append(b, options...)
}

func appendUDP(b []byte, from, to uint16, n int) []byte {
	b = binary.BigEndian.AppendUint16(b, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(udpLen+n))
	return append(b, 0, 0)
}
