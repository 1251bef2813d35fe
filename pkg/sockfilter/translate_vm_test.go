package sockfilter

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"
)

// viewCase is a way in which the kernel has a frame and the client sees it.
type viewCase struct {
	name   string
	layout *layout
	reach  bool
	linear int // of the frame in its first piece of memory; 0 = all
	tag    tagging
}

func viewCases() []viewCase {
	return []viewCase{
		{"frame", &plainLayout, true, 0, untagged},
		{"tagged", &taggedLayout, true, 0, tagged},
		{"cooked", &cookedLayout, true, 0, untagged},
		{"cooked, tagged", &taggedCookedLayout, true, 0, tagged},
		{"cooked, tag in place", &inPlaceCookedLayout, true, 0, inPlace},
		{"cooked 2", &cooked2Layout, true, 0, untagged},
		{"cooked 2, tagged", &taggedCooked2Layout, true, 0, tagged},
		{"cooked 2, tag in place", &inPlaceCooked2Layout, true, 0, inPlace},
		{"frame, in pieces", &plainLayout, false, 40, untagged},
		{"cooked, in pieces", &cookedLayout, false, 40, untagged},
		{"cooked, tag in place, in pieces", &inPlaceCookedLayout, false, 40, inPlace},
	}
}

// kernelFrame makes an skb of an Ethernet frame.
func (v *viewCase) kernelFrame(frame []byte) *skb {
	s := &skb{data: frame, networkOffset: min(14, len(frame)), cpu: 3, random: 0x1234_5678, linear: len(frame)}
	if v.linear != 0 {
		s.linear = min(v.linear, s.linear)
	}
	protocol := uint32(0)
	if len(frame) >= 14 {
		protocol = uint32(htons(binary.BigEndian.Uint16(frame[12:])))
	}
	s.fields = map[int16]uint32{
		skbLen: uint32(len(frame)), skbPktType: 4, skbMark: 77, skbQueue: 5, skbProtocol: protocol,
		skbVLANTCI: 0, skbVLANProto: 0, skbIfindex: 0x1020304, skbCB: 0, skbHash: 0xcafe,
	}
	switch v.tag {
	case inPlace:
		s.networkOffset = min(18, len(frame))
	case tagged:
		s.fields[skbVLANTCI], s.fields[skbVLANProto] = 0xa123, uint32(htons(0x88a8))
	}
	return s
}

// clientPacket makes of an skb what the client sees, by the words of View.
func (v *viewCase) clientPacket(s *skb) *Packet {
	p := &Packet{
		NetworkOffset: s.networkOffset, Protocol: htons(uint16(s.fields[skbProtocol])), PacketType: uint8(s.fields[skbPktType]),
		Interface: int(s.fields[skbIfindex]), HardwareType: 1, Mark: s.fields[skbMark], Queue: s.fields[skbQueue],
		Hash: s.fields[skbHash], CPU: s.cpu, Random: s.random,
	}
	protocol, tag := p.Protocol, []byte(nil) // what follows in place of the protocol
	if v.tag == tagged {
		protocol = htons(uint16(s.fields[skbVLANProto]))
		tag = binary.BigEndian.AppendUint16(tag, uint16(s.fields[skbVLANTCI]))
		tag = binary.BigEndian.AppendUint16(tag, p.Protocol)
	}
	payload := s.networkOffset
	if v.tag == inPlace {
		payload = min(tciOffset, len(s.data))
	}
	switch v.layout {
	case &cookedLayout, &taggedCookedLayout, &inPlaceCookedLayout:
		p.Data = []byte{0, p.PacketType, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0}
		p.Data = binary.BigEndian.AppendUint16(p.Data, protocol)
	case &cooked2Layout, &taggedCooked2Layout, &inPlaceCooked2Layout:
		p.Data = binary.BigEndian.AppendUint16(nil, protocol)
		p.Data = append(p.Data, 0, 0)
		p.Data = binary.BigEndian.AppendUint32(p.Data, uint32(p.Interface))
		p.Data = append(p.Data, 0, 1, p.PacketType, 6, 2, 2, 2, 2, 2, 2, 0, 0)
	default:
		payload = min(tagOffset, len(s.data))
		p.Data = append(p.Data, s.data[:payload]...)
		if tag != nil {
			tag = append(binary.BigEndian.AppendUint16(nil, protocol), tag[:2]...)
		}
	}
	p.Data = append(p.Data, tag...)
	p.NetworkOffset = len(p.Data) + s.networkOffset - payload
	p.Data = append(p.Data, s.data[payload:]...)
	p.Len = len(p.Data)
	return p
}

// checkTranslation holds a translation against the interpreter: exact, it has
// its verdict; otherwise it passes whole whatever the interpreter accepts.
// It reports whether the kernel alone decided.
func (v *viewCase) checkTranslation(t testing.TB, code []bpf.RawInstruction, frame []byte, snapLen uint32) bool {
	p := mustCompile(t, code)
	to := target{layout: v.layout, snapLen: snapLen, reach: v.reach}
	translated, exact := to.translate(p)
	if translated.tooFar {
		return false
	}
	s := v.kernelFrame(frame)
	packet := v.clientPacket(s)
	want := min(p.RunPacket(packet), snapLen)
	got := (&ebpfVM{t: t, code: translated.out, skb: s}).run()
	switch {
	case exact && v.layout.grown < 0:
		// The cut comes later than the client's; none if it has no cut.
		if (want == 0) != (got == 0) || got != 0 && got < want {
			t.Fatalf("%s: kernel %d, interpreter %d\nprogram %v\nframe %x", v.name, got, want, code, packet.Data)
		}
	case exact:
		// What user space makes of the kernel's bytes, and cuts.
		kept := min(got, uint32(len(frame)))
		if kept >= tagOffset {
			kept += uint32(v.layout.grown)
		}
		if kept = min(kept, snapLen); kept != min(want, uint32(packet.Len)) {
			t.Fatalf("%s: kernel %d, that is %d, interpreter %d\nprogram %v\nframe %x", v.name, got, kept, want, code, packet.Data)
		}
	case got == 0 && want != 0 || got != 0 && got != wholeFrame:
		t.Fatalf("%s: kernel %d, interpreter %d\nprogram %v\nframe %x", v.name, got, want, code, packet.Data)
	}
	return exact || got == 0
}

// TestTranslation runs what the translator emits in an interpreter of our own:
// no kernel, no privilege, any number of programs.
func TestTranslation(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 9))
	frames := testFrames(r)
	programs := tcpdumpPrograms(t)
	for i := range 1500 {
		programs = append(programs, namedProgram{fmt.Sprint("random ", i), randomPacketProgram(r, 40)})
	}
	for _, v := range viewCases() {
		decided, all := 0, 0
		for i, np := range programs {
			if mustCompile(t, np.code).userOnly {
				continue
			}
			for j := range 12 {
				frame := frames[(i*7+j*5)%len(frames)]
				if v.tag == tagged && len(frame) < 14 {
					continue // the kernel takes a tag off a whole header only
				}
				all++
				if v.checkTranslation(t, np.code, frame, []uint32{10, 40, DefaultSnapLen}[i%3]) {
					decided++
				}
			}
		}
		t.Logf("%s: %d of %d verdicts are the kernel's alone", v.name, decided, all)
		if decided < all/8 {
			t.Errorf("%s: only %d of %d verdicts are the kernel's alone", v.name, decided, all)
		}
	}
}

// FuzzTranslate is TestTranslation with programs of the fuzzer's.
func FuzzTranslate(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	frames := testFrames(r)
	for i := range 40 {
		f.Add(encode(randomPacketProgram(r, 20)), frames[i%len(frames)], uint32(20+i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, raw, frame []byte, snapLen uint32, view uint8) {
		code := decode(raw)
		p, err := Compile(code)
		cases := viewCases()
		v := cases[int(view)%len(cases)]
		if err != nil || p.userOnly || len(frame) == 0 || len(frame) > 1<<16 || v.tag == tagged && len(frame) < 14 {
			return
		}
		v.checkTranslation(t, code, frame, 1+snapLen%wholeFrame)
	})
}

// randomPacketProgram is a randomProgram with loads of everything that there is
// beside the frame's bytes.
func randomPacketProgram(r *rand.Rand, maxLen int) []bpf.RawInstruction {
	code := randomProgram(r, maxLen)
	for i := range code {
		if !isLoad(code[i].Op) || r.IntN(5) > 0 {
			continue
		}
		switch r.IntN(3) {
		case 0:
			code[i].K = offsetNetwork + uint32(r.IntN(40))
		case 1:
			code[i].K = offsetLink + uint32(r.IntN(40))
		case 2:
			if op := code[i].Op; op == opLoadAbsW || op == opLoadAbsH || op == opLoadAbsB {
				code[i].K = offsetAncillary + uint32(r.IntN(16))*4
			}
		}
	}
	return code
}
