package sockfilter

import "golang.org/x/net/bpf"

// View tells how the frame as the client sees it, which programs are written
// for, relates to the bytes that the kernel has.
type View uint8

const (
	// ViewFrame: the frame from its link-layer header. A VLAN tag that the
	// kernel holds apart stands behind the MAC addresses.
	ViewFrame View = iota
	// ViewCooked: a Linux cooked header (LINKTYPE_LINUX_SLL, pcap-linktype(7)),
	// then the packet from its network header. With a tag held apart the
	// header's protocol is the tag's TPID; TCI and protocol follow. So it is
	// with a tag that is among the bytes of an Ethernet frame, as of one that
	// is sent to a device that adds no tags itself: what is behind the header
	// starts at the TCI.
	ViewCooked
	// ViewCooked2: a cooked header of version 2 (LINKTYPE_LINUX_SLL2), else as
	// ViewCooked.
	ViewCooked2
)

// tagging is where the kernel has a frame's VLAN tag.
type tagging uint8

const (
	untagged tagging = iota // nowhere; in ViewFrame also where the client has it
	tagged                  // beside the frame
	inPlace                 // in the frame, before what the kernel takes for the network header
)

// source is where bytes of the client's frame come from.
type source uint8

const (
	fromFrame   source = iota // the kernel's frame
	fromNetwork               // the kernel's frame, from the network header
	fromField                 // a number that the kernel holds beside the frame
	fromNowhere               // the kernel's filter can't know
)

// field is a number in the client's frame that isn't in the kernel's.
type field uint8

const (
	fieldTPID field = iota
	fieldTCI
	fieldProtocol
	fieldPacketType
	fieldInterface
	fieldZero
)

// region is a part of the client's frame.
type region struct {
	start, end uint32 // offsets; the last region of a layout has no end
	source     source
	shift      uint32 // fromFrame, fromNetwork: what to take off an offset
	field      field  // fromField: the region is this number in network order
}

// noEnd is the end of the last region: no offset is larger.
const noEnd = 1 << 31

// layout is a client's frame as regions, in order and without holes.
type layout struct {
	regions []region
	// grown is how much longer the client's frame is than the kernel's;
	// negative: it depends.
	grown int
	// spare is how much longer the kernel's frame can be than the client's. It
	// is added to the snap length where grown isn't known.
	spare uint32
}

const (
	tagOffset  = 12 // of a VLAN tag, behind the two MAC addresses
	tagLen     = 4
	tciOffset  = 14 // of a tag's second half
	cookedLen  = 16 // struct sll_header
	cooked2Len = 20 // struct sll2_header
	// maxLinkLen exceeds the longest link-layer header (LL_MAX_HEADER).
	maxLinkLen = 256
)

var (
	plainLayout = layout{regions: []region{{0, noEnd, fromFrame, 0, 0}}}

	taggedLayout = layout{grown: tagLen, regions: []region{
		{0, tagOffset, fromFrame, 0, 0},
		{12, 14, fromField, 0, fieldTPID},
		{14, 16, fromField, 0, fieldTCI},
		{16, noEnd, fromFrame, tagLen, 0},
	}}

	// The sender's address and its length, and the hardware type, are the
	// network device's to tell; socket filters can't ask.
	cookedLayout = layout{grown: -1, spare: maxLinkLen, regions: []region{
		{0, 2, fromField, 0, fieldPacketType},
		{2, 14, fromNowhere, 0, 0},
		{14, 16, fromField, 0, fieldProtocol},
		{cookedLen, noEnd, fromNetwork, cookedLen, 0},
	}}

	taggedCookedLayout = layout{grown: -1, spare: maxLinkLen, regions: []region{
		{0, 2, fromField, 0, fieldPacketType},
		{2, 14, fromNowhere, 0, 0},
		{14, 16, fromField, 0, fieldTPID},
		{16, 18, fromField, 0, fieldTCI},
		{18, 20, fromField, 0, fieldProtocol},
		{cookedLen + tagLen, noEnd, fromNetwork, cookedLen + tagLen, 0},
	}}

	// The kernel's protocol is the tag's.
	inPlaceCookedLayout = layout{grown: -1, spare: maxLinkLen, regions: []region{
		{0, 2, fromField, 0, fieldPacketType},
		{2, 14, fromNowhere, 0, 0},
		{14, 16, fromField, 0, fieldProtocol},
		{cookedLen, noEnd, fromFrame, cookedLen - tciOffset, 0},
	}}

	cooked2Layout = layout{grown: -1, spare: maxLinkLen, regions: append(cooked2Header(fieldProtocol),
		region{cooked2Len, noEnd, fromNetwork, cooked2Len, 0},
	)}

	taggedCooked2Layout = layout{grown: -1, spare: maxLinkLen, regions: append(cooked2Header(fieldTPID),
		region{20, 22, fromField, 0, fieldTCI},
		region{22, 24, fromField, 0, fieldProtocol},
		region{cooked2Len + tagLen, noEnd, fromNetwork, cooked2Len + tagLen, 0},
	)}

	inPlaceCooked2Layout = layout{grown: -1, spare: maxLinkLen, regions: append(cooked2Header(fieldProtocol),
		region{cooked2Len, noEnd, fromFrame, cooked2Len - tciOffset, 0},
	)}
)

// cooked2Header returns the regions of struct sll2_header.
func cooked2Header(protocol field) []region {
	return []region{
		{0, 2, fromField, 0, protocol},
		{2, 4, fromField, 0, fieldZero},
		{4, 8, fromField, 0, fieldInterface},
		{8, 10, fromNowhere, 0, 0},
		{10, 11, fromField, 0, fieldPacketType},
		{11, 20, fromNowhere, 0, 0},
	}
}

// layout returns the layout of frames with such a tag.
func (v View) layout(t tagging) *layout {
	return [...][3]*layout{
		ViewFrame:   {untagged: &plainLayout, tagged: &taggedLayout, inPlace: &plainLayout},
		ViewCooked:  {untagged: &cookedLayout, tagged: &taggedCookedLayout, inPlace: &inPlaceCookedLayout},
		ViewCooked2: {untagged: &cooked2Layout, tagged: &taggedCooked2Layout, inPlace: &inPlaceCooked2Layout},
	}[v][t]
}

// taggings returns those for which the view has different layouts.
func (v View) taggings() []tagging {
	if v == ViewFrame {
		return []tagging{untagged, tagged}
	}
	return []tagging{untagged, tagged, inPlace}
}

// payload returns the last region.
func (l *layout) payload() *region { return &l.regions[len(l.regions)-1] }

// piece is a part of a region, 1, 2 or 4 bytes.
type piece struct {
	*region
	offset uint32 // in the client's frame
	size   uint32
}

// split divides size bytes at an offset into pieces of memory that one load
// can fetch, and parts of fields.
func (l *layout) split(offset, size uint32) (pieces []piece) {
	for i := range l.regions {
		s := &l.regions[i]
		for size > 0 && offset < s.end {
			n := min(size, s.end-offset)
			if n == 3 && s.source != fromField {
				n = 2
			}
			pieces = append(pieces, piece{s, offset, n})
			offset, size = offset+n, size-n
		}
	}
	return pieces
}

// networkLimit is the largest offset from the network header that SKF_NET_OFF
// can express with a word behind it. No frame is as long.
const networkLimit = 1<<20 - 4

// base tells what the offset of a load instruction counts from: the client's
// frame or its network header. ok is false if there is nothing there.
func base(k uint32) (network bool, offset uint32, ok bool) {
	switch {
	case k <= maxOffset:
		return false, k, true
	case k >= offsetNetwork && k-offsetNetwork <= networkLimit:
		return true, k - offsetNetwork, true
	case k >= offsetLink && k < offsetNetwork:
		return false, k - offsetLink, true
	}
	return false, 0, false
}

// ends reports whether a load ends the program whatever the frame: because no
// frame is long enough, or because the kernel can't know what it loads.
func (l *layout) ends(ins bpf.RawInstruction) bool {
	switch ins.Op {
	case opLoadLen, opLoadXLen:
		return l.grown < 0
	case opLoadAbsW, opLoadAbsH, opLoadAbsB, opLoadXMSH:
		if isAncillary(ins) {
			return false
		}
		network, offset, ok := base(ins.K)
		return !ok || !network && l.unreachable(offset, loadLen(ins.Op))
	case opLoadIndW, opLoadIndH, opLoadIndB:
		network, offset, ok := base(ins.K)
		return !ok || !network && l.beyond(offset)
	}
	return false
}

// beyond reports whether an offset in the payload is larger than any frame's.
func (l *layout) beyond(offset uint32) bool {
	last := l.payload()
	return last.source == fromNetwork && offset >= last.start && offset-last.shift > networkLimit
}

// unreachable reports whether a load is beyond every frame or has a part that
// comes from nowhere.
func (l *layout) unreachable(offset, size uint32) bool {
	for _, p := range l.split(offset, size) {
		if p.source == fromNowhere || p.source == fromNetwork && p.offset-p.shift > networkLimit {
			return true
		}
	}
	return uint64(offset)+uint64(size) > noEnd
}

// loadLen returns how many bytes a load instruction fetches.
func loadLen(op uint16) uint32 {
	switch op & sizeMask {
	case sizeH:
		return 2
	case sizeB:
		return 1
	default:
		return 4
	}
}
