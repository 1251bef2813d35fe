package pump

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	macs    = "ffffffffffff 020000000001"
	payload = "4500001400010000 40110000 0a000001 0a000002"
)

func TestLayouts(t *testing.T) {
	ethernet := afpacket.Frame{Data: unhex(t, macs+"0800"+payload), Len: 100, NetworkOffset: 14,
		Protocol: 0x0800, PacketType: 4, HardwareType: 1, Interface: 3, Address: [8]byte{2, 0, 0, 0, 0, 1}, AddressLen: 6}
	tagged := ethernet
	tagged.VLANPresent, tagged.VLANTCI, tagged.VLANProtocol = true, 0x600a, 0x88a8
	short := tagged
	short.Data, short.Len = ethernet.Data[:11], 11
	tun := afpacket.Frame{Data: unhex(t, payload), Len: 20, Protocol: 0x0800, HardwareType: 0xfffe}
	beyond := ethernet
	beyond.NetworkOffset = 500
	negative := tun
	negative.NetworkOffset = -3
	inBand := ethernet
	inBand.Data = unhex(t, macs+"8100 600a 0800"+payload)
	inBand.Protocol, inBand.NetworkOffset = 0x8100, 18
	for _, tc := range []struct {
		name    string
		layout  Layout
		frame   afpacket.Frame
		want    string
		wireLen int
	}{
		{"ethernet", LayoutEthernet, ethernet, macs + "0800" + payload, 100},
		{"ethernet with stripped tag", LayoutEthernet, tagged, macs + "88a8 600a 0800" + payload, 104},
		{"too short for a tag", LayoutEthernet, short, "ffffffffffff 0200000000", 11},
		{"raw", LayoutRaw, tun, payload, 20},
		{"raw with a link header", LayoutRaw, ethernet, payload, 86},
		{"raw, offset before the frame", LayoutRaw, negative, payload, 20},
		{"cooked", LayoutCooked, ethernet, "0004 0001 0006 020000000001 0000 0800" + payload, 102},
		{"cooked with tag", LayoutCooked, tagged, "0004 0001 0006 020000000001 0000 88a8 600a 0800" + payload, 106},
		{"cooked tun", LayoutCooked, tun, "0000 fffe 0000 0000000000000000 0800" + payload, 36},
		{"cooked, network header not captured", LayoutCooked, beyond, "0004 0001 0006 020000000001 0000 0800", 16 + 100 - 34},
		{"cooked, sent with its tag", LayoutCooked, inBand, "0004 0001 0006 020000000001 0000 8100 600a 0800" + payload, 102},
		{"cooked 2, sent with its tag", LayoutCooked2, inBand, "8100 0000 00000003 0001 04 06 020000000001 0000 600a 0800" + payload, 106},
		{"cooked 2", LayoutCooked2, ethernet, "0800 0000 00000003 0001 04 06 020000000001 0000" + payload, 106},
		{"cooked 2 with tag", LayoutCooked2, tagged, "88a8 0000 00000003 0001 04 06 020000000001 0000 600a 0800" + payload, 110},
		{"cooked 2, network header not captured", LayoutCooked2, beyond, "0800 0000 00000003 0001 04 06 020000000001 0000", 20 + 100 - 34},
	} {
		for _, inRing := range []bool{false, true} {
			p := New(Input{Layout: tc.layout}, Config{})
			f := tc.frame
			if inRing {
				const room = 60
				f.Room = append(make([]byte, room), f.Data...)
				f.Data = f.Room[room:]
				p.cfg.MaxDatagram = 1 // frames of any length stay where they are
			}
			message, wireLen, stayed := p.message(&f)
			got := hex.EncodeToString(message[rpcap.PacketOverhead:])
			if want := hex.EncodeToString(unhex(t, tc.want)); got != want || wireLen != tc.wireLen || stayed != inRing {
				t.Errorf("%s, in the ring %t: got %s, %d on the wire, in the ring %t\nwant %s, %d", tc.name, inRing, got, wireLen, stayed, want, tc.wireLen)
			}
		}
	}
}

// TestNetworkOffset holds that a filter finds the network header behind tags,
// wherever the kernel has them.
func TestNetworkOffset(t *testing.T) {
	plain := afpacket.Frame{Data: unhex(t, macs+"0800"+payload), NetworkOffset: 14, Protocol: 0x0800, HardwareType: 1}
	apart := plain
	apart.VLANPresent = true
	inPlace := afpacket.Frame{Data: unhex(t, macs+"88a8 0001 8100 600a 0800"+payload), NetworkOffset: 22, Protocol: 0x88a8, HardwareType: 1}
	for _, f := range []afpacket.Frame{plain, apart, inPlace} {
		for _, l := range []Layout{LayoutEthernet, LayoutRaw, LayoutCooked, LayoutCooked2} {
			message, wireLen, _ := New(Input{Layout: l}, Config{}).message(&f)
			data := message[rpcap.PacketOverhead:]
			if at := l.packet(data, wireLen, &f).NetworkOffset; !bytes.HasPrefix(data[at:], unhex(t, payload)) {
				t.Errorf("layout %d: network header at %d of %x", l, at, data)
			}
		}
	}
}

func TestLayoutOfLinkTypes(t *testing.T) {
	for linkType, want := range map[capture.LinkType]Layout{
		capture.LinkTypeEthernet: LayoutEthernet, capture.LinkTypeRaw: LayoutRaw, capture.LinkTypeLinuxSLL: LayoutCooked,
		capture.LinkTypeLinuxSLL2: LayoutCooked2, linkTypeNetlink: LayoutCooked, 105: LayoutEthernet,
	} {
		if got := LayoutOf(linkType); got != want {
			t.Errorf("%v has layout %d, want %d", linkType, got, want)
		}
	}
}
