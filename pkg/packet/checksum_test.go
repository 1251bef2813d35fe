package packet

import (
	"encoding/binary"
	"testing"

	"capstan/pkg/capture"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// checksummed returns a packet with the checksums that gopacket computes.
func checksummed(t *testing.T, ipv6 bool, payload []byte) []byte {
	t.Helper()
	tcp := &layers.TCP{SrcPort: 1, DstPort: 2, ACK: true}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	var err error
	if ipv6 {
		ip := &layers.IPv6{Version: 6, NextHeader: 6, SrcIP: src6.Addr().AsSlice(), DstIP: dst6.Addr().AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		err = gopacket.SerializeLayers(buf, opts, ip, tcp, gopacket.Payload(payload))
	} else {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: 6, SrcIP: src4.Addr().AsSlice(), DstIP: dst4.Addr().AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		err = gopacket.SerializeLayers(buf, opts, ip, tcp, gopacket.Payload(payload))
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestCase38Checksums decodes packets with wrong checksums, as a host captures those it
// sends itself.
func TestCase38Checksums(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		for _, payload := range [][]byte{nil, []byte("x"), payload, big[:60_001]} {
			good := checksummed(t, ipv6, payload)
			at := 20
			if ipv6 {
				at = 40
			}
			field := func(v uint16) []byte {
				b := join(good)
				binary.BigEndian.PutUint16(b[at+16:], v)
				return b
			}
			w := walk{src: mapped4(good[12:]), dst: mapped4(good[16:])}
			if ipv6 {
				w.src, w.dst = address6(good[8:]), address6(good[24:])
			}
			pseudo := w.src.sum() + w.dst.sum() + protoTCP
			for name, c := range map[string]struct {
				data []byte
				len  int
				want Checksum
			}{
				"good":                   {good, 0, ChecksumGood},
				"bad":                    {field(binary.BigEndian.Uint16(good[at+16:]) ^ 0x1111), 0, ChecksumBad},
				"partial":                {field(fold(pseudo + uint64(len(good)-at))), 0, ChecksumPartial},
				"partial without length": {field(fold(pseudo)), 0, ChecksumPartial},
				"cut":                    {good[:at+20], len(good), ChecksumUnknown},
			} {
				if name == "cut" && payload == nil {
					continue
				}
				f := capture.Frame{LinkType: capture.LinkTypeRaw, Data: c.data, Len: max(c.len, len(c.data))}
				var s Segment
				if o := new(Decoder).Decode(&f, &s); o != OutcomeTCP {
					t.Errorf("%s: %v by default", name, o)
				}
				count := NewDecoder(Config{Checksums: ChecksumCount})
				if o := count.Decode(&f, &s); o != OutcomeTCP {
					t.Errorf("%s: %v when counted", name, o)
				}
				if st := count.Stats(); st.Checksums[c.want] != 1 {
					t.Errorf("%s, %d bytes: counted %v, want one %v", name, len(payload), st.Checksums, c.want)
				}
				want := OutcomeTCP
				if c.want == ChecksumBad {
					want = OutcomeBadChecksum
				}
				if o := NewDecoder(Config{Checksums: ChecksumDrop}).Decode(&f, &s); o != want {
					t.Errorf("%s: %v when dropped", name, o)
				}
			}
		}
	}
	header := checksummed(t, false, payload)
	header[8] = 63
	var s Segment
	if o := NewDecoder(Config{Checksums: ChecksumDrop}).Decode(&capture.Frame{LinkType: capture.LinkTypeRaw, Data: header, Len: len(header)}, &s); o != OutcomeBadChecksum {
		t.Errorf("a bad header checksum gives %v", o)
	}
}

func TestChecksumNames(t *testing.T) {
	var got ChecksumPolicy
	for _, p := range []ChecksumPolicy{ChecksumIgnore, ChecksumCount, ChecksumDrop} {
		text, _ := p.MarshalText()
		if err := got.UnmarshalText(text); got != p || err != nil {
			t.Errorf("%v is read as %v, %v", p, got, err)
		}
	}
	if got.UnmarshalText([]byte("verify")) == nil {
		t.Error("an unknown policy is read")
	}
}
