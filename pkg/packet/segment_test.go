package packet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/flow"
)

// The parts that the frames of the tests are joined from.
var (
	macs    = bytes.Repeat([]byte{2}, 12)
	payload = []byte("GET / HTTP/1.1\r\n")
	src4    = netip.MustParseAddrPort("192.0.2.9:40000")
	dst4    = netip.MustParseAddrPort("192.0.2.1:80")
	src6    = netip.MustParseAddrPort("[2001:db8::9]:40000")
	dst6    = netip.MustParseAddrPort("[2001:db8::1]:80")
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func be16(v ...uint16) []byte {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, x)
	}
	return b
}

func be32(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

// tcp is a TCP segment with options padded to a multiple of four.
func tcp(options, data []byte) []byte {
	h := make([]byte, 20, 80)
	binary.BigEndian.PutUint16(h[0:], 40000)
	binary.BigEndian.PutUint16(h[2:], 80)
	binary.BigEndian.PutUint32(h[4:], 0x01020304)
	binary.BigEndian.PutUint32(h[8:], 0x05060708)
	h[12] = byte(5+len(options)/4) << 4
	h[13] = byte(FlagACK | FlagPSH)
	binary.BigEndian.PutUint16(h[14:], 0x1234)
	return join(h, options, data)
}

// ip4 is an IPv4 packet; total < 0 stands for the right total length.
func ip4(proto byte, total int, options, body []byte) []byte {
	h := make([]byte, 20)
	h[0] = 0x45 + byte(len(options)/4)
	if total < 0 {
		total = 20 + len(options) + len(body)
	}
	binary.BigEndian.PutUint16(h[2:], uint16(total))
	h[8], h[9] = 64, proto
	copy(h[12:], src4.Addr().AsSlice())
	copy(h[16:], dst4.Addr().AsSlice())
	return join(h, options, body)
}

// ip6 is an IPv6 packet; length < 0 stands for the right payload length.
func ip6(next byte, length int, body []byte) []byte {
	h := make([]byte, 40)
	h[0] = 0x60
	if length < 0 {
		length = len(body)
	}
	binary.BigEndian.PutUint16(h[4:], uint16(length))
	h[6], h[7] = next, 64
	copy(h[8:], src6.Addr().AsSlice())
	copy(h[24:], dst6.Addr().AsSlice())
	return join(h, body)
}

// ext is an IPv6 extension header of 8·n bytes.
func ext(next byte, n int) []byte {
	h := make([]byte, 8*n)
	h[0], h[1], h[2], h[3] = next, byte(n-1), 1, byte(8*n-4) // PadN
	return h
}

// jumbo is a hop-by-hop header with the jumbo payload option.
func jumbo(next byte, length uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{next, 0, 0xc2, 4}, length)
}

func ether(typ uint16, body []byte) []byte { return join(macs, be16(typ), body) }

var big = bytes.Repeat([]byte{'x'}, 70_000)

type decodeCase struct {
	name    string
	link    capture.LinkType
	data    []byte
	len     int // on the wire, 0: len(data)
	want    Outcome
	payload []byte
	missing int
	ipv6    bool
}

func v4() []byte { return ip4(6, -1, nil, tcp(nil, payload)) }
func v6() []byte { return ip6(6, -1, tcp(nil, payload)) }

func linkCases() []decodeCase {
	const ok = OutcomeTCP
	return []decodeCase{
		{name: "ethernet", link: 1, data: ether(0x0800, v4()), want: ok, payload: payload},
		{name: "ethernet ipv6", link: 1, data: ether(0x86dd, v6()), want: ok, payload: payload, ipv6: true},
		{name: "ethernet arp", link: 1, data: ether(0x0806, make([]byte, 28)), want: OutcomeNotIP},
		{name: "ethernet 802.3", link: 1, data: ether(60, make([]byte, 60)), want: OutcomeNotIP},
		{name: "802.3 with snap", link: 1, data: ether(72, join([]byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, v4())), want: ok, payload: payload},
		{name: "802.3 with another snap", link: 1, data: ether(72, join([]byte{0xaa, 0xaa, 3, 0, 0, 9, 8, 0}, v4())), want: OutcomeNotIP},
		{name: "802.1Q", link: 1, data: ether(0x8100, join(be16(5, 0x0800), v4())), want: ok, payload: payload},
		{name: "QinQ", link: 1, data: ether(0x88a8, join(be16(5, 0x8100, 6, 0x86dd), v6())), want: ok, payload: payload, ipv6: true},
		{name: "four tags", link: 1, data: ether(0x9100, join(be16(1, 0x88a8, 5, 0x8100, 6, 0x8100, 7, 0x0800), v4())), want: ok, payload: payload},
		{name: "eight tags", link: 1, data: ether(0x8100, join(bytes.Repeat(be16(1, 0x8100), 7), be16(8, 0x0800), v4())), want: ok, payload: payload},
		{name: "nine tags", link: 1, data: ether(0x8100, join(bytes.Repeat(be16(1, 0x8100), 8), be16(8, 0x0800), v4())), want: OutcomeNotIP},
		{name: "tag cut", link: 1, data: ether(0x8100, be16(5)), len: 90, want: OutcomeTruncated},
		{name: "tag missing", link: 1, data: ether(0x8100, be16(5)), want: OutcomeMalformed},
		{name: "short ethernet", link: 1, data: macs, want: OutcomeMalformed},
		{name: "empty frame", link: 1, want: OutcomeMalformed},
		{name: "cooked", link: 113, data: join(make([]byte, 14), be16(0x0800), v4()), want: ok, payload: payload},
		{name: "cooked with tag", link: 113, data: join(make([]byte, 14), be16(0x8100, 5, 0x0800), v4()), want: ok, payload: payload},
		{name: "cooked v2", link: 276, data: join(be16(0x86dd), make([]byte, 18), v6()), want: ok, payload: payload, ipv6: true},
		{name: "null little-endian", link: 0, data: join([]byte{2, 0, 0, 0}, v4()), want: ok, payload: payload},
		{name: "null big-endian", link: 0, data: join([]byte{0, 0, 0, 2}, v4()), want: ok, payload: payload},
		{name: "null NetBSD", link: 0, data: join([]byte{24, 0, 0, 0}, v6()), want: ok, payload: payload, ipv6: true},
		{name: "null FreeBSD", link: 0, data: join([]byte{28, 0, 0, 0}, v6()), want: ok, payload: payload, ipv6: true},
		{name: "null macOS", link: 0, data: join([]byte{30, 0, 0, 0}, v6()), want: ok, payload: payload, ipv6: true},
		{name: "loop Linux", link: 108, data: join([]byte{0, 0, 0, 10}, v6()), want: ok, payload: payload, ipv6: true},
		{name: "null unknown family", link: 0, data: join([]byte{7, 0, 0, 0}, v4()), want: OutcomeNotIP},
		{name: "raw 12", link: 12, data: v4(), want: ok, payload: payload},
		{name: "raw 14", link: 14, data: v6(), want: ok, payload: payload, ipv6: true},
		{name: "raw 101", link: 101, data: v4(), want: ok, payload: payload},
		{name: "raw version 5", link: 12, data: []byte{0x50}, want: OutcomeNotIP},
		{name: "raw empty", link: 12, want: OutcomeMalformed},
		{name: "ipv4", link: 228, data: v4(), want: ok, payload: payload},
		{name: "ipv4 holding ipv6", link: 228, data: v6(), want: OutcomeMalformed},
		{name: "ipv6", link: 229, data: v6(), want: ok, payload: payload, ipv6: true},
		{name: "unknown link", link: 147, data: v4(), want: OutcomeNotIP},
	}
}

func ipCases() []decodeCase {
	const ok = OutcomeTCP
	frag := func(v uint16) []byte {
		b := v4()
		binary.BigEndian.PutUint16(b[6:], v)
		return b
	}
	frag6 := func(next byte, v uint16) []byte {
		return ip6(44, -1, join([]byte{next, 0}, be16(v, 0, 1), tcp(nil, payload)))
	}
	return []decodeCase{
		{name: "ipv4 options", link: 228, data: ip4(6, -1, make([]byte, 40), tcp(nil, payload)), want: ok, payload: payload},
		{name: "ipv4 udp", link: 228, data: ip4(17, -1, nil, tcp(nil, payload)), want: OutcomeNotTCP},
		{name: "ipv4 DF", link: 228, data: frag(0x4000), want: ok, payload: payload},
		{name: "ipv4 first fragment", link: 228, data: frag(0x2000), want: OutcomeFragment},
		{name: "ipv4 last fragment", link: 228, data: frag(0x00b9), want: OutcomeFragment},
		{name: "ipv4 header length 4", link: 228, data: join([]byte{0x44}, v4()[1:]), want: OutcomeMalformed},
		{name: "ipv4 total shorter than header", link: 228, data: ip4(6, 19, nil, tcp(nil, payload)), want: OutcomeMalformed},
		{name: "ipv4 total shorter than tcp", link: 228, data: ip4(6, 39, nil, tcp(nil, payload)), want: OutcomeMalformed},
		{name: "ipv4 total 0 is a super-segment", link: 228, data: ip4(6, 0, nil, tcp(nil, big)), want: ok, payload: big},
		{name: "ipv4 total 0, cut", link: 228, data: ip4(6, 0, nil, tcp(nil, payload)), len: 40 + 65000, want: ok, payload: payload, missing: 65000 - len(payload)},
		{name: "padding", link: 1, data: ether(0x0800, join(ip4(6, -1, nil, tcp(nil, nil)), make([]byte, 6))), want: ok},
		{name: "padding behind data", link: 1, data: ether(0x0800, join(v4(), make([]byte, 6))), want: ok, payload: payload},
		{name: "cut in the payload", link: 228, data: ip4(6, 40+100, nil, tcp(nil, payload)), len: 140, want: ok, payload: payload, missing: 100 - len(payload)},
		{name: "cut, wire length lost", link: 228, data: ip4(6, 40+100, nil, tcp(nil, payload)), want: ok, payload: payload, missing: 100 - len(payload)},
		{name: "cut in the padding", link: 1, data: ether(0x0800, v4()), len: 90, want: ok, payload: payload},
		{name: "cut in the tcp options", link: 228, data: ip4(6, 20+32+10, nil, tcp(make([]byte, 12), nil))[:44], len: 62, want: ok, missing: 10},
		{name: "cut in the tcp header", link: 228, data: ip4(6, 60, nil, tcp(nil, nil))[:39], len: 60, want: OutcomeTruncated},
		{name: "cut in the ipv4 header", link: 228, data: v4()[:19], len: 56, want: OutcomeTruncated},
		{name: "cut in the ipv4 options", link: 228, data: ip4(6, -1, make([]byte, 40), tcp(nil, payload))[:30], len: 96, want: OutcomeTruncated},
		{name: "tcp data offset 4", link: 228, data: ip4(6, -1, nil, join(tcp(nil, nil)[:12], []byte{0x40}, tcp(nil, nil)[13:])), want: OutcomeMalformed},
		{name: "tcp data offset overruns", link: 228, data: ip4(6, -1, nil, join(tcp(nil, nil)[:12], []byte{0x60}, tcp(nil, nil)[13:])), want: OutcomeMalformed},
		{name: "tcp options of length 0", link: 228, data: ip4(6, -1, nil, tcp([]byte{5, 0, 0, 0}, payload)), want: ok, payload: payload},
		{name: "tcp options overrun", link: 228, data: ip4(6, -1, nil, tcp([]byte{1, 1, 8, 10}, payload)), want: ok, payload: payload},

		{name: "hop-by-hop, routing, destination", link: 229, ipv6: true, want: ok, payload: payload,
			data: ip6(0, -1, join(ext(43, 1), ext(60, 2), ext(6, 3), tcp(nil, payload)))},
		{name: "ah", link: 229, ipv6: true, want: ok, payload: payload, data: ip6(51, -1, join([]byte{6, 4}, make([]byte, 22), tcp(nil, payload)))},
		{name: "esp", link: 229, data: ip6(50, -1, make([]byte, 40)), want: OutcomeNotTCP},
		{name: "no next header", link: 229, data: ip6(59, 0, nil), want: OutcomeNotTCP},
		{name: "atomic fragment", link: 229, data: frag6(6, 0), ipv6: true, want: ok, payload: payload},
		{name: "ipv6 first fragment", link: 229, data: frag6(6, 1), want: OutcomeFragment},
		{name: "ipv6 later fragment", link: 229, data: frag6(60, 8), want: OutcomeFragment},
		{name: "ipv6 udp fragment", link: 229, data: frag6(17, 8), want: OutcomeFragment},
		{name: "ipv6 icmp fragment", link: 229, data: frag6(58, 8), want: OutcomeNotTCP},
		{name: "eight extensions", link: 229, ipv6: true, want: ok, payload: payload,
			data: ip6(60, -1, join(bytes.Repeat(ext(60, 1), 7), ext(6, 1), tcp(nil, payload)))},
		{name: "nine extensions", link: 229, data: ip6(60, -1, join(bytes.Repeat(ext(60, 1), 8), ext(6, 1), tcp(nil, payload))), want: OutcomeMalformed},
		{name: "extension overruns", link: 229, data: ip6(60, -1, []byte{6, 9, 1, 4, 0, 0, 0, 0}), want: OutcomeMalformed},
		{name: "extension cut", link: 229, data: ip6(60, 28, []byte{6, 0, 1, 4}), len: 68, want: OutcomeTruncated},
		{name: "big tcp, jumbo option", link: 229, ipv6: true, want: ok, payload: big,
			data: ip6(0, 0, join(jumbo(6, uint32(8+20+len(big))), tcp(nil, big), make([]byte, 4)))},
		{name: "big tcp, cut", link: 229, ipv6: true, want: ok, payload: payload, missing: len(big) - len(payload),
			data: ip6(0, 0, join(jumbo(6, uint32(8+20+len(big))), tcp(nil, payload))), len: 40 + 8 + 20 + len(big)},
		{name: "jumbo beyond the frame", link: 229, data: ip6(0, 0, join(jumbo(6, 1<<31), tcp(nil, big))), want: OutcomeMalformed},
		{name: "jumbo not needed", link: 229, data: ip6(0, 0, join(jumbo(6, 44), tcp(nil, payload))), want: OutcomeMalformed},
		{name: "big tcp, length 0", link: 229, ipv6: true, data: ip6(6, 0, tcp(nil, big)), want: ok, payload: big},
		{name: "cut in the ipv6 header", link: 229, data: v6()[:39], len: 76, want: OutcomeTruncated},
		{name: "ipv6 holding ipv4", link: 229, data: ip4(6, -1, nil, tcp(nil, payload)), want: OutcomeMalformed},
	}
}

func TestDecode(t *testing.T) {
	for _, c := range allCases() {
		t.Run(c.name, func(t *testing.T) { runCase(t, &c) })
	}
}

func runCase(t *testing.T, c *decodeCase) {
	f := capture.Frame{Data: c.data, Len: c.len, LinkType: c.link}
	if f.Len == 0 {
		f.Len = len(f.Data)
	}
	s := Segment{Missing: -1, Payload: []byte("left over")}
	if o := new(Decoder).Decode(&f, &s); o != c.want {
		t.Fatalf("outcome %v, want %v", o, c.want)
	}
	compare(t, &f)
	if c.want != OutcomeTCP {
		return
	}
	src, dst := src4, dst4
	if c.ipv6 {
		src, dst = src6, dst6
	}
	key, dir := flow.NewKey(flow.EndpointFrom(src), flow.EndpointFrom(dst))
	if s.Key != key || s.Dir != dir || s.Key.Sender(s.Dir).AddrPort() != src {
		t.Errorf("sent by %v, want %v", s.Key.Sender(s.Dir).AddrPort(), src)
	}
	if s.Seq != 0x01020304 || s.Ack != 0x05060708 || s.Window != 0x1234 || s.Flags != FlagACK|FlagPSH {
		t.Errorf("decoded %+v", s)
	}
	if !bytes.Equal(s.Payload, c.payload) || s.Missing != c.missing {
		t.Errorf("payload of %d bytes and %d missing, want %d and %d", len(s.Payload), s.Missing, len(c.payload), c.missing)
	}
}

// A frame that is cut anywhere loses nothing but what was cut: the payload and
// what is missing of it always add up.
func TestDecodeOfEveryPrefix(t *testing.T) {
	for _, c := range allCases() {
		if c.want != OutcomeTCP || len(c.data) > 1000 || c.missing > 0 {
			continue
		}
		for n := range c.data {
			f := capture.Frame{Data: c.data[:n:n], Len: len(c.data), LinkType: c.link}
			var s Segment
			switch o := new(Decoder).Decode(&f, &s); o {
			case OutcomeTruncated:
			case OutcomeTCP:
				if len(s.Payload)+s.Missing != len(c.payload) || !bytes.HasPrefix(c.payload, s.Payload) {
					t.Fatalf("%s cut to %d: %q and %d missing", c.name, n, s.Payload, s.Missing)
				}
			default:
				t.Fatalf("%s cut to %d of %d: %v", c.name, n, len(c.data), o)
			}
		}
	}
}

func TestOutcomeNames(t *testing.T) {
	seen := map[string]bool{}
	for o := range NumOutcomes {
		name := Outcome(o).String()
		if name == "" || seen[name] {
			t.Errorf("outcome %d is called %q", o, name)
		}
		seen[name] = true
	}
	if got := Outcome(NumOutcomes).String(); got != "Outcome(8)" {
		t.Errorf("unknown outcome is called %q", got)
	}
}

func TestFlagsString(t *testing.T) {
	if got := (FlagSYN | FlagACK).String(); got != "SYN|ACK" {
		t.Errorf("SYN-ACK is called %q", got)
	}
	if got := Flags(0).String(); got != "none" {
		t.Errorf("no flags are called %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range allCases() {
		if len(c.data) < 1000 {
			f.Add(uint32(c.link), uint16(0), c.data)
		}
	}
	f.Fuzz(func(t *testing.T, link uint32, cut uint16, data []byte) {
		frame := &capture.Frame{Data: data, Len: len(data) + int(cut), LinkType: capture.LinkType(link % 300)}
		compare(t, frame)
	})
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	for _, c := range allCases() {
		f := capture.Frame{Data: c.data, Len: len(c.data), LinkType: c.link}
		var s Segment
		d := NewDecoder(Config{Checksums: ChecksumCount, Scoped: true})
		if n := testing.AllocsPerRun(100, func() { d.Decode(&f, &s) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := bytes.Repeat([]byte{'x'}, 500)
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"ipv4", ether(0x0800, ip4(6, -1, nil, tcp(make([]byte, 12), body)))},
		{"vlan+ipv4", ether(0x8100, join(be16(5, 0x0800), ip4(6, -1, nil, tcp(make([]byte, 12), body))))},
		{"ipv6", ether(0x86dd, ip6(6, -1, tcp(make([]byte, 12), body)))},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := capture.Frame{Data: c.data, Len: len(c.data), LinkType: capture.LinkTypeEthernet}
			var s Segment
			d := NewDecoder(Config{})
			b.ReportAllocs()
			b.SetBytes(int64(len(c.data)))
			for b.Loop() {
				if d.Decode(&f, &s) != OutcomeTCP {
					b.Fatal("not decoded")
				}
			}
		})
	}
}

func allCases() []decodeCase {
	return slices.Concat(linkCases(), ipCases(), wlanCases(), tunnelCases())
}
