package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/flow"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// verdict is what gopacket says about a frame.
type verdict struct {
	outcome Outcome
	segment Segment
	// unsure means that gopacket gives no ground to compare: it met an error
	// or a cut frame, or a form that the two read differently on purpose.
	unsure bool
	why    string
	chain  bool // IPv6 with an extension header
	tunnel bool // something is between link and IP, or between IP and TCP
}

var oracleLinks = map[capture.LinkType]gopacket.Decoder{
	capture.LinkTypeNull:      layers.LinkTypeNull,
	capture.LinkTypeEthernet:  layers.LinkTypeEthernet,
	capture.LinkTypeRaw:       layers.LinkTypeRaw,
	capture.LinkTypeLoop:      layers.LinkTypeLoop,
	capture.LinkTypeLinuxSLL:  layers.LinkTypeLinuxSLL,
	capture.LinkTypeIPv4:      layers.LinkTypeIPv4,
	capture.LinkTypeIPv6:      layers.LinkTypeIPv6,
	capture.LinkTypeFDDI:      layers.LayerTypeFDDI,
	capture.LinkTypePFLOG:     layers.LayerTypePFLog,
	capture.LinkTypeIEEE80211: layers.LayerTypeDot11,
	capture.LinkTypePrism:     layers.LayerTypePrismHeader,
	capture.LinkTypeRadiotap:  layers.LayerTypeRadioTap,
}

// oracle decodes f with gopacket. The exceptions, where the two differ on
// purpose, are the branches that return unsure.
func oracle(f *capture.Frame) (v verdict) {
	chain, tunnel, id := false, false, uint16(0)
	defer func() { v.chain, v.tunnel = chain, tunnel }()
	link, ok := oracleLinks[f.LinkType.Canonical()]
	if !ok {
		return verdict{unsure: true, why: "gopacket has no decoder for the link type"}
	}
	// Clipped because gopacket trusts some lengths as far as the capacity goes; a copy,
	// because it takes radiotap's padding out in place.
	p := gopacket.NewPacket(slices.Clip(slices.Clone(f.Data)), link, gopacket.DecodeOptions{Lazy: false, NoCopy: true})
	if p.ErrorLayer() != nil {
		return verdict{unsure: true, why: "gopacket fails"}
	}
	if p.Metadata().Truncated || f.Truncated() {
		return verdict{unsure: true, why: "truncated"}
	}
	tags := 0
	var src, dst flow.Endpoint
	ip, wlan := false, false
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			tags = 0
		case *layers.RadioTap:
			if l.Version != 0 || l.Length < 8 || l.Present&(1<<31) != 0 {
				return verdict{unsure: true, why: "gopacket looks neither at version and length nor how many words say what is present"}
			}
		case *layers.PrismHeader:
			if binary.LittleEndian.Uint16(f.Data[6:]) != 0 {
				return verdict{unsure: true, why: "gopacket looks at half of the length"}
			}
		case *layers.FDDI, *layers.PFLog,
			*layers.Dot11Data, *layers.Dot11DataCFAck, *layers.Dot11DataCFPoll, *layers.Dot11DataCFAckPoll,
			*layers.Dot11DataQOSData, *layers.Dot11DataQOSDataCFAck, *layers.Dot11DataQOSDataCFPoll, *layers.Dot11DataQOSDataCFAckPoll:
		case *layers.Dot11:
			wlan = true
			control := 24
			if l.Flags.ToDS() && l.Flags.FromDS() {
				control += 6
			}
			if l.Proto != 0 || l.FragmentNumber != 0 || l.Flags.WEP() || l.QOS != nil && l.Contents[control]&0x80 != 0 {
				return verdict{unsure: true, why: "gopacket looks at neither version, fragments, encryption nor aggregates"}
			}
		case *layers.LLC:
			if l.DSAP != 0xaa || l.SSAP != 0xaa || l.IG || l.CR || l.Control != 3 {
				return verdict{outcome: notIP(ip)}
			}
		case *layers.SNAP:
			if l.OrganizationalCode[0]|l.OrganizationalCode[1]|l.OrganizationalCode[2] != 0 {
				return verdict{outcome: notIP(ip)}
			}
			if l.Type < etherMin {
				return verdict{unsure: true, why: "gopacket takes a length for a type"}
			}
			switch l.Type {
			case layers.EthernetTypeIPv4, layers.EthernetTypeIPv6, layers.EthernetTypeMPLSUnicast, layers.EthernetTypeMPLSMulticast, layers.EthernetTypePPPoESession:
			default:
				return verdict{outcome: notIP(ip)}
			}
		case *layers.LinuxSLL, *layers.Loopback:
		case *layers.Dot1Q:
			if tags++; tags > maxShims {
				return verdict{outcome: notIP(ip)}
			}
		case *layers.MPLS, *layers.PPPoE, *layers.PPP, *layers.GRE, *layers.VXLAN, *layers.Geneve, *layers.GTPv1U:
			tunnel = true
		case *layers.UDP:
			switch {
			case l.DstPort == portVXLANLinux, l.DstPort == portVXLANGPE, l.DstPort == portGRE, l.DstPort == portL2TP, l.SrcPort == portL2TP:
				return verdict{unsure: true, why: "gopacket doesn't know this port"}
			}
		case *layers.IPv4:
			tunnel, ip = tunnel || ip, true
			if l.Version != 4 {
				return verdict{unsure: true, why: "gopacket doesn't look at the version"}
			}
			if wlan && binary.BigEndian.Uint16(l.Contents[2:]) == 0 {
				return verdict{unsure: true, why: "gopacket takes the end of a super-segment for 802.11's checksum"}
			}
			copy(src.Addr[:], l.SrcIP.To16())
			copy(dst.Addr[:], l.DstIP.To16())
			id = l.Id
			if l.Flags&layers.IPv4MoreFragments != 0 || l.FragOffset != 0 {
				return verdict{outcome: fragmentOf(byte(l.Protocol))}
			}
		case *layers.IPv6:
			tunnel, ip = tunnel || ip, true
			if l.Version != 6 {
				return verdict{unsure: true, why: "gopacket doesn't look at the version"}
			}
			copy(src.Addr[:], l.SrcIP.To16())
			copy(dst.Addr[:], l.DstIP.To16())
			id = 0
			chain = chain || l.NextHeader != layers.IPProtocolTCP
			if l.Length == 0 {
				return verdict{unsure: true, why: "gopacket takes no super-segment without a jumbo option"}
			}
		case *layers.IPv6HopByHop, *layers.IPv6Routing, *layers.IPv6Destination:
		case *layers.IPSecAH:
			return verdict{unsure: true, why: "gopacket's AH header does not chain on"}
		case *layers.IPv6Fragment:
			if l.FragmentOffset == 0 && !l.MoreFragments {
				return verdict{unsure: true, why: "gopacket stops at an atomic fragment"}
			}
			return verdict{outcome: fragmentOf(byte(l.NextHeader))}
		case *layers.TCP:
			if !ip {
				return verdict{outcome: OutcomeNotIP}
			}
			v := verdict{outcome: OutcomeTCP}
			src.Port, dst.Port = uint16(l.SrcPort), uint16(l.DstPort)
			s := &v.segment
			s.Key, s.Dir = flow.NewKey(src, dst)
			s.Seq, s.Ack, s.Window, s.Payload = l.Seq, l.Ack, l.Window, l.Payload
			s.Flags, s.Urgent, s.ID = Flags(l.Contents[13]), l.Urgent, id
			for _, o := range l.Options {
				if o.OptionType == layers.TCPOptionKindTimestamps && len(o.OptionData) == 8 && s.TSVal|s.TSEcr == 0 {
					s.TSVal, s.TSEcr = binary.BigEndian.Uint32(o.OptionData), binary.BigEndian.Uint32(o.OptionData[4:])
				}
			}
			return v
		default:
			return verdict{outcome: notIP(ip)}
		}
	}
	if n := len(p.Layers()); n == 0 || len(p.Layers()[n-1].LayerPayload()) == 0 {
		return verdict{unsure: true, why: "gopacket makes no layer of an empty payload"}
	}
	return verdict{outcome: notIP(ip)}
}

// notIP is the outcome where no further IP header follows.
func notIP(ip bool) Outcome {
	if ip {
		return OutcomeNotTCP
	}
	return OutcomeNotIP
}

// fragmentOf is the outcome of a fragment whose packet goes on with protocol.
func fragmentOf(protocol byte) Outcome {
	switch protocol {
	case 6, 17, 4, 41, 47, 0, 43, 60, 51:
		return OutcomeFragment
	}
	return OutcomeNotTCP
}

// compare decodes f and holds the result against gopacket's. It returns
// whether there was ground to compare.
func compare(t testing.TB, f *capture.Frame) (Outcome, bool) {
	t.Helper()
	var got Segment
	before := bytes.Clone(f.Data)
	o := new(Decoder).Decode(f, &got)
	if !bytes.Equal(f.Data, before) {
		t.Errorf("decoding has changed the frame: % x", head(before))
	}
	scoped, scopedWalk := got, got
	if p, q := NewDecoder(Config{Scoped: true}).Decode(f, &scoped), NewDecoder(Config{Scoped: true}).walk(f, &scopedWalk); p != q || p == OutcomeTCP && !sameSegment(&scoped, &scopedWalk) {
		t.Errorf("short cut, scoped: %v %+v, header by header: %v %+v: % x", p, scoped, q, scopedWalk, head(f.Data))
	}
	walked := Segment{Payload: []byte("left over"), Missing: -1, ID: 1, TSVal: 1, TSEcr: 1}
	if w := new(Decoder).walk(f, &walked); w != o || o == OutcomeTCP && !sameSegment(&got, &walked) {
		t.Errorf("short cut: %v %+v, header by header: %v %+v: % x", o, got, w, walked, head(f.Data))
	}
	if o == OutcomeTCP {
		inFrame(t, f, &got)
	}
	want := oracle(f)
	if want.unsure {
		return o, false
	}
	if o != want.outcome {
		// gopacket doesn't know the QinQ number from before 802.1ad.
		if bytes.Contains(f.Data, []byte{0x91, 0x00}) && want.outcome == OutcomeNotIP {
			return o, false
		}
		// gopacket checks no tunnel against the packet around it, and reads
		// some headers that are not read here.
		if want.tunnel {
			return o, false
		}
		// gopacket neither bounds the chain of extension headers nor checks
		// each against the packet.
		if o == OutcomeMalformed && want.chain {
			return o, false
		}
		t.Errorf("outcome %v, gopacket says %v: % x", o, want.outcome, head(f.Data))
		return o, true
	}
	if o != OutcomeTCP {
		return o, true
	}
	w := &want.segment
	if got.Key != w.Key || got.Dir != w.Dir || got.Seq != w.Seq || got.Ack != w.Ack ||
		got.Flags != w.Flags || got.Window != w.Window || got.Missing != 0 ||
		got.ID != w.ID || got.Urgent != w.Urgent || got.TSVal != w.TSVal || got.TSEcr != w.TSEcr {
		t.Errorf("decoded %+v, gopacket %+v: % x", got, *w, head(f.Data))
	}
	if !bytes.Equal(got.Payload, w.Payload) {
		t.Errorf("payload of %d bytes, gopacket %d: % x", len(got.Payload), len(w.Payload), head(f.Data))
	}
	return o, true
}

func sameSegment(a, b *Segment) bool {
	x, y := *a, *b
	x.Payload, y.Payload = nil, nil
	return reflect.DeepEqual(x, y) && bytes.Equal(a.Payload, b.Payload) && cap(a.Payload) == cap(b.Payload)
}

func head(b []byte) []byte { return b[:min(len(b), 96)] }

// inFrame checks that the payload is a piece of the frame, and that it and the
// missing bytes stay within what was on the wire or the IP length.
func inFrame(t testing.TB, f *capture.Frame, s *Segment) {
	t.Helper()
	if s.Missing < 0 {
		t.Errorf("%d bytes missing", s.Missing)
	}
	if cap(s.Payload) != len(s.Payload) {
		t.Errorf("payload of %d bytes has room for %d", len(s.Payload), cap(s.Payload))
	}
	if len(s.Payload) > 0 && !within(f.Data, s.Payload) {
		t.Errorf("payload does not alias the frame")
	}
	if limit := max(f.Len, len(f.Data)) + 0xffff; len(s.Payload)+s.Missing > limit {
		t.Errorf("%d+%d bytes of payload in a frame of %d", len(s.Payload), s.Missing, f.Len)
	}
}

func within(outer, inner []byte) bool {
	for i := range outer {
		if &outer[i] == &inner[0] {
			return i+len(inner) <= len(outer)
		}
	}
	return false
}

// captures returns the capture files of the corpus, or skips.
func captures(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("CAPTURES_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "captures")
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".pcap") || strings.HasSuffix(path, ".pcapng")) {
			files = append(files, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no capture files at %s: set CAPTURES_DIR", dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// frames calls f with each frame of a capture file.
func frames(t *testing.T, path string, f func(*capture.Frame)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	magic := make([]byte, 24)
	if _, err := io.ReadFull(file, magic); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var src gopacket.PacketDataSource
	var link uint32
	if ng, err := pcapgo.NewNgReader(file, pcapgo.DefaultNgReaderOptions); err == nil {
		src, link = ng, uint32(ng.LinkType())
	} else {
		_, _ = file.Seek(0, io.SeekStart)
		r, err := pcapgo.NewReader(file)
		if err != nil {
			t.Logf("%s: %v", path, err)
			return
		}
		// gopacket keeps 8 bits of the link type; the file has 28.
		link = binary.LittleEndian.Uint32(magic[20:]) & 0x0fffffff
		if magic[0] == 0xa1 {
			link = binary.BigEndian.Uint32(magic[20:]) & 0x0fffffff
		}
		src = r
	}
	for {
		data, ci, err := src.ReadPacketData()
		if err != nil {
			return
		}
		f(&capture.Frame{Timestamp: ci.Timestamp.UnixNano(), Data: data, Len: ci.Length, LinkType: capture.LinkTypeFromFile(link)})
	}
}

func TestDecodeAgreesWithGopacketOnCaptures(t *testing.T) {
	var outcomes [NumOutcomes]int
	total, compared := 0, 0
	for _, path := range captures(t) {
		t.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), func(t *testing.T) {
			frames(t, path, func(f *capture.Frame) {
				o, ok := compare(t, f)
				outcomes[o]++
				total++
				if ok {
					compared++
				}
			})
		})
	}
	for o, n := range outcomes {
		t.Logf("%-10v %d", Outcome(o), n)
	}
	t.Logf("%d of %d frames compared", compared, total)
	if compared < total*9/10 {
		t.Errorf("gopacket gave ground to compare %d of %d frames only", compared, total)
	}
}
