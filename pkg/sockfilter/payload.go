package sockfilter

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers that headers of the network and transport layers carry.
const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
	etherTypeVLAN = 0x8100
	etherTypeQinQ = 0x88a8
	etherTypeTEB  = 0x6558 // Ethernet inside GRE or Geneve

	protoHopByHop  = 0
	protoICMP      = 1
	protoIGMP      = 2
	protoIPv4      = 4
	protoTCP       = 6
	protoUDP       = 17
	protoDCCP      = 33
	protoIPv6      = 41
	protoRouting   = 43
	protoFragment  = 44
	protoGRE       = 47
	protoAuth      = 51
	protoICMPv6    = 58
	protoDestOpts  = 60
	protoSCTP      = 132
	protoUDPLite   = 136
	ipv4FragMask   = 0x3fff // more fragments, and the offset
	ipv4OffsetMask = 0x1fff
	ipv6OffsetMask = 0xfff8
)

// payloadOffset is Linux's skb_get_poff: where the transport header's payload
// starts, 0 if that isn't known. It follows VLAN tags, IPv4, IPv6 with its
// extension headers, and IP inside IP; Linux's flow dissector knows more.
func (p *Packet) payloadOffset() uint32 {
	if p.NetworkOffset < 0 {
		return 0
	}
	d := dissection{frame: p.Data, at: p.NetworkOffset}
	if !d.network(p.Protocol) {
		return 0
	}
	return uint32(d.at + d.transportLen())
}

// endpoints returns the ends of a TCP or UDP packet by its outermost IP header;
// ok is false for other packets, later fragments, and IPv6 packets with
// extension headers.
func (p *Packet) endpoints() (src, dst netip.AddrPort, ok bool) {
	if p.NetworkOffset < 0 || p.NetworkOffset >= len(p.Data) {
		return src, dst, false
	}
	ip := p.Data[p.NetworkOffset:]
	d := dissection{frame: ip}
	var from, to netip.Addr
	switch {
	case ip[0]>>4 == 4 && d.ipv4():
		from, to = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	case ip[0]>>4 == 6 && len(ip) >= 40:
		d.at, d.protocol = 40, ip[6]
		from, to = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	default:
		return src, dst, false
	}
	ports := d.next(4)
	if d.fragment || ports == nil || d.protocol != protoTCP && d.protocol != protoUDP {
		return src, dst, false
	}
	return netip.AddrPortFrom(from, binary.BigEndian.Uint16(ports)), netip.AddrPortFrom(to, binary.BigEndian.Uint16(ports[2:])), true
}

// dissection walks the headers of a packet.
type dissection struct {
	frame    []byte
	at       int   // offset of the header to read next
	protocol uint8 // of the transport header at at
	fragment bool  // not the first one: no transport header
}

// next returns the next n bytes without passing them, nil at the end.
func (d *dissection) next(n int) []byte {
	if d.at+n > len(d.frame) {
		return nil
	}
	return d.frame[d.at : d.at+n]
}

// network passes the network headers of an EtherType; false if it can't.
func (d *dissection) network(etherType uint16) bool {
	for {
		inner := uint16(0)
		switch etherType {
		case etherTypeVLAN, etherTypeQinQ:
			h := d.next(4)
			if h == nil {
				return false
			}
			d.at += 4
			inner = binary.BigEndian.Uint16(h[2:])
		case etherTypeIPv4:
			if !d.ipv4() {
				return false
			}
		case etherTypeIPv6:
			if !d.ipv6() {
				return false
			}
		case etherTypeARP:
			return true // there is nothing in it to pass
		default:
			return false
		}
		switch {
		case inner != 0:
			etherType = inner
		case d.protocol == protoIPv4:
			etherType = etherTypeIPv4
		case d.protocol == protoIPv6:
			etherType = etherTypeIPv6
		default:
			return true
		}
		d.protocol = 0
	}
}

func (d *dissection) ipv4() bool {
	h := d.next(20)
	if h == nil || h[0]&15 < 5 {
		return false
	}
	d.at += int(h[0]&15) * 4
	d.protocol = h[9]
	if fragment := binary.BigEndian.Uint16(h[6:]); fragment&ipv4FragMask != 0 {
		d.fragment = fragment&ipv4OffsetMask != 0
		d.stopTunnel()
	}
	return true
}

// stopTunnel keeps a fragment from being taken for a packet in a tunnel.
func (d *dissection) stopTunnel() {
	if d.protocol == protoIPv4 || d.protocol == protoIPv6 {
		d.protocol = 0
	}
}

func (d *dissection) ipv6() bool {
	h := d.next(40)
	if h == nil {
		return false
	}
	d.at += 40
	d.protocol = h[6]
	for {
		switch d.protocol {
		case protoHopByHop, protoRouting, protoDestOpts:
			h := d.next(2)
			if h == nil {
				return false
			}
			d.protocol = h[0]
			d.at += (int(h[1]) + 1) * 8
		case protoFragment:
			h := d.next(8)
			if h == nil {
				return false
			}
			d.at += 8
			d.protocol = h[0]
			d.fragment = binary.BigEndian.Uint16(h[2:])&ipv6OffsetMask != 0
			d.stopTunnel()
			return true
		default:
			return true
		}
	}
}

// transportLen returns the length of the transport header.
func (d *dissection) transportLen() int {
	if d.fragment {
		return 0
	}
	switch d.protocol {
	case protoTCP:
		if d.at+12 >= len(d.frame) {
			return 0
		}
		return max(20, int(d.frame[d.at+12]>>4)*4)
	case protoUDP, protoUDPLite, protoICMP, protoICMPv6, protoIGMP:
		return 8
	case protoDCCP, protoSCTP:
		return 12
	default:
		return 0
	}
}
