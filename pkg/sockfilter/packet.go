package sockfilter

// Packet is a frame as the client sees it, with a VLAN tag in place and a
// cooked header in front where there is one, and what Linux knows about it
// beside its bytes.
type Packet struct {
	Data []byte // what a program can load
	Len  int    // what it reads as the frame's length

	// NetworkOffset is where the network header starts in Data, which loads
	// at SKF_NET_OFF count from. Negative: unknown, they are out of range.
	NetworkOffset int

	// The values of ancillary loads (linux/filter.h, SKF_AD_).
	Protocol     uint16 // EtherType
	PacketType   uint8  // unix.PACKET_HOST … unix.PACKET_OUTGOING
	Interface    int    // ifindex
	HardwareType uint16 // ARPHRD_ value of the interface

	// Of these a packet ring tells nothing. Programs that read them run in the
	// kernel, or not at all: see [Filter.Set].
	Mark, Queue, Hash, CPU, Random uint32
}

// never is an offset beyond the end of every frame, whatever X is added to it.
const never = 1 << 40

// offset returns where in the frame the offset k of a load instruction points
// to, without X.
func (p *Packet) offset(k uint32) uint64 {
	switch {
	case k <= maxOffset:
		return uint64(k)
	case k >= offsetNetwork && p.NetworkOffset >= 0:
		return uint64(k-offsetNetwork) + uint64(p.NetworkOffset)
	case k >= offsetLink && k < offsetNetwork:
		return uint64(k - offsetLink) // the client's frame starts with its link-layer header
	default:
		return never
	}
}
