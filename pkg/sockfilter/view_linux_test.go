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
func received(frames [][]byte, ifindex int) (skbs []*skb, cases []viewCase) {
	for _, f := range frames {
		s := &skb{data: f, networkOffset: 14, linear: len(f), fields: map[int16]uint32{
			skbPktType: unix.PACKET_OTHERHOST, skbIfindex: uint32(ifindex),
		}}
		v := viewCase{}
		etherType := binary.BigEndian.Uint16(f[12:])
		if (etherType == etherTypeVLAN || etherType == etherTypeQinQ) && len(f) >= 18 {
			v.tagged = true
			s.fields[skbVLANProto], s.fields[skbVLANTCI] = uint32(etherType), uint32(binary.BigEndian.Uint16(f[14:]))
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
		skbs, cases = append(skbs, s), append(cases, v)
	}
	return skbs, cases
}

// packet is the client's view of an skb that received made.
func (v *viewCase) packet(s *skb, view View) *Packet {
	v.layout = view.layout(v.tagged)
	if v.layout == nil {
		v.layout = &cooked2Layout
	}
	p := v.clientPacket(s)
	if v.tagged && view != ViewCooked2 { // the tag of this frame, not clientPacket's
		at := tagOffset
		if view == ViewCooked {
			at = cookedLen - 2
		}
		binary.BigEndian.PutUint16(p.Data[at:], uint16(s.fields[skbVLANProto]))
		binary.BigEndian.PutUint16(p.Data[at+2:], uint16(s.fields[skbVLANTCI]))
	}
	return p
}

// TestKernelAgreesOnViews sends frames with and without VLAN tags past filters
// for each view, and compares with the interpreter on the client's frames.
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
	skbs, cases := received(frames, l.receiverIndex)
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
			c := openCapture(t, l.receiver, l.receiverIndex, Config{View: tt.view, SnapLen: 90})
			accepted := 0
			for _, np := range programs {
				p := mustCompile(t, np.code)
				judged := c.set(p)
				seen := c.waitSeen(0).Seen
				for _, f := range frames {
					send(t, fd, l.senderIndex, f)
				}
				c.waitSeen(seen + uint64(len(frames)))
				got, _ := c.next()
				for i, s := range skbs {
					exact := judged.Untagged
					if cases[i].tagged {
						exact = judged.Tagged
					}
					packet := cases[i].packet(s, tt.view)
					want := min(p.RunPacket(packet), 90)
					passed := got != nil && bytes.HasPrefix(s.data, got)
					if want != 0 && !passed || exact && want == 0 && passed && len(got) == len(s.data) {
						t.Fatalf("%s: interpreter %d, passed: %v (exact: %v)\nprogram %v\nframe %x", np.name, want, passed, exact, np.code, packet.Data)
					}
					if want == 0 && exact || !passed {
						continue
					}
					wantLen := len(s.data)
					if exact && tt.view == ViewFrame {
						wantLen = min(wantLen, keptLen(want, cases[i].tagged))
					}
					if len(got) != wantLen {
						t.Fatalf("%s: %d bytes, want %d (verdict %d)\nprogram %v\nframe %x", np.name, len(got), wantLen, want, np.code, packet.Data)
					}
					accepted++
					got, _ = c.next()
				}
				if got != nil {
					t.Fatalf("%s: a frame too many: %x\nprogram %v", np.name, got, np.code)
				}
			}
			t.Logf("%d programs, %d frames each, %d accepted", len(programs), len(frames), accepted)
			if counts := c.waitSeen(0); counts.Refusals != 0 {
				t.Errorf("the kernel refused %d programs", counts.Refusals)
			}
			if accepted < 100 {
				t.Error("not much of a test")
			}
		})
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
