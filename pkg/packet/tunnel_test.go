package packet

import (
	"bytes"
	"encoding/binary"
	"testing"

	"capstan/pkg/capture"
)

// The headers that the tests put around a packet.

func udp(port uint16, body []byte) []byte {
	return join(be16(54321, port, uint16(8+len(body)), 0), body)
}
func vxlan(vni uint32, frame []byte) []byte {
	return join([]byte{8, 0, 0, 0}, be32(vni<<8), frame)
}
func geneve(options int, typ uint16, vni uint32, body []byte) []byte {
	return join([]byte{byte(options / 4), 0}, be16(typ), be32(vni<<8), make([]byte, options), body)
}
func gtp(flags byte, body []byte) []byte {
	return join([]byte{flags, 255}, be16(uint16(len(body))), be32(0x1234), body)
}
func l2tp(flags uint16, body []byte) []byte     { return join(be16(flags, 7, 9), body) }
func gre(flags, typ uint16, body []byte) []byte { return join(be16(flags, typ), body) }

// ip4of and ip6of put body into a packet of their own protocol.
func ip4of(proto byte, body []byte) []byte { return ip4(proto, -1, nil, body) }
func ip6of(next byte, body []byte) []byte  { return ip6(next, -1, body) }

func nested(n int, inner []byte) []byte {
	for range n {
		inner = ip4of(4, inner)
	}
	return inner
}

func tunnelCases() []decodeCase {
	const ok = OutcomeTCP
	frame4, frame6 := ether(0x0800, v4()), ether(0x86dd, v6())
	nflog := func(order binary.AppendByteOrder, attrs ...[]byte) []byte {
		b := []byte{2, 0, 0, 0}
		for i, a := range attrs {
			typ := uint16(10 + i)
			if i == len(attrs)-1 {
				typ = 9
			}
			b = order.AppendUint16(order.AppendUint16(b, uint16(4+len(a))), typ)
			b = append(b, a...)
			b = append(b, make([]byte, (4-len(a)%4)%4)...)
		}
		return b
	}
	const bottom = 1 << 8
	return []decodeCase{
		{name: "mpls", link: 1, data: ether(0x8847, join(be32(17<<12|64), be32(18<<12|bottom|64), v4())), want: ok, payload: payload},
		{name: "mpls behind a tag", link: 1, data: ether(0x8100, join(be16(7, 0x8847), be32(18<<12|bottom), v6())), want: ok, payload: payload, ipv6: true},
		{name: "mpls pseudowire", link: 1, data: ether(0x8847, join(be32(18<<12|bottom), be32(0), frame4)), want: ok, payload: payload},
		{name: "mpls without bottom", link: 1, data: ether(0x8847, join(bytes.Repeat(be32(17<<12), 9), v4())), want: OutcomeNotIP},
		{name: "mpls cut", link: 1, data: ether(0x8847, be32(17<<12)), len: 100, want: OutcomeTruncated},
		{name: "pppoe", link: 1, data: ether(0x8864, join([]byte{0x11, 0, 0, 1}, be16(2+56, 0x0021), v4())), want: ok, payload: payload},
		{name: "pppoe ipv6, compressed protocol", link: 51, data: join([]byte{0x11, 0, 0, 1, 0, 77, 0x57}, v6()), want: ok, payload: payload, ipv6: true},
		{name: "pppoe around a super-segment, padded", link: 1, data: ether(0x8864, join([]byte{0x11, 0, 0, 1}, be16(2+56, 0x0021), ip4(6, 0, nil, tcp(nil, payload)), make([]byte, 9))), want: ok, payload: payload},
		{name: "pppoe ipv6 around a super-segment, padded", link: 1, data: ether(0x8864, join([]byte{0x11, 0, 0, 1}, be16(2+76, 0x0057), ip6(6, 0, tcp(nil, payload)), make([]byte, 9))), want: ok, payload: payload, ipv6: true},
		{name: "pppoe discovery code", link: 1, data: ether(0x8864, join([]byte{0x11, 9, 0, 1}, be16(2, 0x0021), v4())), want: OutcomeNotIP},
		{name: "ppp", link: 9, data: join([]byte{0xff, 3, 0, 0x21}, v4()), want: ok, payload: payload},
		{name: "ppp without address", link: 9, data: join([]byte{0x21}, v4()), want: ok, payload: payload},
		{name: "ppp mpls", link: 50, data: join([]byte{0xff, 3}, be16(0x0281), be32(18<<12|bottom), v4()), want: ok, payload: payload},
		{name: "ppp lcp", link: 9, data: []byte{0xff, 3, 0xc0, 0x21, 1, 1, 0, 4}, want: OutcomeNotIP},
		{name: "cisco hdlc", link: 104, data: join([]byte{0x0f, 0, 8, 0}, v4()), want: ok, payload: payload},
		{name: "cisco hdlc as ppp", link: 50, data: join([]byte{0x8f, 0}, be16(0x86dd), v6()), want: ok, payload: payload, ipv6: true},
		{name: "nflog", link: 239, data: nflog(binary.LittleEndian, []byte("prefix\x00"), make([]byte, 4), v4()), want: ok, payload: payload},
		{name: "nflog big-endian", link: 239, data: nflog(binary.BigEndian, make([]byte, 4), v6()), want: ok, payload: payload, ipv6: true},
		{name: "nflog without packet", link: 239, data: []byte{2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0}, want: OutcomeNotIP},
		{name: "nflog attribute overruns", link: 239, data: []byte{2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 99, 0, 9, 0}, want: OutcomeMalformed},
		{name: "nflog attribute of length 0", link: 239, data: []byte{2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0}, want: OutcomeMalformed},

		{name: "ip in ip", link: 228, data: ip4of(4, v4()), want: ok, payload: payload},
		{name: "6in4", link: 228, data: ip4of(41, v6()), want: ok, payload: payload, ipv6: true},
		{name: "4in6", link: 229, data: ip6of(4, v4()), want: ok, payload: payload},
		{name: "6in6 behind an extension", link: 229, data: ip6of(60, join(ext(41, 1), v6())), want: ok, payload: payload, ipv6: true},
		{name: "ah over ipv4", link: 228, data: ip4of(51, join([]byte{6, 4}, make([]byte, 22), tcp(nil, payload))), want: ok, payload: payload},
		{name: "gre", link: 228, data: ip4of(47, gre(0, 0x0800, v4())), want: ok, payload: payload},
		{name: "gre with all options", link: 228, data: ip4of(47, gre(0xb000, 0x86dd, join(make([]byte, 12), v6()))), want: ok, payload: payload, ipv6: true},
		{name: "gre bridging", link: 228, data: ip4of(47, gre(0x2000, 0x6558, join(be32(5), frame6))), want: ok, payload: payload, ipv6: true},
		{name: "gre with a tag inside", link: 228, data: ip4of(47, gre(0, 0x6558, ether(0x8100, join(be16(5, 0x0800), v4())))), want: ok, payload: payload},
		{name: "gre version 1", link: 228, data: ip4of(47, gre(0x3001, 0x880b, make([]byte, 12))), want: OutcomeNotTCP},
		{name: "gre with a route", link: 228, data: ip4of(47, gre(0x4000, 0x0800, v4())), want: OutcomeNotTCP},
		{name: "gre arp", link: 228, data: ip4of(47, gre(0, 0x0806, make([]byte, 28))), want: OutcomeNotTCP},
		{name: "gre cut in the key", link: 228, data: ip4(47, 20+8+56, nil, gre(0x2000, 0x0800, nil)), len: 84, want: OutcomeTruncated},
		{name: "erspan I", link: 228, data: ip4of(47, gre(0, 0x88be, frame4)), want: ok, payload: payload},
		{name: "erspan II", link: 228, data: ip4of(47, gre(0x1000, 0x88be, join(be32(1), be16(0x1005, 0x0021), be32(7), frame6))), want: ok, payload: payload, ipv6: true},
		{name: "erspan III", link: 228, data: ip4of(47, gre(0x1000, 0x22eb, join(be32(1), be16(0x2005, 0x0021), be32(7), be16(0, 0), frame4))), want: ok, payload: payload},
		{name: "erspan III with a subheader", link: 228, data: ip4of(47, gre(0x1000, 0x22eb, join(be32(1), make([]byte, 10), be16(1), make([]byte, 8), frame4))), want: ok, payload: payload},
		{name: "erspan III with IP", link: 228, data: ip4of(47, gre(0x1000, 0x22eb, join(be32(1), make([]byte, 10), be16(2<<10), v6()))), want: ok, payload: payload, ipv6: true},
		{name: "erspan III with neither", link: 228, data: ip4of(47, gre(0x1000, 0x22eb, join(be32(1), make([]byte, 10), be16(2<<10), make([]byte, 40)))), want: OutcomeNotTCP},
		{name: "erspan III cut", link: 228, data: ip4(47, 120, nil, gre(0x1000, 0x22eb, join(be32(1), make([]byte, 10)))), len: 120, want: OutcomeTruncated},
		{name: "erspan III with nothing", link: 228, data: ip4of(47, gre(0x1000, 0x22eb, join(be32(1), make([]byte, 10), be16(2<<10)))), want: OutcomeMalformed},
		{name: "vxlan", link: 228, data: ip4of(17, udp(4789, vxlan(42, frame4))), want: ok, payload: payload},
		{name: "vxlan on Linux's port", link: 229, data: ip6of(17, udp(8472, vxlan(42, frame6))), want: ok, payload: payload, ipv6: true},
		{name: "vxlan without valid bit", link: 228, data: ip4of(17, udp(4789, make([]byte, 80))), want: OutcomeNotTCP},
		{name: "vxlan cut", link: 228, data: ip4(17, 120, nil, udp(4789, []byte{8, 0, 0})), len: 120, want: OutcomeTruncated},
		{name: "vxlan gpe", link: 228, data: ip4of(17, udp(4790, join([]byte{0x0c, 0, 0, 3}, be32(42<<8), frame4))), want: ok, payload: payload},
		{name: "vxlan gpe without protocol", link: 228, data: ip4of(17, udp(4790, vxlan(42, frame4))), want: ok, payload: payload},
		{name: "vxlan gpe around ipv4", link: 228, data: ip4of(17, udp(4790, join([]byte{0x0c, 0, 0, 1}, be32(42<<8), v4()))), want: ok, payload: payload},
		{name: "vxlan gpe around ipv6", link: 228, data: ip4of(17, udp(4790, join([]byte{0x0c, 0, 0, 2}, be32(42<<8), v6()))), want: ok, payload: payload, ipv6: true},
		{name: "vxlan gpe around a service header", link: 228, data: ip4of(17, udp(4790, join([]byte{0x0c, 0, 0, 4}, be32(42<<8), v4()))), want: OutcomeNotTCP},
		{name: "gre in udp", link: 229, data: ip6of(17, udp(4754, gre(0x2000, 0x0800, join(be32(5), v4())))), want: ok, payload: payload},
		{name: "802.11 in gre", link: 228, data: ip4of(47, gre(0, 0x8200, join(wlan(0x88, 0x01, 26), snap(0x0800), v4()))), want: ok, payload: payload},
		{name: "802.11 in gre, another tunnel", link: 228, data: ip4of(47, gre(0, 0x8370, join(wlan(0x08, 0x02, 24), snap(0x86dd), v6()))), want: ok, payload: payload, ipv6: true},
		{name: "802.11 in gre, encrypted", link: 228, data: ip4of(47, gre(0, 0x8200, join(wlan(0x08, 0x42, 24), snap(0x0800), v4()))), want: OutcomeNotTCP},
		{name: "gtp-u", link: 228, data: ip4of(17, udp(2152, gtp(0x30, v4()))), want: ok, payload: payload},
		{name: "gtp-u with a number", link: 229, data: ip6of(17, udp(2152, gtp(0x32, join([]byte{0, 7, 0, 9}, v6())))), want: ok, payload: payload, ipv6: true},
		{name: "gtp-u with extensions", link: 228, data: ip4of(17, udp(2152, gtp(0x34, join([]byte{0, 0, 0, 0x85}, []byte{1, 0x10, 9, 0x40}, []byte{2, 0, 0, 0, 0, 0, 0, 0}, v4())))), want: ok, payload: payload},
		{name: "gtp-u without the extension it has room for", link: 228, data: ip4of(17, udp(2152, gtp(0x36, join([]byte{0, 7, 0, 0}, v4())))), want: ok, payload: payload},
		{name: "gtp-u with an extension of no length", link: 228, data: ip4of(17, udp(2152, gtp(0x34, join([]byte{0, 0, 0, 0x85}, make([]byte, 8))))), want: OutcomeMalformed},
		{name: "gtp-u extensions overrun", link: 228, data: ip4of(17, udp(2152, gtp(0x34, []byte{0, 0, 0, 0x85, 9, 0, 0, 1}))), want: OutcomeMalformed},
		{name: "gtp-u cut before an extension", link: 228, data: ip4(17, 120, nil, udp(2152, gtp(0x34, []byte{0, 0, 0, 0x85}))), len: 120, want: OutcomeTruncated},
		{name: "gtp-u echo", link: 228, data: ip4of(17, udp(2152, join([]byte{0x32, 1, 0, 4}, make([]byte, 8)))), want: OutcomeNotTCP},
		{name: "gtp'", link: 228, data: ip4of(17, udp(2152, gtp(0x20, v4()))), want: OutcomeNotTCP},
		{name: "gtp-u around ppp", link: 228, data: ip4of(17, udp(2152, gtp(0x30, make([]byte, 30)))), want: OutcomeNotTCP},
		{name: "geneve", link: 228, data: ip4of(17, udp(6081, geneve(0, 0x6558, 42, frame4))), want: ok, payload: payload},
		{name: "geneve with options and no Ethernet", link: 228, data: ip4of(17, udp(6081, geneve(252, 0x86dd, 42, v6()))), want: ok, payload: payload, ipv6: true},
		{name: "geneve options overrun", link: 228, data: ip4of(17, udp(6081, geneve(0, 0x6558, 42, nil)[:8])), want: OutcomeMalformed},
		{name: "l2tp", link: 228, data: ip4of(17, udp(1701, l2tp(0x0002, join([]byte{0xff, 3, 0, 0x21}, v4())))), want: ok, payload: payload},
		{name: "l2tp from the port", link: 229, data: ip6of(17, join(be16(1701, 40000, 100, 0), l2tp(0x0002, join([]byte{0x57}, v6())))), want: ok, payload: payload, ipv6: true},
		{name: "l2tp with all fields", link: 228, data: ip4of(17, udp(1701, join(be16(0x4b02, 90, 7, 9, 1, 2, 3), make([]byte, 3), []byte{0, 0x57}, v6()))), want: ok, payload: payload, ipv6: true},
		{name: "l2tp control", link: 228, data: ip4of(17, udp(1701, join(be16(0xc802, 60, 7, 0, 1, 2), make([]byte, 48)))), want: OutcomeNotTCP},
		{name: "l2tp version 3", link: 228, data: ip4of(17, udp(1701, l2tp(0x0003, join([]byte{0xff, 3, 0, 0x21}, v4())))), want: OutcomeNotTCP},
		{name: "l2tp lcp", link: 228, data: ip4of(17, udp(1701, l2tp(0x0002, []byte{0xff, 3, 0xc0, 0x21, 1, 1, 0, 4}))), want: OutcomeNotTCP},
		{name: "l2tp offset overruns", link: 228, data: ip4of(17, udp(1701, join(be16(0x0202, 7, 9, 200), make([]byte, 40)))), want: OutcomeMalformed},
		{name: "l2tp cut before its offset", link: 228, data: ip4(17, 120, nil, udp(1701, be16(0x0202, 7, 9))), len: 120, want: OutcomeTruncated},
		{name: "l2tp in four tunnels", link: 228, data: nested(4, ip4of(17, udp(1701, l2tp(0x0002, join([]byte{0xff, 3, 0, 0x21}, v4()))))), want: OutcomeTooDeep},
		{name: "dns", link: 228, data: ip4of(17, udp(53, make([]byte, 30))), want: OutcomeNotTCP},
		{name: "inner longer than outer", link: 228, data: ip4of(4, ip4(6, 200, nil, tcp(nil, payload))), want: OutcomeMalformed},
		{name: "inner super-segment", link: 229, ipv6: true, want: ok, payload: big,
			data: ip6(17, 0, udp(4789, vxlan(1, ether(0x86dd, ip6(6, 0, tcp(nil, big))))))},
		{name: "inner cut", link: 228, data: ip4of(4, ip4(6, 40+100, nil, tcp(nil, join(payload, make([]byte, 84)))))[:20+40+16], len: 160, want: ok, payload: payload, missing: 84},
		{name: "four tunnels", link: 228, data: nested(4, v4()), want: ok, payload: payload},
		{name: "five tunnels", link: 228, data: nested(5, v4()), want: OutcomeTooDeep},
	}
}

func TestScopeTellsNetworksApart(t *testing.T) {
	frame := ether(0x0800, v4())
	tagged := func(vid uint16) []byte { return ether(0x8100, join(be16(vid, 0x0800), v4())) }
	networks := map[string][]byte{
		"plain":         frame,
		"vlan 10":       tagged(10),
		"vlan 20":       tagged(20),
		"vlan 10 in 20": ether(0x88a8, join(be16(20, 0x8100, 10, 0x0800), v4())),
		"vlan 20 in 10": ether(0x88a8, join(be16(10, 0x8100, 20, 0x0800), v4())),
		"vni 10":        ether(0x0800, ip4of(17, udp(4789, vxlan(10, frame)))),
		"gre key 10":    ether(0x0800, ip4of(47, gre(0x2000, 0x6558, join(be32(10), frame)))),
	}
	scopes := map[uint32]string{}
	for name, data := range networks {
		f := capture.Frame{Data: data, Len: len(data), LinkType: capture.LinkTypeEthernet}
		var scoped, plain Segment
		if o := NewDecoder(Config{Scoped: true}).Decode(&f, &scoped); o != OutcomeTCP {
			t.Fatalf("%s: %v", name, o)
		}
		NewDecoder(Config{}).Decode(&f, &plain)
		if plain.Key.Scope != 0 {
			t.Errorf("%s: scope %d without being asked", name, plain.Key.Scope)
		}
		if other, ok := scopes[scoped.Key.Scope]; ok {
			t.Errorf("%s and %s have the same scope", name, other)
		}
		scopes[scoped.Key.Scope] = name
		plain.Key.Scope = scoped.Key.Scope
		if plain.Key != scoped.Key {
			t.Errorf("%s: the scope changes more than itself", name)
		}
	}
	// Priority bits are no part of a network's name.
	data := tagged(10 | 5<<13)
	var s Segment
	NewDecoder(Config{Scoped: true}).Decode(&capture.Frame{Data: data, Len: len(data), LinkType: capture.LinkTypeEthernet}, &s)
	if scopes[s.Key.Scope] != "vlan 10" {
		t.Errorf("VLAN 10 with a priority is another network")
	}
}

func TestVantage(t *testing.T) {
	sll2 := func(index uint32, packetType byte) []byte {
		return join(be16(0x0800, 0), be32(index), []byte{0, 1, packetType, 6}, make([]byte, 8), v4())
	}
	sll := func(packetType uint16) []byte {
		return join(be16(packetType, 1, 6), make([]byte, 8), be16(0x0800), v4())
	}
	seen := map[uint32]int{}
	for i, f := range []capture.Frame{
		{LinkType: capture.LinkTypeEthernet, Data: ether(0x0800, v4()), Interface: 1},
		{LinkType: capture.LinkTypeEthernet, Data: ether(0x0800, v4()), Interface: 2},
		{LinkType: capture.LinkTypeLinuxSLL2, Data: sll2(2, 0)},
		{LinkType: capture.LinkTypeLinuxSLL2, Data: sll2(2, 4)},
		{LinkType: capture.LinkTypeLinuxSLL2, Data: sll2(3, 0)},
		{LinkType: capture.LinkTypeLinuxSLL, Data: sll(0)},
		{LinkType: capture.LinkTypeLinuxSLL, Data: sll(4)},
	} {
		var s Segment
		f.Len = len(f.Data)
		if o := new(Decoder).Decode(&f, &s); o != OutcomeTCP || s.Vantage == 0 {
			t.Fatalf("frame %d: %v, vantage %d", i, o, s.Vantage)
		}
		if other, ok := seen[s.Vantage]; ok {
			t.Errorf("frames %d and %d have the same vantage", i, other)
		}
		seen[s.Vantage] = i
	}
	s := Segment{Vantage: 9}
	data := ether(0x0800, v4())
	if new(Decoder).Decode(&capture.Frame{LinkType: 1, Data: data, Len: len(data)}, &s); s.Vantage != 0 {
		t.Errorf("a frame of one interface has vantage %d", s.Vantage)
	}
}

func TestOptionalFields(t *testing.T) {
	timestamps := []byte{1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9}
	for _, c := range []struct {
		name    string
		options []byte
		want    [2]uint32
	}{
		{"none", nil, [2]uint32{}},
		{"usual", timestamps, [2]uint32{7, 9}},
		{"behind others", join([]byte{2, 4, 5, 0xb4, 4, 2}, timestamps[2:], []byte{3, 3, 7, 0}), [2]uint32{7, 9}},
		{"behind the end", join([]byte{0, 0, 0, 0}, timestamps), [2]uint32{}},
		{"behind a length of 0", join([]byte{2, 0, 1, 1}, timestamps), [2]uint32{}},
		{"overrun", []byte{1, 1, 8, 10, 0, 0, 0, 7}, [2]uint32{}},
	} {
		data := ip4(6, -1, nil, tcp(c.options, payload))
		binary.BigEndian.PutUint16(data[4:], 0xbeef)
		binary.BigEndian.PutUint16(data[20+18:], 3)
		s := Segment{TSVal: 1, TSEcr: 2}
		if o := new(Decoder).Decode(&capture.Frame{LinkType: capture.LinkTypeRaw, Data: data, Len: len(data)}, &s); o != OutcomeTCP {
			t.Fatalf("%s: %v", c.name, o)
		}
		if got := [2]uint32{s.TSVal, s.TSEcr}; got != c.want || s.ID != 0xbeef || s.Urgent != 3 {
			t.Errorf("%s: timestamps %v, want %v; ID %#x, urgent %d", c.name, got, c.want, s.ID, s.Urgent)
		}
	}
}
