package traffic

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// testPlans covers the forms of test frames.
func testPlans() []Plan {
	var plans []Plan
	for _, kind := range []Kind{UDP, TCP} {
		for _, ipv6 := range []bool{false, true} {
			for _, vlan := range [][]uint16{nil, {10, 20, 4094}} {
				least := minTestFrameLen(kind, ipv6)
				for _, size := range []Size{{}, Fixed(least + 1), Fixed(400), Fixed(1400), Fixed(maxFrameLen), IMIX()} {
					plans = append(plans, Plan{Seed: 7, Kind: kind, IPv6: ipv6, VLAN: vlan, Size: size, Flows: 5})
				}
			}
		}
	}
	return plans
}

func (p Plan) name() string {
	return fmt.Sprintf("%v/ipv6=%v/vlan=%v/size=%v", p.Kind, p.IPv6, p.VLAN, p.Size)
}

func newGenerator(t testing.TB, p Plan) *Generator {
	t.Helper()
	g, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// reserialized returns the frame as gopacket writes it after reading it, with
// lengths and checksums of its own.
func reserialized(t *testing.T, frame []byte) []byte {
	t.Helper()
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := packet.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	var parts []gopacket.SerializableLayer
	for _, l := range packet.Layers() {
		parts = append(parts, l.(gopacket.SerializableLayer))
		if c, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := c.SetNetworkLayerForChecksum(packet.NetworkLayer()); err != nil {
				t.Fatal(err)
			}
			parts = append(parts, gopacket.Payload(l.LayerPayload()))
			break
		}
	}
	out := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()[:len(frame)] // without what fills it up to Ethernet's least length
}

func TestTestFramesAreWhatTheirHeadersSay(t *testing.T) {
	for _, p := range testPlans() {
		t.Run(p.name(), func(t *testing.T) {
			g := newGenerator(t, p)
			lengths, err := frameLengths(&g.plan)
			if err != nil {
				t.Fatal(err)
			}
			tag := 0
			if p.VLAN != nil {
				tag = tagLen
			}
			flows := make(map[string]int)
			var f Frame
			for i := range 60 {
				if !g.Next(&f) {
					t.Fatalf("frame %d: no more", i)
				}
				f.Stamp(int64(mix(uint64(i)) >> 1))
				if got, want := len(f.Data), lengths[i%len(lengths)]+tag; got != want || f.Seq != uint64(i) {
					t.Fatalf("frame %d has number %d and %d bytes, want %d", i, f.Seq, got, want)
				}
				if want := reserialized(t, f.Data); !bytes.Equal(f.Data, want) {
					t.Fatalf("frame %d:\n%x\ngopacket writes\n%x", i, f.Data, want)
				}
				packet := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
				flow := fmt.Sprint(packet.NetworkLayer().NetworkFlow(), packet.TransportLayer().TransportFlow())
				if q, ok := packet.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q); ok {
					if want := p.VLAN[i%p.Flows%len(p.VLAN)]; q.VLANIdentifier != want {
						t.Fatalf("frame %d is of VLAN %d, want %d", i, q.VLANIdentifier, want)
					}
				} else if tag != 0 {
					t.Fatalf("frame %d has no tag", i)
				}
				flows[flow]++
			}
			if len(flows) != p.Flows {
				t.Fatalf("%d flows, want %d: %v", len(flows), p.Flows, flows)
			}
			for flow, n := range flows {
				if n != 60/p.Flows {
					t.Errorf("flow %s has %d frames, want %d", flow, n, 60/p.Flows)
				}
			}
		})
	}
}

func TestManyFlowsAreDistinct(t *testing.T) {
	const flows = 200_000
	g := newGenerator(t, Plan{Flows: flows, Seed: 3})
	seen := make(map[[12]byte]bool, flows)
	var f Frame
	for range flows {
		g.Next(&f)
		seen[[12]byte(f.Data[26:38])] = true // addresses and ports
	}
	if len(seen) != flows {
		t.Errorf("%d distinct flows of %d", len(seen), flows)
	}
}

func TestSegmentsOfAFlowFollowEachOther(t *testing.T) {
	g := newGenerator(t, Plan{Kind: TCP, Size: IMIX(), Flows: 3})
	next := make(map[uint16]uint32)
	var f Frame
	for i := range 100 {
		g.Next(&f)
		tcp := f.Data[ethernetLen+ipv4Len:]
		port, seq := binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint32(tcp[tcpSeqAt:])
		if want, ok := next[port]; ok && seq != want {
			t.Fatalf("frame %d: sequence number %d, want %d", i, seq, want)
		}
		next[port] = seq + uint32(len(tcp)-tcpLen)
	}
	if len(next) != 3 {
		t.Fatalf("%d flows", len(next))
	}
}

func TestIMIXIsSevenFourOne(t *testing.T) {
	g := newGenerator(t, Plan{Size: IMIX(), Seed: 9})
	got := make(map[int]int)
	var f Frame
	for range 1200 {
		g.Next(&f)
		got[len(f.Data)]++
	}
	if got[60] != 700 || got[590] != 400 || got[1514] != 100 {
		t.Errorf("lengths %v", got)
	}
}

func TestCountEnds(t *testing.T) {
	for _, p := range []Plan{{Count: 10}, {Kind: TCP, Count: 10}, {Kind: File, File: writeCapture(t, frameOf(60), frameOf(61), frameOf(62)), Count: 10}} {
		g := newGenerator(t, p)
		var f Frame
		for range 10 {
			if !g.Next(&f) {
				t.Fatalf("%v ended early", p.Kind)
			}
		}
		for range 2 {
			if g.Next(&f) {
				t.Errorf("%v went on", p.Kind)
			}
		}
		if c := g.Counts(); c.Frames != 10 {
			t.Errorf("%v: %+v", p.Kind, c)
		}
	}
}

func TestFinishEndsTestFramesAtOnce(t *testing.T) {
	g := newGenerator(t, Plan{})
	var f Frame
	if !g.Next(&f) {
		t.Fatal("no frame")
	}
	g.Finish()
	if g.Next(&f) {
		t.Error("a frame after Finish")
	}
}

// TestSameSeedSameFrames holds the very bytes, so that baselines measured at
// different times had the same traffic.
func TestSameSeedSameFrames(t *testing.T) {
	want := map[string]string{
		"udp":   "2d6b9842a970ad44",
		"tcp":   "8535dcfd4e65088e",
		"http1": "04d4f60fdc6213ce",
		"http2": "21efd01b32453568",
		"grpc":  "6683b72c3457bec8",
	}
	for name, hash := range want {
		t.Run(name, func(t *testing.T) {
			kind, err := ParseKind(name)
			if err != nil {
				t.Fatal(err)
			}
			p := Plan{Kind: kind, Seed: 42, Flows: 7, VLAN: []uint16{1, 2}}
			if kind.Conversation() {
				p.RequestLen, p.ResponseLen = 100, 3000
			} else {
				p.Size = IMIX()
			}
			first := digest(t, p)
			if first != hash {
				t.Errorf("the frames of seed 42 changed: %s", first)
			}
			if p.Seed = 43; digest(t, p) == first {
				t.Error("another seed gives the same frames")
			}
		})
	}
}

func digest(t *testing.T, p Plan) string {
	g := newGenerator(t, p)
	h := sha256.New()
	var f Frame
	for range 2000 {
		g.Next(&f)
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func TestNothingIsAllocatedPerFrame(t *testing.T) {
	plans := testPlans()
	for _, k := range []Kind{HTTP1, HTTP2, GRPC} {
		plans = append(plans, Plan{Kind: k, Flows: 10, ResponseLen: 5000, VLAN: []uint16{3}})
	}
	plans = append(plans, Plan{Kind: File, File: writeCapture(t, frameOf(60), frameOf(1514), frameOf(62))})
	for _, p := range plans {
		t.Run(p.name(), func(t *testing.T) {
			g := newGenerator(t, p)
			var f Frame
			for range 200 { // lets the buffer grow
				g.Next(&f)
			}
			if n := testing.AllocsPerRun(500, func() {
				g.Next(&f)
				f.Stamp(int64(f.Seq))
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, p := range []Plan{{}, {Size: Fixed(400)}, {Size: Fixed(1400)}, {Kind: TCP, Flows: 10_000}, {Kind: HTTP1, Flows: 100, ResponseLen: 10_000}} {
		b.Run(p.name(), func(b *testing.B) {
			g := newGenerator(b, p)
			var f Frame
			for b.Loop() {
				g.Next(&f)
				f.Stamp(int64(f.Seq))
			}
		})
	}
}
