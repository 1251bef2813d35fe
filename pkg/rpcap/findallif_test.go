package rpcap

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
)

// The reference assembles a listing in 64,000 bytes and gives up beyond them.
func TestListingOfManyInterfaces(t *testing.T) {
	var want FindAllIfReply
	for i := range 40 {
		iface := Interface{Name: fmt.Sprintf("veth%d", i), Flags: InterfaceUp | InterfaceRunning | InterfaceConnected}
		for a := range 4 {
			iface.Addresses = append(iface.Addresses, InterfaceAddress{
				Addr:      netip.AddrFrom4([4]byte{10, byte(i), byte(a), 1}),
				Netmask:   netip.AddrFrom4([4]byte{255, 255, 255, 0}),
				Broadcast: netip.AddrFrom4([4]byte{10, byte(i), byte(a), 255}),
			})
		}
		want.Interfaces = append(want.Interfaces, iface)
	}
	wire := Append(nil, &want)
	h := ParseHeader(wire)
	// Σ (12 + namelen + desclen + 512·naddr)
	if length := 40*(12+4*512) + 10*5 + 30*6; h.Value != 40 || int(h.Len) != length {
		t.Errorf("header %+v, want 40 interfaces in %d bytes", h, length)
	}
	var got FindAllIfReply
	if err := Decode(h, wire[HeaderLen:], &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func record(t *testing.T, name, sockaddrs string) []byte {
	naddr := "0000"
	if sockaddrs != "" {
		naddr = "0001"
	}
	head := unhex(t, fmt.Sprintf("%04x 0000 00000000 %s 0000 %x", len(name), naddr, name))
	b := unhex(t, sockaddrs)
	if sockaddrs != "" {
		b = append(b, make([]byte, 512-len(b))...)
	}
	return append(head, b...)
}

// Some servers send 0 for the number of interfaces and count a NUL in names.
func TestListingWithoutCount(t *testing.T) {
	body := append(record(t, "lo\x00", "0002 0000 7f000001"), record(t, "eth0\x00\x00", "")...)
	want := []Interface{
		{Name: "lo", Addresses: []InterfaceAddress{{Addr: netip.MustParseAddr("127.0.0.1")}}},
		{Name: "eth0"},
	}
	var got FindAllIfReply
	if err := Decode(Header{}, body, &got); err != nil || !reflect.DeepEqual(got.Interfaces, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := Decode(Header{Value: 1}, body, &got); err != nil || !reflect.DeepEqual(got.Interfaces, want[:1]) {
		t.Errorf("with a count of 1: %+v, %v", got, err)
	}
	if err := Decode(Header{Value: 3}, body, &got); err == nil || got.Interfaces != nil {
		t.Errorf("with a count of 3: %+v, %v", got, err)
	}
	if err := Decode(Header{}, body[:len(body)-1], &got); err == nil || got.Interfaces != nil {
		t.Errorf("cut: %+v, %v", got, err)
	}
	if err := Decode(Header{}, nil, &got); err != nil || got.Interfaces != nil {
		t.Errorf("empty: %+v, %v", got, err)
	}
	var d *DecodeError
	if err := Decode(Header{}, make([]byte, 12*70_000), &got); !errors.As(err, &d) || d.Want != 65535 {
		t.Errorf("70,000 uncounted interfaces: %d, %v", len(got.Interfaces), err)
	}
}

func TestListingAddressFamilies(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	const v4, v6 = " 0000 c0000201", " 0000 00000000 20010db8000000000000000000000001"
	for _, tc := range []struct {
		sockaddr string
		want     netip.Addr
	}{
		{"0002" + v4, four},
		{"1002" + v4, four}, // BSD: a length of 16 before the family
		{"1000" + v4, four}, // AIX
		{"0017" + v6, six},  // Windows
		{"000a" + v6, six},  // Linux
		{"0016" + v6, six},  // HP-UX
		{"0018" + v6, six},  // NetBSD, OpenBSD
		{"001a" + v6, six},  // Solaris
		{"001c" + v6, six},  // FreeBSD
		{"001e" + v6, six},  // macOS
		{"1c18" + v6, six},
		{"1c1c" + v6, six},
		{"1c1e" + v6, six},
		{"1c00" + v6, six},
		{"0017 0000 00000000 fe800000000000000000000000000001 00000007", netip.MustParseAddr("fe80::1%7")},
		{"0017 0000 00000000 00000000000000000000ffffc0000201 00000007", four}, // IPv4-mapped
		{"0011" + v4, netip.Addr{}}, // AF_PACKET
		{"0000" + v4, netip.Addr{}},
	} {
		var got FindAllIfReply
		if err := Decode(Header{Value: 1}, record(t, "x", tc.sockaddr), &got); err != nil {
			t.Fatal(err)
		}
		var want []InterfaceAddress
		if tc.want.IsValid() {
			want = []InterfaceAddress{{Addr: tc.want}}
		}
		if a := got.Interfaces[0].Addresses; len(a) != len(want) || len(a) == 1 && a[0] != want[0] {
			t.Errorf("%s: %+v, want %v", tc.sockaddr, a, tc.want)
		}
	}
}

func TestListingNameLimits(t *testing.T) {
	for _, tc := range []struct {
		body   string
		reason string
		offset int
	}{
		{"0401 0000 00000000 0000 0000" + zeros(1025), "Interface name too long", 0},
		{"0000 0401 00000000 0000 0000" + zeros(1025), "Interface description too long", 2},
		{"0000 0000 00000000 ffff 0000" + zeros(512), "", 12},
	} {
		var d *DecodeError
		err := Decode(Header{Value: 1}, unhex(t, tc.body), new(FindAllIfReply))
		if !errors.As(err, &d) || d.Reason != tc.reason || d.Offset != tc.offset {
			t.Errorf("%v, want %q at %d", err, tc.reason, tc.offset)
		}
	}
}
