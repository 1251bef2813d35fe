package pump

import (
	"encoding/binary"

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
)

// LayoutOf returns the layout of frames of link type t.
func LayoutOf(t capture.LinkType) Layout {
	switch t {
	case capture.LinkTypeRaw:
		return LayoutRaw
	case capture.LinkTypeLinuxSLL:
		return LayoutCooked
	default:
		return LayoutEthernet
	}
}

const (
	cookedLen   = 16 // struct sll_header
	vlanLen     = 4  // TPID and TCI
	vlanOffset  = 12 // behind the two MAC addresses
	maxOverhead = cookedLen + vlanLen

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
	case LayoutCooked:
		p.NetworkOffset = cookedLen
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
	offset := min(max(f.NetworkOffset, 0), len(f.Data))
	return n + copy(dst[n:], f.Data[offset:]), n + f.Len - offset
}

func putTag(dst []byte, f *afpacket.Frame) {
	tpid := f.VLANProtocol
	if tpid == 0 {
		tpid = defaultTPID
	}
	binary.BigEndian.PutUint16(dst, tpid)
	binary.BigEndian.PutUint16(dst[2:], f.VLANTCI)
}
