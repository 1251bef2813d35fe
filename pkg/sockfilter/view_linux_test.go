package sockfilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// received describes, as the kernel has them, frames that arrived over veth
// from a packet socket.
func received(frames [][]byte, ifindex int) (skbs []*skb, tags []tagging) {
	for _, f := range frames {
		s := &skb{data: f, networkOffset: 14, linear: len(f), fields: map[int16]uint32{
			skbPktType: unix.PACKET_OTHERHOST, skbIfindex: uint32(ifindex),
		}}
		tag := untagged
		etherType := binary.BigEndian.Uint16(f[12:])
		if isTag(etherType) && len(f) >= 18 {
			tag = tagged
			s.fields[skbVLANProto], s.fields[skbVLANTCI] = uint32(htons(etherType)), uint32(binary.BigEndian.Uint16(f[14:]))
			s.data = append(append([]byte(nil), f[:12]...), f[16:]...)
			etherType = binary.BigEndian.Uint16(f[16:])
		}
		if etherType < 0x600 { // a length (eth_type_trans)
			etherType = unix.ETH_P_802_2
			if len(s.data) >= 16 && s.data[14] == 0xff && s.data[15] == 0xff {
				etherType = unix.ETH_P_802_3
			}
		}
		s.linear = len(s.data)
		s.fields[skbProtocol] = uint32(htons(etherType))
		skbs, tags = append(skbs, s), append(tags, tag)
	}
	return skbs, tags
}

// sent describes frames that a packet socket sends. Their tags are in place,
// and the network header is behind all of them (packet_parse_headers in
// net/packet/af_packet.c).
func sent(frames [][]byte, ifindex int) (skbs []*skb, tags []tagging) {
	for _, f := range frames {
		s := &skb{data: f, networkOffset: 14, linear: len(f), fields: map[int16]uint32{
			skbPktType: unix.PACKET_OUTGOING, skbIfindex: uint32(ifindex),
		}}
		etherType := binary.BigEndian.Uint16(f[12:])
		s.fields[skbProtocol] = uint32(htons(etherType))
		tag := untagged
		if isTag(etherType) {
			tag = inPlace
		}
		for at := 14; isTag(etherType) && at+4 <= len(f); at += 4 {
			etherType = binary.BigEndian.Uint16(f[at+2:])
			s.networkOffset = at + 4
		}
		if isTag(etherType) { // the last tag is cut: none is passed
			s.networkOffset = 14
		}
		skbs, tags = append(skbs, s), append(tags, tag)
	}
	return skbs, tags
}

func isTag(etherType uint16) bool { return etherType == etherTypeVLAN || etherType == etherTypeQinQ }

// clientPacket is the client's view of an skb.
func clientPacket(view View, tag tagging, s *skb) *Packet {
	v := viewCase{layout: view.layout(tag), tag: tag}
	return v.clientPacket(s)
}

// TestKernelAgreesOnViews sends frames with and without VLAN tags past filters
// for each view, at both ends of a link, and compares with the interpreter on
// the client's frames.
func TestKernelAgreesOnViews(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	r := rand.New(rand.NewPCG(5, 7))
	var frames [][]byte
	for _, f := range testFrames(r) {
		if len(f) > 14 {
			f = bytes.Clone(f)
			f[1] = byte(len(frames)) // so that each is recognised
			frames = append(frames, f)
		}
	}
	for _, tt := range []struct {
		name     string
		view     View
		programs []namedProgram
	}{
		{"frame", ViewFrame, tcpdumpPrograms(t)[:25]},
		{"cooked", ViewCooked, cookedPrograms(t, "LINUX_SLL")},
		{"cooked 2", ViewCooked2, cookedPrograms(t, "LINUX_SLL2")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			programs := tt.programs
			for i := range 25 {
				programs = append(programs, namedProgram{fmt.Sprint("random ", i), randomKernelProgram(r)})
			}
			in := viewCapture{capturer: openCapture(t, l.receiver, l.receiverIndex, Config{View: tt.view, SnapLen: viewSnapLen}), view: tt.view}
			in.skbs, in.tags = received(frames, l.receiverIndex)
			out := viewCapture{capturer: openCapture(t, l.sender, l.senderIndex, Config{View: tt.view, SnapLen: viewSnapLen}), view: tt.view}
			out.skbs, out.tags = sent(frames, l.senderIndex)
			for _, np := range programs {
				p := mustCompile(t, np.code)
				judgedIn, judgedOut := in.set(p), out.set(p)
				seenIn, seenOut := in.waitSeen(0).Seen, out.waitSeen(0).Seen
				for _, f := range frames {
					send(t, fd, l.senderIndex, f)
				}
				in.waitSeen(seenIn + uint64(len(frames)))
				out.waitSeen(seenOut + uint64(len(frames)))
				in.check(np, p, judgedIn)
				out.check(np, p, judgedOut)
			}
			for name, c := range map[string]*viewCapture{"in": &in, "out": &out} {
				t.Logf("%s: %d programs, %d frames each, %d accepted", name, len(programs), len(frames), c.accepted)
				if counts := c.waitSeen(0); counts.Refusals != 0 {
					t.Errorf("%s: the kernel refused %d programs", name, counts.Refusals)
				}
				if c.accepted < 100 {
					t.Errorf("%s: not much of a test", name)
				}
			}
		})
	}
}

const viewSnapLen = 90

// viewCapture is a capture of frames that are known.
type viewCapture struct {
	*capturer
	view     View
	skbs     []*skb // the frames as the kernel has them
	tags     []tagging
	accepted int
}

// check takes the frames that have passed p and holds them against the
// interpreter.
func (c *viewCapture) check(np namedProgram, p *Program, judged Judged) {
	t := c.t
	t.Helper()
	got, _ := c.next()
	for i, s := range c.skbs {
		exact := judged.Untagged
		if c.tags[i] == tagged {
			exact = judged.Tagged
		}
		packet := clientPacket(c.view, c.tags[i], s)
		want := min(p.RunPacket(packet), viewSnapLen)
		passed := got != nil && bytes.HasPrefix(s.data, got)
		if want != 0 && !passed || exact && want == 0 && passed && len(got) == len(s.data) {
			t.Fatalf("%s: interpreter %d, passed: %v (exact: %v)\nprogram %v\nframe %x", np.name, want, passed, exact, np.code, packet.Data)
		}
		if want == 0 && exact || !passed {
			continue
		}
		wantLen := len(s.data)
		switch {
		case exact && c.view == ViewFrame:
			wantLen = min(wantLen, keptLen(want, c.tags[i] == tagged))
		case exact:
			wantLen = min(wantLen, viewSnapLen+maxLinkLen)
		}
		if len(got) != wantLen {
			t.Fatalf("%s: %d bytes, want %d (verdict %d)\nprogram %v\nframe %x", np.name, len(got), wantLen, want, np.code, packet.Data)
		}
		c.accepted++
		got, _ = c.next()
	}
	if got != nil {
		t.Fatalf("%s: a frame too many: %x\nprogram %v", np.name, got, np.code)
	}
}

// keptLen is how much of a frame without its tag makes n bytes with it.
func keptLen(n uint32, tagged bool) int {
	if tagged && n >= tagOffset {
		return int(max(n, tagOffset+tagLen)) - tagLen
	}
	return int(n)
}

// randomKernelProgram is a randomPacketProgram without what a test can't know.
func randomKernelProgram(r *rand.Rand) []bpf.RawInstruction {
next:
	for {
		code := randomPacketProgram(r, 40)
		for _, ins := range code {
			if !isAncillary(ins) {
				continue
			}
			switch ins.K - offsetAncillary {
			case adProtocol, adPacketType, adInterface, adXorX, adVLANTag, adVLANTPID, adVLANTagPresent:
			default:
				continue next
			}
		}
		return code
	}
}
