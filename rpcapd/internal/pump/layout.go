package pump

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

// Layout tells how a frame of the ring becomes the frame as the client sees
// it. Filter and delivery both obey it.
type Layout uint8

// The layouts.
const (
	// LayoutEthernet: the frame from its MAC header, with a VLAN tag that the
	// kernel took off back in place.
	LayoutEthernet Layout = iota
	// LayoutRaw: the frame from its network header.
	LayoutRaw
	// LayoutCooked: a Linux cooked header, then the frame from its network
	// header (pcap-linktype(7), LINKTYPE_LINUX_SLL).
	LayoutCooked
	// LayoutCooked2: the same with a cooked header of version 2
	// (LINKTYPE_LINUX_SLL2).
	LayoutCooked2
)

// Link types that begin with a cooked header and go on as no other does
// (pcap-linktype(7)).
const (
	linkTypeIrDA    capture.LinkType = 144
	linkTypeLAPD    capture.LinkType = 177
	linkTypeNetlink capture.LinkType = 253
)

// LayoutOf returns the layout of frames of link type t.
func LayoutOf(t capture.LinkType) Layout {
	switch t {
	case capture.LinkTypeRaw:
		return LayoutRaw
	case capture.LinkTypeLinuxSLL, linkTypeIrDA, linkTypeLAPD, linkTypeNetlink:
		return LayoutCooked
	case capture.LinkTypeLinuxSLL2:
		return LayoutCooked2
	default:
		return LayoutEthernet
	}
}

// View returns what a filter in the kernel has to know of the layout.
func (l Layout) View() sockfilter.View {
	switch l {
	case LayoutCooked:
		return sockfilter.ViewCooked
	case LayoutCooked2:
		return sockfilter.ViewCooked2
	default:
		return sockfilter.ViewFrame
	}
}

const (
	cookedLen   = 16 // struct sll_header
	cooked2Len  = 20 // struct sll2_header
	ethernetLen = 14 // addresses and protocol
	vlanLen     = 4  // TPID and TCI
	vlanOffset  = 12 // behind the two MAC addresses

	// defaultTPID is what a tag has whose protocol the kernel didn't tell.
	defaultTPID = 0x8100
)

// head tells how the client's view of f begins: with n bytes that putHead
// writes, in place of the first skip bytes of f.Data. The rest is the same.
func (l Layout) head(f *afpacket.Frame) (n, skip int) {
	tag := 0
	if f.VLANPresent {
		tag = vlanLen
	}
	switch l {
	case LayoutCooked:
		return cookedLen + tag, cookedPayload(f)
	case LayoutCooked2:
		return cooked2Len + tag, cookedPayload(f)
	case LayoutRaw:
		return 0, min(max(f.NetworkOffset, 0), len(f.Data))
	default:
		// A stripped tag goes back behind the MAC addresses. A frame too short
		// to have them stays as it is.
		if !f.VLANPresent || len(f.Data) < vlanOffset {
			return 0, 0
		}
		return vlanOffset + vlanLen, vlanOffset
	}
}

// putHead writes the first bytes of the client's view, as many as head says. dst
// may overlap f.Data.
func (l Layout) putHead(dst []byte, f *afpacket.Frame) {
	switch l {
	case LayoutCooked:
		putCooked(dst, f)
	case LayoutCooked2:
		putCooked2(dst, f)
	case LayoutRaw:
	default:
		if f.VLANPresent && len(f.Data) >= vlanOffset {
			// As libpcap does (pcap-linux.c, pcap_handle_packet_mmap).
			copy(dst, f.Data[:vlanOffset])
			putTag(dst[vlanOffset:], f)
		}
	}
}

// packet returns what a filter can ask about f, whose client's view is data.
func (l Layout) packet(data []byte, wireLen int, f *afpacket.Frame) sockfilter.Packet {
	p := sockfilter.Packet{
		Data: data, Len: wireLen,
		Protocol: f.Protocol, PacketType: f.PacketType, Interface: f.Interface, HardwareType: f.HardwareType,
	}
	switch l {
	case LayoutCooked, LayoutCooked2:
		p.NetworkOffset = cookedLen
		if l == LayoutCooked2 {
			p.NetworkOffset = cooked2Len
		}
		if f.VLANPresent {
			p.NetworkOffset += vlanLen
		}
		p.NetworkOffset += max(f.NetworkOffset, 0) - cookedPayload(f)
	case LayoutRaw:
	default:
		p.NetworkOffset = f.NetworkOffset
		if f.VLANPresent && f.NetworkOffset >= vlanOffset {
			p.NetworkOffset += vlanLen
		}
	}
	return p
}

// putCooked builds struct sll_header. With a VLAN tag its protocol field holds
// the tag's TPID, and TCI and protocol follow, which is where libpcap's
// insertion at SLL_HDR_LEN - 2 puts them.
func putCooked(dst []byte, f *afpacket.Frame) {
	_ = dst[cookedLen-1]
	binary.BigEndian.PutUint16(dst[0:], uint16(f.PacketType))
	binary.BigEndian.PutUint16(dst[2:], f.HardwareType)
	binary.BigEndian.PutUint16(dst[4:], uint16(f.AddressLen))
	copy(dst[6:14], f.Address[:])
	n := cookedLen - 2
	if f.VLANPresent {
		putTag(dst[n:], f)
		n += vlanLen
	}
	binary.BigEndian.PutUint16(dst[n:], f.Protocol)
}

// putCooked2 builds struct sll2_header. A tag is put where that of version 1
// is: TPID in the protocol field, TCI and protocol behind the header.
//
// Deviation: libpcap loses the tag.
func putCooked2(dst []byte, f *afpacket.Frame) {
	_ = dst[cooked2Len-1]
	binary.BigEndian.PutUint16(dst[0:], f.Protocol)
	binary.BigEndian.PutUint16(dst[2:], 0)
	binary.BigEndian.PutUint32(dst[4:], uint32(f.Interface))
	binary.BigEndian.PutUint16(dst[8:], f.HardwareType)
	dst[10] = f.PacketType
	dst[11] = f.AddressLen
	copy(dst[12:20], f.Address[:])
	if f.VLANPresent {
		binary.BigEndian.PutUint16(dst[0:], tpid(f))
		binary.BigEndian.PutUint16(dst[cooked2Len:], f.VLANTCI)
		binary.BigEndian.PutUint16(dst[cooked2Len+2:], f.Protocol)
	}
}

// cookedPayload returns the offset of what follows a cooked header, which tells
// the protocol. Of a frame that is sent with its tag in place, to a device that
// adds none itself, the kernel's protocol is the tag's, while its network
// header is behind all tags: then the payload is from the tag's TCI on.
func cookedPayload(f *afpacket.Frame) int {
	offset := max(f.NetworkOffset, 0)
	isTag := f.Protocol == unix.ETH_P_8021Q || f.Protocol == unix.ETH_P_8021AD
	if isTag && !f.VLANPresent && f.HardwareType == unix.ARPHRD_ETHER {
		offset = min(offset, ethernetLen)
	}
	return min(offset, len(f.Data))
}

func putTag(dst []byte, f *afpacket.Frame) {
	binary.BigEndian.PutUint16(dst, tpid(f))
	binary.BigEndian.PutUint16(dst[2:], f.VLANTCI)
}

func tpid(f *afpacket.Frame) uint16 {
	if f.VLANProtocol == 0 {
		return defaultTPID
	}
	return f.VLANProtocol
}
