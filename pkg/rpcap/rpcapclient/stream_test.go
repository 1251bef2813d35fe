package rpcapclient

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// memory is a data connection whose bytes are there already. With a random
// source it hands them out in pieces and times out in between.
type memory struct {
	data []byte
	rnd  *rand.Rand
}

func (m *memory) Read(b []byte) (int, error) {
	if m.rnd == nil {
		n := copy(b, m.data)
		m.data = m.data[n:]
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	switch m.rnd.IntN(6) {
	case 0:
		return 0, os.ErrDeadlineExceeded
	case 1:
		return 0, nil
	}
	n := copy(b[:min(len(b), 1+m.rnd.IntN(1+m.rnd.IntN(1+m.rnd.IntN(2000))))], m.data)
	m.data = m.data[n:]
	switch {
	case len(m.data) == 0 && m.rnd.IntN(2) == 0:
		return n, io.EOF
	case m.rnd.IntN(8) == 0:
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

func (*memory) SetReadDeadline(time.Time) error { return nil }
func (*memory) Close() error                    { return nil }

func memoryStream(data []byte, snapLen int) *Stream {
	return newStream(&memory{data: data}, snapLen, capture.LinkTypeEthernet)
}

// frame is what Next handed out, copied.
type frame struct {
	time int64
	len  int
	data string
}

func copyOf(f *capture.Frame) frame {
	return frame{time: f.Timestamp, len: f.Len, data: string(f.Data)}
}

// readAll takes frames until an error other than a timeout. Now and then it asks
// whether a frame is buffered, which must make no difference.
func readAll(s *Stream) (all []frame, last error) {
	for {
		var f capture.Frame
		if len(all)%3 == 1 {
			s.Buffered()
		}
		err := s.Next(&f)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return all, err
		}
		all = append(all, copyOf(&f))
	}
}

// packets returns n packets of a frame of length bytes, numbered from first.
func packets(first, n, length int) []byte {
	var b []byte
	for i := range n {
		data := bytes.Repeat([]byte{byte(first + i)}, length)
		b = rpcaptest.AppendPacket(b, rpcap.PacketHeader{Timestamp: int64(first+i) * 1000, Number: uint32(first + i), Len: uint32(length)}, data)
	}
	return b
}

func TestStreamFrames(t *testing.T) {
	wire := rpcaptest.AppendPacket(nil, rpcap.PacketHeader{Timestamp: 1e18, Len: 1514, Number: 1}, []byte("abc"))
	wire = rpcaptest.AppendPacket(wire, rpcap.PacketHeader{Timestamp: 1e18 + 1000, Number: 2}, nil)
	s := memoryStream(wire, 96)
	var f capture.Frame
	if err := s.Next(&f); err != nil || copyOf(&f) != (frame{1e18, 1514, "abc"}) || f.LinkType != capture.LinkTypeEthernet || !f.Truncated() {
		t.Errorf("first frame %+v, %v", f, err)
	}
	_ = append(f.Data, "overwritten"...)
	if err := s.Next(&f); err != nil || copyOf(&f) != (frame{1e18 + 1000, 0, ""}) {
		t.Errorf("second frame %+v, %v", f, err)
	}
	for range 2 { // the error stays
		var end *TerminatedError
		if err := s.Next(&f); !errors.As(err, &end) || end.Err != io.EOF || err.Error() != TextTerminated {
			t.Errorf("the end is %v", err)
		}
	}
	if got := s.Stats(); got != (StreamStats{Frames: 2, Bytes: 3}) {
		t.Errorf("counters %+v", got)
	}
}

// A frame can't be longer than it was on the wire, whatever a server says.
func TestStreamLenIsAtLeastCapLen(t *testing.T) {
	wire := packets(1, 1, 60)
	binary.BigEndian.PutUint32(wire[20:], 10)
	var f capture.Frame
	if err := memoryStream(wire, 96).Next(&f); err != nil || f.Len != 60 || len(f.Data) != 60 {
		t.Errorf("frame %+v, %v", f, err)
	}
}

func TestStreamCountsHoles(t *testing.T) {
	for _, tc := range []struct {
		numbers []uint32
		missing uint64
	}{
		{[]uint32{1, 2, 3}, 0},
		{[]uint32{1, 2, 5}, 2},
		{[]uint32{3, 4}, 2},
		{[]uint32{1, 4, 2, 3}, 2},           // backwards is no hole
		{[]uint32{0, 1, 2}, 0},              // counts from 0
		{[]uint32{0, 0, 0}, 0},              // doesn't count
		{[]uint32{1, 1<<31 - 5}, 1<<31 - 7}, // no way to tell this from the truth
	} {
		var wire []byte
		for _, n := range tc.numbers {
			wire = rpcaptest.AppendPacket(wire, rpcap.PacketHeader{Number: n}, []byte("x"))
		}
		s := memoryStream(wire, 96)
		if all, _ := readAll(s); len(all) != len(tc.numbers) || s.Stats().Missing != tc.missing {
			t.Errorf("%v: %d frames, %d missing, want %d", tc.numbers, len(all), s.Stats().Missing, tc.missing)
		}
	}
	s := memoryStream(nil, 96)
	s.next = 1<<32 - 1
	s.conn = &memory{data: append(rpcaptest.AppendPacket(nil, rpcap.PacketHeader{Number: 1<<32 - 1}, nil), packets(0, 1, 1)...)}
	if all, _ := readAll(s); len(all) != 2 || s.Stats().Missing != 0 {
		t.Errorf("around the wrap: %d frames, %d missing", len(all), s.Stats().Missing)
	}
}

func TestStreamSkipsOtherMessages(t *testing.T) {
	var wire []byte
	for i := range 5 {
		wire = rpcap.Append(wire, &rpcap.OpenRequest{Device: string(make([]byte, 10_000*i))})
		wire = append(wire, packets(1+i, 1, 60)...)
		wire = append(wire, 0, 0x6e, 0, 0, 0, 0, 0, 2, 9, 9) // a type that nobody knows
	}
	s := memoryStream(wire, 96)
	if all, err := readAll(s); len(all) != 5 || !errors.Is(err, io.EOF) || s.Stats().Missing != 0 {
		t.Errorf("%d frames, %v", len(all), err)
	}
}

// The reference cuts the length of a PACKET to 16 bits.
func TestStreamTakesCutLengths(t *testing.T) {
	for _, length := range []int{65515, 65516, 65517, 65535, 65536, 70_000, 131_052, 200_000, rpcap.MaxSnapLen} {
		wire := append(packets(1, 1, length), packets(2, 1, 60)...)
		wire[4], wire[5] = 0, 0
		all, err := readAll(memoryStream(wire, rpcap.MaxSnapLen))
		if len(all) != 2 || len(all[0].data) != length || len(all[1].data) != 60 || !errors.Is(err, io.EOF) {
			t.Errorf("frame of %d bytes: %d frames, %v", length, len(all), err)
		}
	}
}

func TestStreamRefuses(t *testing.T) {
	mutate := func(f func(b []byte)) []byte {
		b := packets(1, 1, 60)
		f(b)
		return append(b, packets(2, 1, 60)...)
	}
	put := binary.BigEndian.PutUint32
	for _, tc := range []struct {
		name    string
		wire    []byte
		snapLen int
		want    string
	}{
		{"caplen is plen (case 134)", mutate(func(b []byte) { put(b[16:], 80) }), 96, "goes past the end"},
		{"caplen one too many", mutate(func(b []byte) { put(b[16:], 61) }), 96, "goes past the end"},
		{"caplen 2^32-1", mutate(func(b []byte) { put(b[16:], 1<<32-1) }), 96, "goes past the end"},
		{"caplen 2^32-20, where 20+caplen wraps", mutate(func(b []byte) { put(b[4:], 20); put(b[16:], 1<<32-20) }), rpcap.MaxSnapLen, "goes past the end"},
		{"cut length beyond the snap length", mutate(func(b []byte) { put(b[16:], 60+65536) }), 65535, "goes past the end"},
		{"larger than expected (case 135)", packets(1, 1, 96+21), 96, "larger than the largest expected packet message"},
		{"much larger", mutate(func(b []byte) { put(b[4:], 1<<32-1) }), 96, "larger than the largest expected packet message"},
		{"no room for a header", mutate(func(b []byte) { put(b[4:], 19) }), 96, "body too short"},
		{"no room for a header, large snap length", mutate(func(b []byte) { put(b[4:], 19) }), rpcap.MaxSnapLen, "goes past the end"},
		{"another version", mutate(func(b []byte) { b[0] = 1 }), 96, "version 1 when we were expecting 0"},
		{"another message, too long", mutate(func(b []byte) { b[1] = 3; put(b[4:], 1<<20) }), 96, "announces a body"},
	} {
		s := memoryStream(tc.wire, tc.snapLen)
		all, err := readAll(s)
		if len(all) != 0 || err == nil || !bytes.Contains([]byte(err.Error()), []byte(tc.want)) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %d frames, %v, want an error with %q", tc.name, len(all), err, tc.want)
		}
		if again := s.Next(new(capture.Frame)); again != err || !s.Buffered() {
			t.Errorf("%s: then %v", tc.name, again)
		}
	}
	if all, _ := readAll(memoryStream(packets(1, 1, 96+20), 96)); len(all) != 1 {
		t.Errorf("a frame with a VLAN tag and a cooked header on top of the snap length is refused")
	}
}

func TestStreamEndsInsideMessage(t *testing.T) {
	wire := packets(1, 2, 60)
	for n := range len(wire) {
		s := memoryStream(wire[:n], 96)
		all, err := readAll(s)
		want := io.ErrUnexpectedEOF
		if n%88 == 0 {
			want = io.EOF
		}
		var end *TerminatedError
		if len(all) != n/88 || !errors.As(err, &end) || end.Err != want {
			t.Errorf("after %d bytes: %d frames, %v", n, len(all), err)
		}
		s = memoryStream(wire[:n], 96)
		s.expectEnd.Store(true)
		if _, err := readAll(s); n%88 == 0 && err != io.EOF || n%88 != 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes and an EndCapture: %v", n, err)
		}
	}
}

type brokenConn struct{ memory }

var errBroken = errors.New("broken")

func (*brokenConn) Read([]byte) (int, error) { return 0, errBroken }

type emptyConn struct{ memory }

func (*emptyConn) Read([]byte) (int, error) { return 0, nil }

func TestStreamReadErrors(t *testing.T) {
	if err := newStream(&brokenConn{}, 96, 1).Next(new(capture.Frame)); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	if err := newStream(&emptyConn{}, 96, 1).Next(new(capture.Frame)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v", err)
	}
}

func TestStreamBuffered(t *testing.T) {
	other := rpcap.Append(nil, &rpcap.OpenRequest{Device: "skipped"})
	wire := slices.Concat(other, packets(1, 2, 60), other, packets(3, 1, 60), other)
	pieces := &memory{}
	s := newStream(pieces, 96, 1)
	var f capture.Frame
	if s.Buffered() {
		t.Error("buffered before anything was read")
	}
	delivered := 0
	for i := range wire {
		for s.Buffered() {
			t.Fatal("Buffered without bytes for it")
		}
		pieces.data = wire[i : i+1]
		s.conn = &onceConn{memory: pieces}
		err := s.Next(&f)
		if err == nil {
			delivered++
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if delivered != 3 {
		t.Errorf("%d frames", delivered)
	}
	s = memoryStream(wire, 96)
	for i := range 3 {
		if s.Buffered() != (i > 0) {
			t.Errorf("before frame %d: %t", i+1, s.Buffered())
		}
		if err := s.Next(&f); err != nil {
			t.Fatal(err)
		}
	}
	if s.Buffered() {
		t.Error("a message to skip counts as a packet")
	}
}

// Whether somebody asks what is buffered makes no difference to the frames, and
// counters are told when nothing more is buffered.
func TestStreamLooksAhead(t *testing.T) {
	other := rpcap.Append(nil, &rpcap.OpenRequest{Device: "skipped"})
	wire := slices.Concat(packets(1, 2, 60), other, packets(3, 2, 70_000), packets(6, 1, 0), packets(7, 1, 60)[:50])
	want, _ := readAll(memoryStream(wire, rpcap.MaxSnapLen))
	s := memoryStream(wire, rpcap.MaxSnapLen)
	var got []frame
	var f capture.Frame
	for {
		buffered := s.Buffered()
		if stats := s.Stats(); !buffered && stats.Frames != uint64(len(got)) {
			t.Errorf("%d frames taken, %d told", len(got), stats.Frames)
		}
		if s.Buffered() != buffered {
			t.Error("looking changes what is buffered")
		}
		if err := s.Next(&f); err != nil {
			break
		}
		got = append(got, copyOf(&f))
	}
	if len(want) != 5 || !slices.Equal(got, want) || s.Stats() != (StreamStats{Frames: 5, Bytes: 140_120, Missing: 1}) {
		t.Errorf("%d frames, want %d, %+v", len(got), len(want), s.Stats())
	}
}

// onceConn times out instead of ending.
type onceConn struct{ *memory }

func (c *onceConn) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return c.memory.Read(b)
}

func TestStreamSplits(t *testing.T) {
	wire := slices.Concat(packets(1, 300, 60), packets(301, 3, 70_000), packets(304, 2, 0), packets(306, 1, rpcap.MaxSnapLen), packets(307, 200, 1400))
	want, err := readAll(memoryStream(wire, rpcap.MaxSnapLen))
	if len(want) != 506 || !errors.Is(err, io.EOF) {
		t.Fatalf("%d frames, %v", len(want), err)
	}
	for seed := range uint64(4) {
		s := newStream(&memory{data: wire, rnd: rand.New(rand.NewPCG(seed, 1))}, rpcap.MaxSnapLen, 1)
		got, err := readAll(s)
		if !errors.Is(err, io.EOF) || !slices.Equal(got, want) || s.Stats().Missing != 0 {
			t.Errorf("seed %d: %d frames, %d missing, %v", seed, len(got), s.Stats().Missing, err)
		}
	}
}

// A stream whose control connection is gone ends when nothing comes any more,
// not while something does.
func TestLostStreamIsPostponedByData(t *testing.T) {
	s := memoryStream(packets(1, 1, 60), 96)
	s.controlEnded(errBroken)
	s.lostEnd = time.Time{}
	if err := s.Next(new(capture.Frame)); err != nil || !s.lostEnd.After(time.Now()) {
		t.Errorf("%v; ends at %v", err, s.lostEnd)
	}
}

// endless repeats its bytes.
type endless struct {
	memory
	block []byte
	at    int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.block[e.at:])
	e.at = (e.at + n) % len(e.block)
	return n, nil
}

func TestStreamAllocates(t *testing.T) {
	s := newStream(&endless{block: packets(1, 1000, 1400)}, 2000, 1)
	var f capture.Frame
	if n := testing.AllocsPerRun(10_000, func() {
		if err := s.Next(&f); err != nil || len(f.Data) != 1400 {
			t.Fatal(err)
		}
		s.Buffered()
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func BenchmarkStreamNext(b *testing.B) {
	for _, length := range []int{60, 1400} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			s := newStream(&endless{block: packets(1, 4<<20/length, length)}, 2000, 1)
			var f capture.Frame
			b.SetBytes(int64(length + rpcap.PacketOverhead))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Next(&f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// walk is FuzzStream's oracle: it finds the frames in the whole of the bytes.
// The error is nil if the stream has to be refused.
func walk(wire []byte, snapLen int) (frames []frame, missing uint64, end error) {
	next, limit := uint32(1), int64(snapLen)+20
	for len(wire) > 0 {
		if len(wire) < 8 {
			return frames, missing, io.ErrUnexpectedEOF
		}
		length := int64(binary.BigEndian.Uint32(wire[4:]))
		switch {
		case wire[0] != 0:
			return frames, missing, nil
		case wire[1] != 7:
			if length > int64(rpcap.BodyLimit(rpcap.Type(wire[1]))) {
				return frames, missing, nil
			}
			if int64(len(wire)) < 8+length {
				return frames, missing, io.ErrUnexpectedEOF
			}
			wire = wire[8+length:]
			continue
		case length > 20+limit || length < 20 && 20+limit < 65536:
			return frames, missing, nil
		case len(wire) < 28:
			return frames, missing, io.ErrUnexpectedEOF
		}
		be := func(at int) int64 { return int64(binary.BigEndian.Uint32(wire[at:])) }
		caplen := be(16)
		if 20+caplen > length {
			if caplen > limit || length != (20+caplen)&0xffff {
				return frames, missing, nil
			}
			length = 20 + caplen
		}
		if int64(len(wire)) < 8+length {
			return frames, missing, io.ErrUnexpectedEOF
		}
		frames = append(frames, frame{time: be(8)*1e9 + be(12)*1e3, len: int(max(be(20), caplen)), data: string(wire[28 : 28+caplen])})
		if d := uint32(be(24)) - next; d < 1<<31 {
			missing += uint64(d)
		}
		next = uint32(be(24)) + 1
		wire = wire[8+length:]
	}
	return frames, missing, io.EOF
}

// FuzzStream holds that a stream gives the frames that are in its bytes,
// however these are cut and however often reading times out.
func FuzzStream(f *testing.F) {
	f.Add(packets(1, 3, 60), uint32(96), uint64(1))
	f.Add(slices.Concat(packets(1, 1, 60), rpcap.Append(nil, &rpcap.OpenRequest{Device: "x"}), packets(4, 2, 10))[:150], uint32(60), uint64(2))
	f.Add(packets(1, 1, 200), uint32(96), uint64(3))
	cut := packets(1, 1, 65536)
	cut[4], cut[5] = 0, 0
	f.Add(cut, uint32(rpcap.MaxSnapLen), uint64(4))
	f.Fuzz(func(t *testing.T, wire []byte, snapLen uint32, seed uint64) {
		n := rpcap.EffectiveSnapLen(snapLen)
		want, missing, end := walk(wire, n)
		s := newStream(&memory{data: wire, rnd: rand.New(rand.NewPCG(seed, 1))}, n, 1)
		got, err := readAll(s)
		if !slices.Equal(got, want) {
			t.Fatalf("%d frames, want %d, or others", len(got), len(want))
		}
		var terminated *TerminatedError
		if errors.As(err, &terminated) != (end != nil) || end != nil && terminated.Err != end {
			t.Fatalf("ended with %v, want %v", err, end)
		}
		if got := s.Stats(); got.Missing != missing || got.Frames != uint64(len(want)) {
			t.Fatalf("counters %+v, want %d missing", got, missing)
		}
		if len(s.buf) > max(streamBufferLen, n+rpcap.PacketOverhead+frameSlack) {
			t.Fatalf("a buffer of %d bytes for a snap length of %d", len(s.buf), n)
		}
	})
}
