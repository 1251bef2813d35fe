package capfile

import (
	"encoding/binary"
	"io"

	"capstan/pkg/capture"
)

// Block types and options of pcapng.
const (
	blockSection        = 0x0a0d0d0a
	blockInterface      = 1
	blockPacket         = 2 // obsolete, but found in old files
	blockSimplePacket   = 3
	blockStatistics     = 5
	blockEnhancedPacket = 6

	byteOrderMagic = 0x1a2b3c4d

	optEnd          = 0
	optIfName       = 2
	optIfTSResol    = 9
	optIfFilter     = 11
	optIfTSOffset   = 14
	optHardware     = 2
	optOS           = 3
	optUserAppl     = 4
	optISBStart     = 2
	optISBEnd       = 3
	optISBReceived  = 4
	optISBDropped   = 5
	minBlockLen     = 12
	frameBlockExtra = 64 << 10 // room for options behind a frame
)

// pcapng reads the block format. Sections may follow one another, each with
// its own byte order and interfaces.
type pcapng struct {
	in         *input
	order      byteOrder
	interfaces []ngInterface
}

type ngInterface struct {
	linkType capture.LinkType
	snapLen  uint32
	clock    clock
}

// next reads blocks until one holds a frame.
func (p *pcapng) next(f *capture.Frame) error {
	if body := p.usual(); body != nil {
		return p.packet(f, body, false)
	}
	for {
		kind, body, err := p.block()
		if err != nil {
			return err
		}
		found := false
		switch kind {
		case blockSection:
			p.interfaces = p.interfaces[:0]
			err = p.section(body)
		case blockInterface:
			err = p.interfaceBlock(body)
		case blockEnhancedPacket, blockPacket:
			found, err = true, p.packet(f, body, kind == blockPacket)
		case blockSimplePacket:
			found, err = true, p.simplePacket(f, body)
		}
		if found || err != nil {
			return err
		}
	}
}

// usual takes the block off the input that files are mostly made of, an Enhanced
// Packet Block that was read whole, as block would in more than twice the time. If
// it is another one, or one with a flaw, it takes nothing and returns nil.
func (p *pcapng) usual() (body []byte) {
	b := p.in.buf[p.in.start:p.in.end]
	if len(b) < minBlockLen || p.order.uint32(b) != blockEnhancedPacket {
		return nil
	}
	length := p.order.uint32(b[4:])
	if length < minBlockLen || length%4 != 0 || length > MaxFrameLen+frameBlockExtra || int64(length) > int64(len(b)) || p.order.uint32(b[length-4:]) != length {
		return nil
	}
	p.in.start += int(length)
	p.in.offset += int64(length)
	return b[8 : length-4]
}

// block takes one block off the input and returns its body, valid until the
// next call.
func (p *pcapng) block() (kind uint32, body []byte, err error) {
	h, err := p.in.peek(8)
	if err == io.EOF {
		return 0, nil, err
	}
	if err != nil {
		_, err = p.in.body(8) // fails again, and says where
		return 0, nil, err
	}
	if binary.LittleEndian.Uint32(h) == blockSection {
		if err := p.sectionOrder(); err != nil {
			return 0, nil, err
		}
		h, _ = p.in.peek(8)
	}
	kind = p.order.uint32(h)
	length := p.order.uint32(h[4:])
	limit := uint32(maxBlockLen)
	if kind == blockEnhancedPacket || kind == blockPacket || kind == blockSimplePacket {
		limit = MaxFrameLen + frameBlockExtra
	}
	if length < minBlockLen || length > limit {
		return 0, nil, p.in.corrupt("block type %#x has the impossible length %d", kind, length)
	}
	// Writers of early drafts leave padding out of the length, but not out of the
	// file. What follows the body, the same length, tells that it is so.
	padded := (length + 3) &^ 3
	b, err := p.in.body(int(padded))
	if err != nil {
		return 0, nil, err
	}
	if trailer := p.order.uint32(b[padded-4:]); trailer != length {
		return 0, nil, p.in.corrupt("block type %#x has length %d at its start and %d at its end", kind, length, trailer)
	}
	return kind, b[8 : padded-4], nil
}

// sectionOrder learns the byte order of the section that starts here.
func (p *pcapng) sectionOrder() error {
	h, err := p.in.peek(minBlockLen)
	if err != nil {
		_, err = p.in.body(minBlockLen)
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(h[8:]) == byteOrderMagic:
		p.order = littleEndian
	case binary.BigEndian.Uint32(h[8:]) == byteOrderMagic:
		p.order = bigEndian
	default:
		return p.in.corrupt("section header without a byte-order magic")
	}
	return nil
}

// section refuses what is of another version: its blocks may be any
// (draft-ietf-opsawg-pcapng §4.1).
func (p *pcapng) section(body []byte) error {
	if len(body) < 8 {
		return p.in.corrupt("section header of %d bytes", len(body))
	}
	if major := p.order.uint16(body[4:]); major != 1 {
		return p.in.corrupt("the section is pcapng of version %d.%d, which is not known: 1.x is", major, p.order.uint16(body[6:]))
	}
	return nil
}

func (p *pcapng) interfaceBlock(body []byte) error {
	if len(body) < 8 {
		return p.in.corrupt("interface description of %d bytes", len(body))
	}
	if len(p.interfaces) >= maxInterfaces {
		return p.in.corrupt("more than %d interfaces in a section", maxInterfaces)
	}
	i := ngInterface{
		linkType: capture.LinkTypeFromFile(uint32(p.order.uint16(body))),
		snapLen:  p.order.uint32(body[4:]),
		clock:    newClock(6, 0),
	}
	resolution, offset := uint8(6), int64(0)
	for options := body[8:]; len(options) >= 4; {
		code, n := p.order.uint16(options), int(p.order.uint16(options[2:]))
		padded := (n + 3) &^ 3
		if code == optEnd || 4+padded > len(options) {
			break
		}
		value := options[4 : 4+n]
		switch {
		case code == optIfTSResol && n >= 1:
			resolution = value[0]
		case code == optIfTSOffset && n >= 8:
			offset = int64(p.order.uint64(value))
		}
		options = options[4+padded:]
	}
	i.clock = newClock(resolution, offset)
	p.interfaces = append(p.interfaces, i)
	return nil
}

// packet reads an Enhanced Packet Block, or the obsolete Packet Block, whose
// interface number is narrower.
func (p *pcapng) packet(f *capture.Frame, body []byte, obsolete bool) error {
	const headerLen = 20
	if len(body) < headerLen {
		return p.in.corrupt("packet block of %d bytes", len(body))
	}
	id := p.order.uint32(body)
	if obsolete {
		id = uint32(p.order.uint16(body))
	}
	if int64(id) >= int64(len(p.interfaces)) {
		return p.in.corrupt("packet of interface %d where the section has %d", id, len(p.interfaces))
	}
	i := &p.interfaces[id]
	capLen, wireLen := p.order.uint32(body[12:]), p.order.uint32(body[16:])
	if int64(capLen) > int64(len(body)-headerLen) {
		return p.in.corrupt("packet of %d captured bytes in a block that holds %d", capLen, len(body)-headerLen)
	}
	units := uint64(p.order.uint32(body[4:]))<<32 | uint64(p.order.uint32(body[8:]))
	f.Timestamp = i.clock.nanos(units)
	f.Data = body[headerLen : headerLen+int(capLen) : headerLen+int(capLen)]
	f.Len = int(max(wireLen, capLen))
	f.LinkType = i.linkType
	f.Interface = id + 1
	return nil
}

// simplePacket reads a Simple Packet Block: no time, no captured length.
func (p *pcapng) simplePacket(f *capture.Frame, body []byte) error {
	if len(body) < 4 || len(p.interfaces) == 0 {
		return p.in.corrupt("simple packet block of %d bytes in a section of %d interfaces", len(body), len(p.interfaces))
	}
	i := &p.interfaces[0]
	wireLen := p.order.uint32(body)
	n := min(int64(wireLen), int64(len(body)-4))
	if i.snapLen != 0 {
		n = min(n, int64(i.snapLen))
	}
	f.Timestamp = 0
	f.Data = body[4 : 4+n : 4+n]
	f.Len = int(wireLen)
	f.LinkType = i.linkType
	f.Interface = 1
	return nil
}
