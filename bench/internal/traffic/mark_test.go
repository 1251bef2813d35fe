package traffic

import (
	"bytes"
	"testing"

	"capstan/pkg/capture"
)

// asLink returns an Ethernet frame as a capture on another link hands it out.
func asLink(t testing.TB, frame []byte, to capture.LinkType) []byte {
	t.Helper()
	switch to {
	case capture.LinkTypeEthernet:
		return bytes.Clone(frame)
	case capture.LinkTypeLinuxSLL: // protocol, tag and the rest follow 14 bytes of other things
		return append(make([]byte, 14), frame[12:]...)
	case capture.LinkTypeLinuxSLL2: // the protocol comes first, the tag after the header
		head := append(bytes.Clone(frame[12:14]), make([]byte, 18)...)
		return append(head, frame[14:]...)
	case capture.LinkTypeRaw:
		network := link{tagged: frame[12] == 0x81 && frame[13] == 0}.networkOffset()
		return bytes.Clone(frame[network:])
	}
	t.Fatalf("link type %v", to)
	return nil
}

var linkTypes = []capture.LinkType{
	capture.LinkTypeEthernet, capture.LinkTypeLinuxSLL, capture.LinkTypeLinuxSLL2, capture.LinkTypeRaw,
}

func TestMarkSurvivesOnEveryLink(t *testing.T) {
	for _, p := range testPlans() {
		t.Run(p.name(), func(t *testing.T) {
			g := newGenerator(t, p)
			var f Frame
			for i := range 20 {
				g.Next(&f)
				want := Mark{Seq: uint64(i), SentAt: int64(mix(uint64(i)))}
				f.Stamp(int64(i)) // the second stamp counts
				f.Stamp(want.SentAt)
				for _, lt := range linkTypes {
					b := asLink(t, f.Data, lt)
					if m, ok := ParseMark(b, lt); !ok || m != want || !Ours(b, lt) {
						t.Fatalf("%v: %+v %v, want %+v; ours %v", lt, m, ok, want, Ours(b, lt))
					}
					wantTag, wantTagged := uint16(0), p.VLAN != nil && lt != capture.LinkTypeRaw
					if wantTagged {
						wantTag = p.VLAN[i%p.Flows%len(p.VLAN)]
					}
					if tci, tagged := Tag(b, lt); tci != wantTag || tagged != wantTagged {
						t.Fatalf("%v: tag %d %v, want %d %v", lt, tci, tagged, wantTag, wantTagged)
					}
					if !CheckPattern(b, lt, want, false) {
						t.Fatalf("%v: a good frame fails", lt)
					}
				}
			}
		})
	}
}

func TestMarkOfLargeNumbers(t *testing.T) {
	g := newGenerator(t, Plan{})
	frames := g.source.(*testFrames)
	for _, seq := range []uint64{1 << 16, 1<<32 - 1, 1 << 32, maxSeq} {
		frames.seq = seq
		var f Frame
		g.Next(&f)
		m, ok := ParseMark(f.Data, capture.LinkTypeEthernet)
		if !ok || m.Seq != seq || !CheckPattern(f.Data, capture.LinkTypeEthernet, m, false) {
			t.Errorf("%d: %+v %v", seq, m, ok)
		}
	}
}

// intact is what a receiver asks of a frame.
func intact(frame []byte, lt capture.LinkType, truncated bool) bool {
	m, ok := ParseMark(frame, lt)
	return ok && CheckPattern(frame, lt, m, truncated)
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	for _, p := range testPlans() {
		if p.Size == Fixed(maxFrameLen) {
			continue // the same as a shorter one, only slower
		}
		g := newGenerator(t, p)
		var f Frame
		g.Next(&f)
		f.Stamp(1_767_225_600_123_456_789)
		network := link{tagged: p.VLAN != nil}.networkOffset()
		for bit := network * 8; bit < len(f.Data)*8; bit++ {
			f.Data[bit/8] ^= 1 << (bit % 8)
			if intact(f.Data, capture.LinkTypeEthernet, false) {
				t.Errorf("%s: bit %d of byte %d flipped, not found", p.name(), bit%8, bit/8)
			}
			f.Data[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestPayloadOfAnotherFrameIsFound(t *testing.T) {
	g := newGenerator(t, Plan{Size: Fixed(400)})
	var a, b Frame
	g.Next(&a)
	g.Next(&b)
	half := bytes.Clone(a.Data)
	copy(half[200:], b.Data[200:])
	if intact(half, capture.LinkTypeEthernet, false) {
		t.Error("half of another frame is not found")
	}
}

func TestCutFrames(t *testing.T) {
	for _, p := range testPlans() {
		g := newGenerator(t, p)
		var f Frame
		g.Next(&f)
		f.Stamp(99)
		mark := f.stamp + 8 // where it ends
		for n := range len(f.Data) {
			_, ok := ParseMark(f.Data[:n], capture.LinkTypeEthernet)
			if ok != (n >= mark) {
				t.Fatalf("%s: cut to %d bytes, mark up to %d: %v", p.name(), n, mark, ok)
			}
			if intact(f.Data[:n], capture.LinkTypeEthernet, true) != (n >= mark) {
				t.Fatalf("%s: cut to %d bytes: good is %v", p.name(), n, n < mark)
			}
			if intact(f.Data[:n], capture.LinkTypeEthernet, false) {
				t.Fatalf("%s: cut to %d bytes, and nobody said so, not found", p.name(), n)
			}
		}
		if longer := append(bytes.Clone(f.Data), 0); intact(longer, capture.LinkTypeEthernet, false) || intact(longer, capture.LinkTypeEthernet, true) {
			t.Errorf("%s: a byte more is not found", p.name())
		}
	}
}

func TestForeignFramesAreNotOurs(t *testing.T) {
	g := newGenerator(t, Plan{Kind: HTTP1})
	var f Frame
	for range 10 {
		g.Next(&f)
		if Ours(f.Data, capture.LinkTypeEthernet) {
			t.Errorf("a segment of a conversation is taken for a test frame: %x", f.Data)
		}
	}
	udp := newGenerator(t, Plan{})
	udp.Next(&f)
	f.Data[f.stamp-markTimeAt] ^= 0xff // the check
	if _, ok := ParseMark(f.Data, capture.LinkTypeEthernet); ok || !Ours(f.Data, capture.LinkTypeEthernet) {
		t.Errorf("a damaged test frame: marked %v, ours %v", ok, Ours(f.Data, capture.LinkTypeEthernet))
	}
	if Ours(f.Data, capture.LinkTypeNull) {
		t.Error("a link type that nobody reads")
	}
}

func TestReadingAMarkAllocatesNothing(t *testing.T) {
	g := newGenerator(t, Plan{Size: Fixed(1400), VLAN: []uint16{4}})
	var f Frame
	g.Next(&f)
	if n := testing.AllocsPerRun(100, func() {
		if !intact(f.Data, capture.LinkTypeEthernet, false) {
			t.Fatal("not intact")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMark changes bytes of a test frame, cuts it, and holds that a frame which
// passes as intact is the one that was sent.
func FuzzMark(f *testing.F) {
	f.Add(uint16(0), uint32(0), uint16(50), uint16(3), uint16(100), []byte{0, 1, 2})
	f.Add(uint16(3), uint32(9), uint16(14), uint16(1), uint16(20), []byte{0x45, 0, 0})
	plans := testPlans()
	f.Fuzz(func(t *testing.T, plan uint16, seq uint32, at, gap, cut uint16, change []byte) {
		p := plans[int(plan)%len(plans)]
		g := newGenerator(t, p)
		g.source.(*testFrames).seq = uint64(seq)
		var frame Frame
		g.Next(&frame)
		frame.Stamp(int64(mix(uint64(seq))))
		b := bytes.Clone(frame.Data)
		for i, c := range change {
			b[(int(at)+i*int(gap))%len(b)] ^= c
		}
		b = b[:min(len(b), int(cut))]
		for _, lt := range linkTypes { // none may panic
			intact(b, lt, true)
		}
		network := link{tagged: p.VLAN != nil}.networkOffset()
		m, ok := ParseMark(b, capture.LinkTypeEthernet)
		if !ok || !CheckPattern(b, capture.LinkTypeEthernet, m, true) {
			return
		}
		if len(change) <= 1 && !bytes.Equal(b[network:], frame.Data[network:len(b)]) {
			t.Errorf("passed with one byte changed:\n%x\n%x", b, frame.Data[:len(b)])
		}
		if rest := b[frame.stamp+8:]; m.Seq == uint64(seq) && !bytes.Equal(rest, frame.Data[frame.stamp+8:len(b)]) {
			t.Errorf("passed with another pattern:\n%x\n%x", b, frame.Data[:len(b)])
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, p := range []Plan{{}, {Size: Fixed(1400)}} {
		b.Run(p.name(), func(b *testing.B) {
			g := newGenerator(b, p)
			var f Frame
			g.Next(&f)
			for b.Loop() {
				intact(f.Data, capture.LinkTypeEthernet, false)
			}
		})
	}
}
