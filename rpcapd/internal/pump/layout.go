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
	maxOverhead = cooked2Len + vlanLen

	// defaultTPID is what a tag has whose protocol the kernel didn't tell.
	defaultTPID = 0x8100
)

// put writes the client's view of f to dst, which must have room for
// len(f.Data) + maxOverhead bytes. It returns how many bytes it wrote and the
// frame's length on the wire in this view.
func (l Layout) put(dst []byte, f *afpacket.Frame) (n, wireLen int) {
	switch l {
	case LayoutCooked:
		return putCooked(dst, f)
	case LayoutCooked2:
		return putCooked2(dst, f)
	case LayoutRaw:
		offset := min(max(f.NetworkOffset, 0), len(f.Data))
		return copy(dst, f.Data[offset:]), f.Len - offset
	default:
		return putEthernet(dst, f)
	}
}

// packet returns what a filter can ask about f, whose client's view is data.
func (l Layout) packet(data []byte, wireLen int, f *afpacket.Frame) *sockfilter.Packet {
	p := &sockfilter.Packet{
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
	case LayoutRaw:
	default:
		p.NetworkOffset = f.NetworkOffset
		if f.VLANPresent && f.NetworkOffset >= vlanOffset {
			p.NetworkOffset += vlanLen
		}
	}
	return p
}

// putEthernet puts a stripped VLAN tag back behind the MAC addresses, as
// libpcap does (pcap-linux.c, pcap_handle_packet_mmap). A frame too short to
// have the addresses stays as it is.
func putEthernet(dst []byte, f *afpacket.Frame) (n, wireLen int) {
	if !f.VLANPresent || len(f.Data) < vlanOffset {
		return copy(dst, f.Data), f.Len
	}
	copy(dst, f.Data[:vlanOffset])
	putTag(dst[vlanOffset:], f)
	return vlanOffset + vlanLen + copy(dst[vlanOffset+vlanLen:], f.Data[vlanOffset:]), f.Len + vlanLen
}

// putCooked builds struct sll_header. With a VLAN tag its protocol field holds
// the tag's TPID, and TCI and protocol follow, which is where libpcap's
// insertion at SLL_HDR_LEN - 2 puts them.
func putCooked(dst []byte, f *afpacket.Frame) (n, wireLen int) {
	_ = dst[maxOverhead-1]
	binary.BigEndian.PutUint16(dst[0:], uint16(f.PacketType))
	binary.BigEndian.PutUint16(dst[2:], f.HardwareType)
	binary.BigEndian.PutUint16(dst[4:], uint16(f.AddressLen))
	copy(dst[6:14], f.Address[:])
	n = cookedLen - 2
	if f.VLANPresent {
		putTag(dst[n:], f)
		n += vlanLen
	}
	binary.BigEndian.PutUint16(dst[n:], f.Protocol)
	n += 2
	offset := cookedPayload(f)
	return n + copy(dst[n:], f.Data[offset:]), n + f.Len - offset
}

// putCooked2 builds struct sll2_header. A tag is put where that of version 1
// is: TPID in the protocol field, TCI and protocol behind the header.
//
// Deviation: libpcap loses the tag.
func putCooked2(dst []byte, f *afpacket.Frame) (n, wireLen int) {
	_ = dst[maxOverhead-1]
	binary.BigEndian.PutUint16(dst[0:], f.Protocol)
	binary.BigEndian.PutUint16(dst[2:], 0)
	binary.BigEndian.PutUint32(dst[4:], uint32(f.Interface))
	binary.BigEndian.PutUint16(dst[8:], f.HardwareType)
	dst[10] = f.PacketType
	dst[11] = f.AddressLen
	copy(dst[12:20], f.Address[:])
	n = cooked2Len
	if f.VLANPresent {
		binary.BigEndian.PutUint16(dst[0:], tpid(f))
		binary.BigEndian.PutUint16(dst[n:], f.VLANTCI)
		binary.BigEndian.PutUint16(dst[n+2:], f.Protocol)
		n += vlanLen
	}
	offset := cookedPayload(f)
	return n + copy(dst[n:], f.Data[offset:]), n + f.Len - offset
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
