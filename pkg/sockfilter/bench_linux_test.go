package sockfilter

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/netns/netnstest"
)

// testRun makes of a packet what BPF_PROG_TEST_RUN takes for a socket filter:
// it strips an Ethernet header, so the filter sees the packet as a device
// without link-layer header, a tunnel for one, would show it.
func testRun(packet []byte) []byte { return ethernet(etherTypeOf(packet), packet...) }

// TestShardsWithoutEthernet has frames that start with the IP header.
func TestShardsWithoutEthernet(t *testing.T) {
	netnstest.RequireBPF(t)
	const shards = 3
	frames := flowFrames(rand.New(rand.NewPCG(7, 3)), 4)
	for i := range shards {
		f, err := NewFilter(Config{Shard: Shard{i, shards}})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Set(nil); err != nil {
			t.Fatal(err)
		}
		tested := 0
		for _, sent := range frames {
			if e := uint16(sent.frame[12])<<8 | uint16(sent.frame[13]); e != etherTypeIPv4 && e != etherTypeIPv6 {
				continue
			}
			verdict, _, err := f.main.Test(sent.frame)
			if err != nil {
				t.Fatal(err)
			}
			want := int(sent.hash % shards)
			if sent.none {
				want = 0
			}
			if (verdict != 0) != (want == i) {
				t.Errorf("%s: shard %d: verdict %d, want shard %d\npacket %x", sent.name, i, verdict, want, sent.frame[14:])
			}
			tested++
		}
		if tested < 100 {
			t.Errorf("only %d packets", tested)
		}
	}
}

// BenchmarkRules tells what a frame costs in the kernel, by rule.
func BenchmarkRules(b *testing.B) {
	netnstest.RequireBPF(b)
	self, err := NewSelfTable()
	if err != nil {
		b.Fatal(err)
	}
	defer self.Close()
	if err := self.Add(netip.MustParseAddrPort("192.0.2.1:2002")); err != nil {
		b.Fatal(err)
	}
	interfaces, err := NewInterfaceTable()
	if err != nil {
		b.Fatal(err)
	}
	defer interfaces.Close()
	port80 := mustCompile(b, cookedPrograms(b, "LINUX_SLL")[1].code)
	src, dst := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:80")
	packet := testRun(tcpPacket(src, dst))
	for _, bb := range []struct {
		name    string
		cfg     Config
		program *Program
	}{
		{"none", Config{}, nil},
		{"program", Config{View: ViewCooked}, port80},
		{"direction", Config{Direction: capture.DirectionIn}, nil},
		{"self", Config{Self: self}, nil},
		{"interfaces", Config{Interfaces: interfaces}, nil},
		{"shard", Config{Shard: Shard{0, 1 << 15}}, nil},
		{"flows", Config{Flows: 10}, nil},
		{"cutoff", Config{Cutoff: 1 << 40}, nil},
		{"dedup", Config{Dedup: time.Second}, nil},
	} {
		b.Run(bb.name, func(b *testing.B) {
			f, err := NewFilter(bb.cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if judged, err := f.Set(bb.program); err != nil || judged != allJudged {
				b.Fatal(judged, err)
			}
			_, perRun, err := f.main.Benchmark(packet, max(b.N, 100_000), b.ResetTimer)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(perRun.Nanoseconds()), "ns/op")
		})
	}
}
