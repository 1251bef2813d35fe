package pcapfilter

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"capstan/pkg/capture"
)

// frame is bytes as a filter sees them, and the length on the wire.
type frame struct {
	data    []byte
	wireLen int
	whole   []byte // data before it was cut off
}

// frameMaker makes frames out of few addresses, ports and protocols, the ones
// that the expressions of the tests name, so that they often match.
type frameMaker struct{ *rand.Rand }

func newFrameMaker(seed uint64) frameMaker { return frameMaker{rand.New(rand.NewPCG(seed, 1))} }

func pick[T any](f frameMaker, from ...T) T { return from[f.IntN(len(from))] }

func be16(n int) []byte    { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func (f frameMaker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(f.Uint32())
	}
	return b
}

// frames returns n frames of a link type, some of them cut off or damaged.
func (f frameMaker) frames(t capture.LinkType, n int) []frame {
	list := make([]frame, n)
	for i := range list {
		data := f.frame(t)
		whole, wire := data, len(data)
		switch f.IntN(8) {
		case 0: // cut off
			data = data[:f.IntN(len(data)+1)]
		case 1: // damaged
			// Not the first bytes: an address family that only we know is
			// for another test.
			for range 1 + f.IntN(3) {
				data[4+f.IntN(len(data)-4)] = byte(f.Uint32())
			}
		case 2: // longer than it says
			data = append(data, f.bytes(f.IntN(200))...)
			whole, wire = data, len(data)
		}
		list[i] = frame{data, wire, whole}
	}
	return list
}

func (f frameMaker) frame(t capture.LinkType) []byte {
	switch t {
	case capture.LinkTypeEthernet:
		return join(f.mac(), f.mac(), f.etherPayload())
	case capture.LinkTypeLinuxSLL:
		return join(be16(f.IntN(6)), be16(1), be16(6), f.mac(), []byte{0, 0}, f.etherPayload())
	case capture.LinkTypeLinuxSLL2:
		inner := f.etherPayload()
		header := join(inner[:2], []byte{0, 0}, be32(uint32(f.IntN(5))), be16(1), []byte{byte(f.IntN(6)), 6}, f.mac(), []byte{0, 0})
		return join(header, inner[2:])
	case capture.LinkTypeNull, capture.LinkTypeLoop:
		return f.familyFrame(t)
	case capture.LinkTypePPP, capture.LinkTypePPPSerial:
		return join([]byte{0xff, 0x03}, f.pppPayload())
	case capture.LinkTypePPPEther:
		return join([]byte{0x11, 0}, be16(f.IntN(3)), be16(f.IntN(100)), f.pppPayload())
	case capture.LinkTypeIPv4:
		return f.ipv4()
	case capture.LinkTypeIPv6:
		return f.ipv6()
	}
	if f.IntN(10) == 0 {
		return f.bytes(40)
	}
	return pick(f, f.ipv4(), f.ipv6())
}

func (f frameMaker) familyFrame(t capture.LinkType) []byte {
	family, packet := uint32(2), f.ipv4()
	switch f.IntN(5) {
	case 0, 1:
		family, packet = pick(f, uint32(24), 28, 30), f.ipv6()
	case 2:
		family = pick(f, uint32(0), 1, 7, 23, 25, 29)
	}
	if t == capture.LinkTypeNull {
		return join(binary.LittleEndian.AppendUint32(nil, family), packet)
	}
	return join(be32(family), packet)
}

// pppPayload returns a PPP protocol number and what follows it.
func (f frameMaker) pppPayload() []byte {
	switch f.IntN(5) {
	case 0, 1:
		return join(be16(0x57), f.ipv6())
	case 2:
		return join(be16(pick(f, 0x23, 0x25, 0x27, 0x29, 0x2b, 0x31, 0xc021, 0x281)), f.bytes(40))
	}
	return join(be16(0x21), f.ipv4())
}

func (f frameMaker) mac() []byte {
	return pick(f, []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}, []byte{255, 255, 255, 255, 255, 255}, []byte{1, 0, 0x5e, 0, 0, 1}, f.bytes(6))
}

// etherPayload returns an EtherType or length, and what follows it.
func (f frameMaker) etherPayload() []byte {
	switch f.IntN(16) {
	case 0, 1:
		return join(be16(etherARP), f.arp())
	case 2:
		return join(be16(etherRARP), f.arp())
	case 3, 4, 5:
		return join(be16(pick(f, etherVLAN, etherVLAN, etherQinQ, etherOld)), be16(pick(f, 0, 10, 20, 0x200a, 0xe014)), f.etherPayload())
	case 6:
		return join(be16(etherMPLS), f.labels())
	case 7:
		return join(be16(etherPPPoES), []byte{0x11, 0}, be16(pick(f, 7, 8)), be16(40), f.ppp())
	case 8:
		return join(be16(pick(f, etherPPPoED, 0x88cc, 0x6000+f.IntN(8), etherIPX, etherAppleTalk, etherAARP)), f.bytes(40))
	case 9:
		return join(be16(pick(f, 1, 3, 4, 40, 100, 1500)), f.llc())
	case 10, 11, 12:
		return join(be16(etherIPv6), f.ipv6())
	}
	return join(be16(etherIPv4), f.ipv4())
}

func (f frameMaker) labels() []byte {
	var b []byte
	for n := f.IntN(3); ; n-- {
		bottom := uint32(0)
		if n == 0 {
			bottom = 0x100
		}
		b = append(b, be32(pick(f, uint32(100), 200, 300)<<12|bottom|64)...)
		if n == 0 {
			return join(b, pick(f, f.ipv4(), f.ipv6(), f.bytes(30)))
		}
	}
}

func (f frameMaker) ppp() []byte {
	switch f.IntN(5) {
	case 0, 1:
		return join(be16(0x21), f.ipv4())
	case 2, 3:
		return join(be16(0x57), f.ipv6())
	}
	return join(be16(pick(f, pppMPLS, 0xc021, 0x29, 0x2b)), f.labels())
}

func (f frameMaker) llc() []byte {
	switch f.IntN(6) {
	case 0:
		return join([]byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(pick(f, etherIPv4, etherAARP, etherIPX)), f.bytes(30))
	case 1:
		return join([]byte{0xaa, 0xaa, 3, 8, 0, 7}, be16(etherAppleTalk), f.bytes(30))
	case 2:
		return join([]byte{0xfe, 0xfe, 3, pick(f, byte(0x81), 0x82, 0x83, 0x83), 27, 1, 0, byte(14 + f.IntN(15))}, f.bytes(30))
	case 3:
		return join([]byte{0xff, 0xff}, f.bytes(30))
	}
	return join([]byte{pick(f, byte(0x42), 0xe0, 0xf0, 6), pick(f, byte(0x42), 0xe0, 0xf0, 6), pick(f, 3, byte(f.Uint32()))}, f.bytes(40))
}

func (f frameMaker) addr4() []byte {
	text := pick(f, "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.0.0", "192.168.1.1", "192.168.1.2", "224.0.0.1", "255.255.255.255", "0.0.0.0", "8.8.8.8", "10.9.8.1")
	return netip.MustParseAddr(text).AsSlice()
}

func (f frameMaker) addr6() []byte {
	text := pick(f, "2001:db8::1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::5", "2001:db8:8000::1", "fe80::1", "ff02::1", "::1", "::ffff:10.0.0.1")
	return netip.MustParseAddr(text).AsSlice()
}

func (f frameMaker) arp() []byte {
	return join(be16(1), be16(etherIPv4), []byte{6, 4}, be16(1+f.IntN(4)), f.mac(), f.addr4(), f.mac(), f.addr4())
}

func (f frameMaker) ipv4() []byte {
	protocol := pick(f, 6, 6, 6, 17, 17, 132, 1, 1, 2, 9, 47, 50, 51, 103, 112, 255, 0)
	words := pick(f, 5, 5, 5, 5, 6, 8, 15)
	options := f.bytes(words*4 - 20)
	payload := f.transport(protocol)
	fragment := pick(f, 0, 0, 0, 0x4000, 0x4000, 0x2000, 0x2010, 0x0010, 0x8000)
	header := join([]byte{0x40 | byte(words), pick(f, byte(0), 0xb8)}, be16(len(options)+20+len(payload)), be16(f.IntN(1<<16)), be16(fragment),
		[]byte{pick(f, byte(1), 63, 64, 128), byte(protocol), 0, 0}, f.addr4(), f.addr4(), options)
	return join(header, payload)
}

func (f frameMaker) ipv6() []byte {
	protocol := pick(f, 6, 6, 6, 17, 17, 132, 58, 58, 44, 0, 50, 51, 103, 59)
	payload := f.transport(protocol)
	if protocol == fragmentHeader {
		inner := pick(f, 6, 17, 58)
		payload = join([]byte{byte(inner), 0}, be16(pick(f, 0, 1, 0x20)), be32(7), f.transport(inner))
	}
	return join([]byte{0x60, 0, 0, 0}, be16(len(payload)), []byte{byte(protocol), pick(f, byte(1), 64, 255)}, f.addr6(), f.addr6(), payload)
}

func (f frameMaker) port() []byte {
	return be16(pick(f, 80, 80, 443, 22, 53, 123, 161, 5000, 8080, 8500, 85, 90, 91, 79, 514, 0, 65535, 1023, 1024, 442, f.IntN(1<<16)))
}

func (f frameMaker) transport(protocol int) []byte {
	rest := f.bytes(f.IntN(60))
	switch protocol {
	case 6:
		words := pick(f, 5, 5, 8)
		flags := pick(f, byte(2), 0x12, 0x10, 0x18, 0x11, 4, 0, 1)
		header := join(f.port(), f.port(), f.bytes(8), []byte{byte(words) << 4, flags}, f.bytes(6), f.bytes(words*4-20))
		return join(header, pick(f, []byte("GET / HTTP/1.1\r\n"), nil), rest)
	case 17:
		return join(f.port(), f.port(), be16(8+len(rest)), []byte{0, 0}, pick(f, []byte{0x12, 0x34}, nil), rest)
	case 132:
		return join(f.port(), f.port(), f.bytes(8), rest)
	case 1:
		return join([]byte{pick(f, byte(0), 3, 5, 8, 11), byte(f.IntN(6))}, f.bytes(6), rest)
	case 58:
		return join([]byte{pick(f, byte(1), 128, 129, 133, 135, 136, 137), 0}, f.bytes(6), rest)
	}
	return join(pick(f, []byte{0x16, 0x16}, []byte{0x21}, []byte{0x20}, []byte{1}), rest)
}
