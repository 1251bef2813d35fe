package afpacket

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in a block (struct tpacket_block_desc with tpacket_hdr_v1,
// linux/if_packet.h). All numbers in a block are in host byte order, except
// the protocol of sockaddr_ll.
const (
	blockStatusOffset    = 8
	blockCountOffset     = 12 // frames in the block
	blockFirstOffset     = 16 // offset of the first frame's header
	blockFirstTimeOffset = 32
	blockLastTimeOffset  = 40
	blockHeaderLen       = 48
)

// Offsets in a frame's header (struct tpacket3_hdr, followed by sockaddr_ll).
const (
	frameNextOffset    = 0 // offset of the next header from this one
	frameSecOffset     = 4
	frameNsecOffset    = 8
	frameSnapLenOffset = 12
	frameLenOffset     = 16
	frameStatusOffset  = 20
	frameMACOffset     = 24 // offset of the frame from this header
	frameNetOffset     = 26 // offset of its network header from this header
	frameTCIOffset     = 32
	frameTPIDOffset    = 36
	frameLinkOffset    = 48 // struct sockaddr_ll
	frameHeaderLen     = frameLinkOffset + unix.SizeofSockaddrLinklayer
)

// defaultTPID is the tag protocol where the kernel names none: 802.1Q.
const defaultTPID = unix.ETH_P_8021Q

// Frame is one frame in a [Block]. Numbers are in host byte order.
type Frame struct {
	Timestamp int64 // ns since the Unix epoch
	// Data are the captured bytes from the link-layer header on, without the
	// VLAN tag that the kernel stripped. They lie in the ring: valid until the
	// block's Release.
	Data []byte
	// Room ends with Data. The bytes in front of that, 34 with Ethernet and 48
	// where there is no link-layer header, are free: until the block's Release
	// the holder of the lease may overwrite them, and Data, so that a frame can
	// be passed on behind another header without being copied.
	Room []byte
	// Len is the length of the frame as the kernel holds it: like Data it is
	// without a stripped VLAN tag.
	Len int
	// NetworkOffset is the offset of the network header in Data. It may lie
	// beyond the captured bytes.
	NetworkOffset int

	// VLANPresent says that the kernel stripped an outer tag off the frame:
	// VLANTCI is its tag control information, VLANProtocol its TPID.
	VLANPresent           bool
	VLANTCI, VLANProtocol uint16

	// From struct sockaddr_ll (packet(7)).
	Protocol     uint16 // EtherType
	PacketType   uint8  // unix.PACKET_HOST … unix.PACKET_OUTGOING
	Interface    int    // ifindex
	HardwareType uint16 // ARPHRD_ value of the interface
	Address      [8]byte
	AddressLen   uint8 // of the sender's link-layer address; only 8 bytes are in Address
}

// Block is a lease on one block of a ring. The zero value is ready for
// [Ring.Next]. Only one goroutine may use it at a time.
type Block struct {
	ring  *Ring
	index int
	data  []byte
	count int    // frames in the block
	left  int    // frames not yet handed out
	next  uint64 // offset of the next frame's header
}

func statusOf(block []byte) *uint32 {
	return (*uint32)(unsafe.Pointer(&block[blockStatusOffset]))
}

func (b *Block) lease(r *Ring, index int, data []byte) {
	b.ring, b.index = r, index
	b.parse(data)
}

func (b *Block) parse(data []byte) {
	b.data = data
	b.count = int(binary.NativeEndian.Uint32(data[blockCountOffset:]))
	// No more headers than that fit, whatever the count says.
	b.count = min(b.count, len(data)/frameHeaderLen)
	b.left = b.count
	b.next = uint64(binary.NativeEndian.Uint32(data[blockFirstOffset:]))
}

// Len returns the number of frames in the block. It may be 0: the kernel
// retires a block it has only begun when a large frame doesn't fit the rest.
func (b *Block) Len() int { return b.count }

// Next fills in f with the next frame of the block, in the order of arrival,
// and reports whether there was one. f.Data is valid until Release.
//
// Next: whoever leased the block; in rpcapd, pump's Pump.deliver.
func (b *Block) Next(f *Frame) bool {
	if b.left == 0 {
		return false
	}
	if !b.frame(f) {
		b.ring.malformed.Add(uint64(b.left))
		b.left = 0
		return false
	}
	b.left--
	return true
}

// frame reads the frame at b.next. It believes no offset: one that leads
// outside the block makes it fail.
func (b *Block) frame(f *Frame) bool {
	blockLen := uint64(len(b.data))
	if b.next < blockHeaderLen || b.next+frameHeaderLen > blockLen {
		return false
	}
	h := b.data[b.next:]
	hdr := h[:frameHeaderLen]
	mac := uint64(binary.NativeEndian.Uint16(hdr[frameMACOffset:]))
	end := mac + uint64(binary.NativeEndian.Uint32(hdr[frameSnapLenOffset:]))
	if mac < frameHeaderLen || end > uint64(len(h)) {
		return false
	}
	f.Timestamp = int64(binary.NativeEndian.Uint32(hdr[frameSecOffset:]))*1e9 +
		int64(binary.NativeEndian.Uint32(hdr[frameNsecOffset:]))
	// The kernel's struct sockaddr_ll, whose fields f holds, and what alignment
	// left behind it are of no further use.
	f.Room = h[frameLinkOffset:end:end]
	f.Data = h[mac:end:end]
	f.Len = int(binary.NativeEndian.Uint32(hdr[frameLenOffset:]))
	f.NetworkOffset = int(binary.NativeEndian.Uint16(hdr[frameNetOffset:])) - int(mac)
	f.readVLAN(hdr)
	f.readLink(hdr[frameLinkOffset:])
	b.next += uint64(binary.NativeEndian.Uint32(hdr[frameNextOffset:]))
	return true
}

func (f *Frame) readVLAN(hdr []byte) {
	status := binary.NativeEndian.Uint32(hdr[frameStatusOffset:])
	f.VLANPresent = status&unix.TP_STATUS_VLAN_VALID != 0
	f.VLANTCI, f.VLANProtocol = 0, 0
	if !f.VLANPresent {
		return
	}
	f.VLANTCI = uint16(binary.NativeEndian.Uint32(hdr[frameTCIOffset:]))
	f.VLANProtocol = defaultTPID
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		f.VLANProtocol = binary.NativeEndian.Uint16(hdr[frameTPIDOffset:])
	}
}

// readLink reads a struct sockaddr_ll: family, protocol (network order),
// ifindex, hatype, pkttype, halen, addr.
func (f *Frame) readLink(ll []byte) {
	_ = ll[unix.SizeofSockaddrLinklayer-1]
	f.Protocol = binary.BigEndian.Uint16(ll[2:])
	f.Interface = int(int32(binary.NativeEndian.Uint32(ll[4:])))
	f.HardwareType = binary.NativeEndian.Uint16(ll[8:])
	f.PacketType = ll[10]
	f.AddressLen = ll[11]
	f.Address = [8]byte(ll[12:20])
}

// Release gives the block back to the kernel. Frames of it are invalid from
// then on. Releasing a block that holds no lease does nothing.
func (b *Block) Release() {
	r := b.ring
	if r == nil {
		return
	}
	status := statusOf(b.data)
	index := b.index
	*b = Block{}
	// The store has release semantics: our reads are done before. Only when
	// the block is the kernel's again may Next look at it.
	atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
	r.leased[index].Store(false)
	r.drop()
}
