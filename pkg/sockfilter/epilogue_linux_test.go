package sockfilter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// payloadFrame returns a frame with n bytes of payload, padded to Ethernet's
// shortest.
func payloadFrame(protocol byte, src, dst netip.AddrPort, flags byte, n int) []byte {
	h := segment(src.Port(), dst.Port(), "")
	h[13] = flags
	if protocol == protoUDP {
		h = h[:8]
	}
	f := inEthernet(ipPacket(src.Addr(), dst.Addr(), protocol, append(h, bytes.Repeat([]byte("p"), n)...)))
	return append(f, make([]byte, max(0, 60-len(f)))...)
}

// sequenced returns a copy of a segment with another sequence number.
func sequenced(f []byte, seq uint32) []byte {
	f = bytes.Clone(f)
	at := 14 + 20 + 4
	if f[12] == 0x86 {
		at = 14 + 40 + 4
	}
	binary.BigEndian.PutUint32(f[at:], seq)
	return f
}

// TestCutoff holds that each direction of a flow delivers whole the frames that
// start before the limit, repeated ones included, and headers from then on.
func TestCutoff(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	const limit = 2500
	tcp, tcp6 := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("[fd00::9]:80")
	client, client6 := netip.MustParseAddrPort("10.0.0.2:4000"), netip.MustParseAddrPort("[fd00::2]:4000")
	tagged := func(f []byte) []byte {
		return append(append(bytes.Clone(f[:12]), 0x81, 0, 0, 10), f[12:]...)
	}
	type step struct {
		frame []byte
		want  int // bytes delivered
	}
	whole := func(f []byte) step { return step{f, len(f)} }
	data := func(seq uint32) []byte { return sequenced(payloadFrame(protoTCP, client, tcp, 0x18, 1000), seq) }
	data6 := func(seq uint32) []byte { return sequenced(payloadFrame(protoTCP, client6, tcp6, 0x18, 1250), seq) }
	back := func(seq uint32) []byte { return sequenced(payloadFrame(protoTCP, tcp, client, 0x18, 1000), seq) }
	ack := func(seq uint32) []byte { return sequenced(payloadFrame(protoTCP, client, tcp, 0x10, 0), seq) }
	reset := sequenced(payloadFrame(protoTCP, client, tcp, 0x04, 0), 1<<30)
	syn := func(seq uint32) []byte { return sequenced(payloadFrame(protoTCP, client, tcp, tcpSYN, 0), seq) }
	udp := payloadFrame(protoUDP, client, tcp, 0, 1300)
	vxlan := func(seq uint32) []byte {
		tunnelled := sequenced(payloadFrame(protoTCP, netip.MustParseAddrPort("10.5.0.1:1"), tcp, 0x10, 1000), seq)
		u := append([]byte{0x90, 0, portVXLAN >> 8, portVXLAN & 0xff, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0}, tunnelled...)
		return inEthernet(ipPacket(tcp.Addr(), client.Addr(), protoUDP, u))
	}
	const wrap = 1<<32 - 1500
	steps := []step{
		whole(ack(7)), whole(data(7)), whole(ack(1007)), whole(data(1007)),
		whole(data(1007)), whole(data(7)), whole(data(6)), // repeated, and from before we looked
		whole(data(2007)), // to 3,000 bytes
		{data(3007), 54}, {ack(4007), 54}, {sequenced(payloadFrame(protoTCP, client, tcp, 0x18, 1), 4007), 54},
		whole(data(1007)), {data(3007), 54}, {data(2600), 54},
		whole(back(9)), {tagged(data(4008)), 54},
		whole(syn(wrap - 1)), whole(data(wrap)), whole(syn(wrap - 1)), whole(data(wrap)), whole(data(wrap + 1000)),
		{reset, 54}, whole(data(2000 - 1500)), whole(data(wrap)), {data(3000 - 1500), 54},
		whole(syn(99)), whole(data(100)), {data(100 + 3000), 54}, whole(data(100 + 2000)), // one was lost, and comes late
		whole(udp), whole(udp), {udp, 42}, whole(back(1009)), whole(back(2009)), {back(3009), 54},
		whole(data6(0)), whole(data6(1250)), {data6(2500), 74}, whole(data6(0)),
		whole(vxlan(0)), whole(vxlan(1000)), whole(vxlan(2000)), {vxlan(3000), 14 + 20 + 16 + 14 + 20 + 20},
		whole(ethernet(etherTypeARP, make([]byte, 46)...)),
	}
	accept := []bpf.RawInstruction{{Op: opLoadAbsB, K: 0}, {Op: opRetK, K: 1 << 18}}
	for _, tt := range []struct {
		name    string
		program []bpf.RawInstruction
		snapLen int
	}{
		{"no program", nil, 0},
		{"program", accept, 0},
		{"program that returns A", []bpf.RawInstruction{{Op: opLoadImm, K: 70_000}, {Op: opRetA}}, 0},
		{"snap length", accept, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := openCapture(t, l.receiver, l.receiverIndex, Config{Cutoff: limit, SnapLen: tt.snapLen})
			if tt.program == nil {
				c.set(nil)
			} else {
				c.set(mustCompile(t, tt.program))
			}
			for i, s := range steps {
				send(t, fd, l.senderIndex, s.frame)
				c.waitSeen(uint64(i + 1))
				f, _ := c.next()
				want := s.want
				if tt.snapLen > 0 {
					want = min(want, tt.snapLen)
				}
				if s.frame[12] == 0x81 && tt.name == "program that returns A" {
					want = len(s.frame) - tagLen // left to user space
				}
				if len(f) != want {
					t.Errorf("step %d: %d bytes of %d, want %d", i, len(f), len(s.frame), want)
				}
			}
			packets, drops := c.stats()
			if counts := c.waitSeen(0); counts != (Counts{Seen: uint64(len(steps))}) || packets != counts.Seen || drops != 0 {
				t.Errorf("%+v, %d packets, %d drops", counts, packets, drops)
			}
		})
	}
}

// TestCutoffOnSeveralProcessors has packets of one flow at the same time, segments
// in any order: what is whole and what is cut is the same as with one processor.
func TestCutoffOnSeveralProcessors(t *testing.T) {
	netnstest.RequireBPF(t)
	const (
		payload    = 100
		packets    = 4000
		limit      = packets / 2 * payload
		base       = 1<<32 - limit/3 // the numbers wrap on the way
		processors = 4
	)
	a, b := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:4000")
	for _, protocol := range []byte{protoTCP, protoUDP} {
		f, err := NewFilter(Config{Cutoff: limit})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Set(nil); err != nil {
			t.Fatal(err)
		}
		run := func(frame []byte) (whole bool) {
			verdict, _, err := f.main.Test(testRun(frame[14:]))
			if err != nil {
				t.Error(err)
			}
			return int(verdict) >= len(frame)-14
		}
		if protocol == protoTCP {
			run(sequenced(payloadFrame(protoTCP, a, b, tcpSYN, 0), base-1))
		}
		order := rand.New(rand.NewPCG(3, 5)).Perm(packets)
		whole := make([]int, processors)
		var wait sync.WaitGroup
		for p := range processors {
			wait.Go(func() {
				for _, place := range order[p*packets/processors:][:packets/processors] {
					frame := payloadFrame(protocol, a, b, 0x10, payload)
					if protocol == protoTCP {
						frame = sequenced(frame, base+uint32(place*payload))
					}
					got := run(frame)
					if got {
						whole[p]++
					}
					if want := place*payload < limit; protocol == protoTCP && got != want {
						t.Errorf("segment at byte %d of %d: whole %v", place*payload, limit, got)
					}
				}
			})
		}
		wait.Wait()
		sum := 0
		for _, n := range whole {
			sum += n
		}
		if sum != limit/payload {
			t.Errorf("protocol %d: %d packets whole, want %d", protocol, sum, limit/payload)
		}
	}
}

// TestCutoffCountsWhatTheProgramAccepts has a program that refuses frames
// first.
func TestCutoffCountsWhatTheProgramAccepts(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	c := openCapture(t, l.receiver, l.receiverIndex, Config{Cutoff: 500})
	a, b := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:4000")
	// Accepts segments whose PSH flag is set.
	c.set(mustCompile(t, []bpf.RawInstruction{{Op: opLoadAbsB, K: 47}, {Op: opJumpSetK, K: 8, Jf: 1}, {Op: opRetK, K: 9999}, {Op: opRetK}}))
	var got []int
	for i, flags := range []byte{0x10, 0x10, 0x18, 0x10, 0x18} {
		send(t, fd, l.senderIndex, sequenced(payloadFrame(protoTCP, a, b, flags, 600), uint32(i*600)))
		c.waitSeen(uint64(i + 1))
		if f, _ := c.next(); f != nil {
			got = append(got, len(f))
		}
	}
	if len(got) != 2 || got[0] != 654 || got[1] != 54 {
		t.Errorf("lengths %d, want 654 and 54", got)
	}
}

// TestDedup has a bridge made of two links: what comes in at one interface
// goes out at the other.
func TestDedup(t *testing.T) {
	l := newLink(t)
	far := netnstest.New(t)
	if err := netns.Veth(l.receiver, "out", far, "end"); err != nil {
		t.Fatal(err)
	}
	outIndex, err := l.receiver.Index("out")
	if err != nil {
		t.Fatal(err)
	}
	in, out := openPacketSocket(t, l.sender), openPacketSocket(t, l.receiver)
	a, b := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:4000")
	numbered := func(protocol byte, n uint32) []byte {
		f := payloadFrame(protocol, a, b, 0x10, 40)
		binary.BigEndian.PutUint32(f[38:], n) // sequence number, or UDP's length and checksum
		return f
	}
	const hour = time.Hour
	for _, tt := range []struct {
		name   string
		window time.Duration
		play   func(arrive, leave func([]byte))
		want   int
	}{
		{"forwarded", hour, func(arrive, leave func([]byte)) {
			for i := range uint32(10) {
				arrive(numbered(protoTCP, i))
				leave(numbered(protoTCP, i))
			}
		}, 10},
		{"forwarded with another TTL and checksum", hour, func(arrive, leave func([]byte)) {
			f := numbered(protoUDP, 0x0030_0000)
			arrive(f)
			f = numbered(protoUDP, 0x0030_abcd)
			f[22]--
			leave(f)
		}, 1},
		{"repeated by the sender", hour, func(arrive, leave func([]byte)) {
			for range 3 {
				arrive(numbered(protoTCP, 1))
				leave(numbered(protoTCP, 1))
			}
		}, 3},
		{"two in a row", hour, func(arrive, leave func([]byte)) {
			arrive(numbered(protoTCP, 1))
			arrive(numbered(protoTCP, 1))
			leave(numbered(protoTCP, 1))
			leave(numbered(protoTCP, 1))
		}, 2},
		{"different packets", hour, func(arrive, leave func([]byte)) {
			arrive(numbered(protoTCP, 1))
			leave(numbered(protoTCP, 2))
		}, 2},
		{"not IP", hour, func(arrive, leave func([]byte)) {
			arrive(ethernet(etherTypeARP, make([]byte, 46)...))
			leave(ethernet(etherTypeARP, make([]byte, 46)...))
		}, 2},
		{"window over", time.Nanosecond, func(arrive, leave func([]byte)) {
			arrive(numbered(protoTCP, 1))
			leave(numbered(protoTCP, 1))
		}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := openCapture(t, l.receiver, 0, Config{Dedup: tt.window})
			c.set(nil)
			sent := uint64(0)
			play := func(fd, index int) func([]byte) {
				return func(f []byte) {
					send(t, fd, index, f)
					sent++
					c.waitSeen(sent)
				}
			}
			tt.play(play(in, l.senderIndex), play(out, outIndex))
			got := 0
			for f, _ := c.next(); f != nil; f, _ = c.next() {
				got++
			}
			counts := c.waitSeen(sent)
			if want := (Counts{Seen: sent, Excluded: sent - uint64(tt.want)}); got != tt.want || counts != want {
				t.Errorf("%d frames, %+v, want %d, %+v", got, counts, tt.want, want)
			}
		})
	}
}

// TestNothingLeaks opens and closes filters with all rules.
func TestNothingLeaks(t *testing.T) {
	netnstest.RequireBPF(t)
	cfg := everyRule(t)
	before := bpfDescriptors(t)
	for range 5 {
		f, err := NewFilter(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Set(mustCompile(t, tcpdumpPrograms(t)[3].code)); err != nil {
			t.Error(err)
		}
		if err := errors.Join(f.Stop(), f.Close()); err != nil {
			t.Error(err)
		}
	}
	if n := bpfDescriptors(t); n != before {
		t.Errorf("%d maps and programs open, %d before", n, before)
	}
}
