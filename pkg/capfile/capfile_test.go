package capfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"capstan/pkg/capture"
)

// readAll returns copies of all frames and the error that ended the file.
func readAll(r io.Reader) ([]capture.Frame, error) {
	rd, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	return rest(rd)
}

// readAllGuessed is readAll of a file that may have an old form.
func readAllGuessed(r io.Reader) ([]capture.Frame, error) {
	rd, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	rd.GuessForm()
	return rest(rd)
}

func rest(rd *Reader) ([]capture.Frame, error) {
	var frames []capture.Frame
	for {
		var f capture.Frame
		if err := rd.Next(&f); err != nil {
			return frames, err
		}
		f.Data = bytes.Clone(f.Data)
		frames = append(frames, f)
	}
}

func equalFrames(t *testing.T, got, want []capture.Frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Timestamp != w.Timestamp || g.Len != w.Len || g.LinkType != w.LinkType || !bytes.Equal(g.Data, w.Data) {
			t.Fatalf("frame %d:\n got %+v\nwant %+v", i, g, w)
		}
	}
}

func randomFrames(r *rand.Rand, n int) []capture.Frame {
	types := []capture.LinkType{capture.LinkTypeEthernet, capture.LinkTypeRaw, capture.LinkTypeLinuxSLL2}
	frames := make([]capture.Frame, n)
	for i := range frames {
		data := make([]byte, r.IntN(2000))
		if r.IntN(50) == 0 {
			data = make([]byte, 300_000) // longer than the read buffer
		}
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		frames[i] = capture.Frame{
			Timestamp: r.Int64N(4e18),
			Data:      data,
			Len:       len(data) + r.IntN(2)*r.IntN(1000),
			LinkType:  types[r.IntN(len(types))],
		}
	}
	return frames
}

func writeAll(t testing.TB, frames []capture.Frame) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, "test")
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[capture.LinkType]int)
	for i := range frames {
		id, ok := ids[frames[i].LinkType]
		if !ok {
			if id, err = w.AddInterface(Interface{Name: "eth0", Filter: "tcp", LinkType: frames[i].LinkType}); err != nil {
				t.Fatal(err)
			}
			ids[frames[i].LinkType] = id
		}
		if err := w.WriteFrame(id, &frames[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if err := w.WriteStatistics(id, Statistics{Start: 1, End: 2, Received: 3, Dropped: 4}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriterRoundTrip(t *testing.T) {
	frames := randomFrames(rand.New(rand.NewPCG(1, 1)), 300)
	got, err := readAll(bytes.NewReader(writeAll(t, frames)))
	if err != io.EOF {
		t.Fatalf("ended with %v, want io.EOF", err)
	}
	equalFrames(t, got, frames)
}

// TestWriterIsReadByGopacket holds the writer against an independent reader.
func TestWriterIsReadByGopacket(t *testing.T) {
	frames := randomFrames(rand.New(rand.NewPCG(2, 2)), 100)
	for i := range frames {
		frames[i].LinkType = capture.LinkTypeEthernet
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(writeAll(t, frames)), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		data, ci, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if !bytes.Equal(data, frames[i].Data) || ci.Length != frames[i].Len || ci.Timestamp.UnixNano() != frames[i].Timestamp {
			t.Fatalf("frame %d: read back as %v", i, ci)
		}
	}
	if r.LinkType() != layers.LinkTypeEthernet {
		t.Errorf("link type %v", r.LinkType())
	}
	if i, err := r.Interface(0); err != nil || i.Name != "eth0" || i.Filter != "\x00tcp" && i.Filter != "tcp" {
		t.Errorf("interface %+v, %v", i, err)
	}
}

func classicPcap(order binary.AppendByteOrder, magic uint32, linkType uint32, frames []capture.Frame) []byte {
	own := 0
	if magic == pcapModified {
		own = 8
	}
	return classicPcapWith(order, magic, linkType, frames, own)
}

// classicPcapWith has own bytes more behind the header of each record.
func classicPcapWith(order binary.AppendByteOrder, magic uint32, linkType uint32, frames []capture.Frame, own int) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, 65535)
	b = order.AppendUint32(b, linkType)
	unit := int64(1000)
	if magic == pcapNanos {
		unit = 1
	}
	for _, f := range frames {
		b = order.AppendUint32(b, uint32(f.Timestamp/1e9))
		b = order.AppendUint32(b, uint32(f.Timestamp%1e9/unit))
		b = order.AppendUint32(b, uint32(len(f.Data)))
		b = order.AppendUint32(b, uint32(f.Len))
		b = append(b, make([]byte, own)...)
		b = append(b, f.Data...)
	}
	return b
}

func TestClassicFormats(t *testing.T) {
	frames := []capture.Frame{
		{Timestamp: 1_700_000_000_123_456_000, Data: []byte("abc"), Len: 3, LinkType: capture.LinkTypeRaw},
		{Timestamp: 4_000_000_000_000_001_000, Data: []byte{}, Len: 1500, LinkType: capture.LinkTypeRaw},
	}
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, magic := range []uint32{pcapMicros, pcapNanos, pcapModified} {
			file := classicPcap(order, magic, 101, frames)
			got, err := readAll(bytes.NewReader(file))
			if err != io.EOF {
				t.Fatalf("%v %#x: ended with %v", order, magic, err)
			}
			equalFrames(t, got, frames)
			// Every strict prefix yields the whole frames before the cut and
			// says that it was cut, unless the cut is between two frames.
			for n := range file {
				got, err := readAll(bytes.NewReader(file[:n]))
				boundary := n == 0 || n == pcapHeaderLen
				if err == io.EOF && !boundary && !wholeRecords(n, magic, frames) {
					t.Fatalf("prefix of %d bytes ended cleanly", n)
				}
				if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("prefix of %d bytes: %v", n, err)
				}
				equalFrames(t, got, frames[:len(got)])
			}
		}
	}
}

// wholeRecords reports whether a prefix of n bytes ends between two records.
func wholeRecords(n int, magic uint32, frames []capture.Frame) bool {
	end := pcapHeaderLen
	for _, f := range frames {
		if magic == pcapModified {
			end += 8
		}
		end += pcapRecordLen + len(f.Data)
		if n == end {
			return true
		}
	}
	return false
}

// TestFieldsBehindRecordHeaders: records may have fields that no magic number tells.
func TestFieldsBehindRecordHeaders(t *testing.T) {
	frames := []capture.Frame{
		{Timestamp: 1_700_000_000_123_456_000, Data: []byte("\x00\x01\x00\x00abcdefgh\x00\x00\x00\x00"), Len: 16, LinkType: capture.LinkTypeRaw},
		{Timestamp: 1_700_000_009_000_000_000, Data: []byte{}, Len: 1500, LinkType: capture.LinkTypeRaw},
		{Timestamp: 1_700_000_009_999_999_000, Data: bytes.Repeat([]byte{0}, 60), Len: 60, LinkType: capture.LinkTypeRaw},
	}
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for magic, all := range map[uint32][]int{pcapMicros: {4, 8}, pcapNanos: {4, 8}, pcapModified: {8 + 4}} {
			for _, own := range all {
				file := classicPcapWith(order, magic, 101, frames, own)
				got, err := readAllGuessed(iotest.OneByteReader(bytes.NewReader(file)))
				if err != io.EOF {
					t.Errorf("%v %#x, %d bytes more: ended with %v", order, magic, own, err)
				}
				equalFrames(t, got, frames)
			}
		}
	}
}

// TestFrameIsNotKeptForTheNext reads what a live capture writes into a pipe.
func TestFrameIsNotKeptForTheNext(t *testing.T) {
	frames := []capture.Frame{
		{Timestamp: 1_700_000_000_123_456_000, Data: []byte("abcd"), Len: 4, LinkType: capture.LinkTypeRaw},
		{Timestamp: 1_700_000_009_000_000_000, Data: []byte("ef"), Len: 2, LinkType: capture.LinkTypeRaw},
	}
	file := classicPcap(binary.LittleEndian, pcapMicros, 101, frames)
	from, to := io.Pipe()
	defer from.Close()
	writes := []int{pcapHeaderLen, pcapHeaderLen + pcapRecordLen + 4, len(file)} // up to there
	go func() {
		_, _ = to.Write(file[:writes[0]])
	}()
	r, err := NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		go func() {
			_, _ = to.Write(file[writes[i]:writes[i+1]])
		}()
		var f capture.Frame
		if err := r.Next(&f); err != nil || !bytes.Equal(f.Data, frames[i].Data) || f.Timestamp != frames[i].Timestamp {
			t.Fatalf("frame %d is %v, %v", i, f, err)
		}
	}
}

// TestOddRecordsWithoutFields: records that are odd alone don't make others of them.
func TestOddRecordsWithoutFields(t *testing.T) {
	const second = 1_000_000_000
	for name, frames := range map[string][]capture.Frame{
		"wire length too small": {{Timestamp: 9 * second, Data: []byte("abcd"), Len: 4}, {Timestamp: 9 * second, Data: []byte("\xff\xff\xff\xff0123"), Len: 4}},
		"time jumps":            {{Timestamp: 1_700_000_000 * second, Data: []byte("abcd"), Len: 4}, {Data: []byte("\xff\xff\xff\xff0123"), Len: 8}},
		"alone":                 {{Timestamp: 9 * second, Data: []byte("abcd"), Len: 4}},
		"none":                  nil,
	} {
		got, err := readAllGuessed(bytes.NewReader(classicPcap(binary.LittleEndian, pcapMicros, 101, frames)))
		if err != io.EOF || len(got) != len(frames) {
			t.Fatalf("%s: %d frames, ended with %v", name, len(got), err)
		}
		for i := range got {
			if !bytes.Equal(got[i].Data, frames[i].Data) || got[i].Timestamp != frames[i].Timestamp {
				t.Errorf("%s: frame %d is %v", name, i, got[i])
			}
		}
	}
}

// TestLengthWithoutPadding holds that a block is read whose length leaves out the
// padding that the block has, as early writers wrote it.
func TestLengthWithoutPadding(t *testing.T) {
	frames := make([]capture.Frame, 9)
	for i := range frames {
		frames[i] = capture.Frame{Timestamp: int64(i+1) * 1000, Data: bytes.Repeat([]byte{byte(i + 1)}, 60+i), Len: 60 + i, LinkType: capture.LinkTypeEthernet, Interface: 1}
	}
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		file := order.AppendUint32(nil, blockSection)
		for _, v := range []uint32{28, byteOrderMagic} {
			file = order.AppendUint32(file, v)
		}
		file = order.AppendUint16(order.AppendUint16(file, 1), 0)
		file = append(file, bytes.Repeat([]byte{0xff}, 8)...)
		for _, v := range []uint32{28, blockInterface, 20} {
			file = order.AppendUint32(file, v)
		}
		file = order.AppendUint16(order.AppendUint16(file, 1), 0)
		for _, v := range []uint32{0, 20} {
			file = order.AppendUint32(file, v)
		}
		for i, f := range frames {
			kind, length := uint32(blockEnhancedPacket), uint32(32+len(f.Data))
			if i%2 == 1 {
				kind = blockPacket
			}
			for _, v := range []uint32{kind, length, 0, 0, uint32(f.Timestamp / 1000), uint32(len(f.Data)), uint32(f.Len)} {
				file = order.AppendUint32(file, v)
			}
			file = append(file, f.Data...)
			file = append(file, make([]byte, -len(f.Data)&3)...)
			file = order.AppendUint32(file, length)
		}
		got, err := readAll(bytes.NewReader(file))
		if err != io.EOF {
			t.Fatalf("%v: ended with %v", order, err)
		}
		equalFrames(t, got, frames)
	}
}

func TestCutPcapng(t *testing.T) {
	frames := randomFrames(rand.New(rand.NewPCG(3, 3)), 5)
	file := writeAll(t, frames)
	for n := 0; n < len(file); n += 7 {
		got, err := readAll(bytes.NewReader(file[:n]))
		if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("prefix of %d bytes: %v", n, err)
		}
		equalFrames(t, got, frames[:len(got)])
	}
}

func TestRefusals(t *testing.T) {
	section := writeAll(t, nil)
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"text", []byte("hello world, this is no capture"), "neither a pcap nor a pcapng"},
		{"huge record", append(classicPcap(binary.LittleEndian, pcapMicros, 1, nil), bytes.Repeat([]byte{0xff}, 16)...), "corrupt at byte 40"},
		{"no byte-order magic", append([]byte{0x0a, 0x0d, 0x0d, 0x0a}, make([]byte, 24)...), "byte-order magic"},
		{"another version", append(append(bytes.Clone(section[:12]), 2, 0, 5, 0), section[16:]...), "pcapng of version 2.5"},
		{"section without a version", []byte{0x0a, 0x0d, 0x0d, 0x0a, 16, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 16, 0, 0, 0}, "section header of 4 bytes"},
		{"block shorter than any", append(bytes.Clone(section), 9, 0, 0, 0, 11, 0, 0, 0), "impossible length 11"},
		{"odd block length", append(bytes.Clone(section), 9, 0, 0, 0, 13, 0, 0, 0, 1, 2, 3, 4, 16, 0, 0, 0), "length 13 at its start and 16 at its end"},
		{"packet without interface", append(bytes.Clone(section), enhancedPacket(7)...), "interface 7 where the section has 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readAll(bytes.NewReader(tt.file))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func enhancedPacket(id uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, blockEnhancedPacket)
	b = binary.LittleEndian.AppendUint32(b, 32)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = append(b, make([]byte, 16)...)
	return binary.LittleEndian.AppendUint32(b, 32)
}

func TestClock(t *testing.T) {
	tests := []struct {
		resolution uint8
		offset     int64
		units      uint64
		want       int64
	}{
		{6, 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000},
		{9, 0, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789},
		{3, 100, 5, 100_005_000_000},
		{12, 0, 1_500_000_000_001, 1_500_000_000},
		{0x80 | 10, 0, 1024 + 512, 1_500_000_000},
		{0x80 | 32, 1, 1 << 31, 1_500_000_000},
		{0x80, 0, 7, 7_000_000_000},
		// Beyond what a time may be.
		{0, 0, math.MaxUint64, maxTimestamp},
		{9, 0, math.MaxUint64, maxTimestamp},
		{0x80, 0, math.MaxUint64, maxTimestamp},
		{0x80 | 63, 0, math.MaxUint64, 1_999_999_999},
		{0xff, 0, 1 << 63, 1_000_000_000},
		{0x7f, 0, math.MaxUint64, 1},
		{6, math.MaxInt64, 0, maxTimestamp / nanosPerSecond * nanosPerSecond},
		{6, math.MinInt64, 1, 0},
		{0, math.MinInt64, 5_000_000_000, 5_000_000_000*nanosPerSecond - maxTimestamp/nanosPerSecond*nanosPerSecond},
		{6, -1, 999_999, 0},
		{6, -1, 1_000_001, 1000},
	}
	for _, tt := range tests {
		if got := newClock(tt.resolution, tt.offset).nanos(tt.units); got != tt.want {
			t.Errorf("resolution %#x, offset %d: %d units are %d ns, want %d", tt.resolution, tt.offset, tt.units, got, tt.want)
		}
	}
}

func TestFramesTellTheirInterface(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, "test")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.AddInterface(Interface{LinkType: capture.LinkTypeEthernet}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []int{1, 0} {
		if err := w.WriteFrame(id, &capture.Frame{Data: []byte("x"), Len: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	frames, err := readAll(&file)
	if err != io.EOF || len(frames) != 2 || frames[0].Interface != 2 || frames[1].Interface != 1 {
		t.Errorf("read %+v, %v", frames, err)
	}
	classic, _ := readAll(bytes.NewReader(classicPcap(binary.LittleEndian, pcapMicros, 1, frames)))
	if len(classic) != 2 || classic[0].Interface != 0 {
		t.Errorf("read %+v", classic)
	}
}

// TestAgainstGopacket reads capture files of other projects' making with both
// readers.
func TestAgainstGopacket(t *testing.T) {
	dir := os.Getenv("CAPTURES_DIR")
	if dir == "" {
		dir = "../../../shared/captures"
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.pcap*"))
	if len(files) == 0 {
		t.Skipf("no capture files in %s (set CAPTURES_DIR)", dir)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, gotErr := readAll(bytes.NewReader(data))
			want, wantErr := gopacketFrames(data)
			if (gotErr == io.EOF) != (wantErr == io.EOF) {
				t.Fatalf("ended with %v after %d frames, gopacket with %v after %d", gotErr, len(got), wantErr, len(want))
			}
			for i := range want { // gopacket has 8 bits for a link type
				want[i].LinkType = got[min(i, len(got)-1)].LinkType&^0xff | want[i].LinkType&0xff
			}
			equalFrames(t, got, want)
		})
	}
}

func gopacketFrames(data []byte) ([]capture.Frame, error) {
	var frames []capture.Frame
	if r, err := pcapgo.NewReader(bytes.NewReader(data)); err == nil {
		for {
			b, ci, err := r.ReadPacketData()
			if err != nil {
				return frames, err
			}
			frames = append(frames, capture.Frame{Timestamp: ci.Timestamp.UnixNano(), Data: b, Len: ci.Length,
				LinkType: capture.LinkTypeFromFile(uint32(r.LinkType()))})
		}
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return nil, err
	}
	for {
		b, ci, err := r.ReadPacketData()
		if err != nil {
			return frames, err
		}
		lt := ci.AncillaryData[0].(layers.LinkType)
		frames = append(frames, capture.Frame{Timestamp: ci.Timestamp.UnixNano(), Data: b, Len: ci.Length,
			LinkType: capture.LinkTypeFromFile(uint32(lt))})
	}
}

func FuzzReader(f *testing.F) {
	frames := []capture.Frame{
		{Timestamp: 1_700_000_000_000_001_000, Data: []byte("first"), Len: 60, LinkType: capture.LinkTypeEthernet},
		{Timestamp: 1_700_000_000_000_002_000, Data: []byte("second"), Len: 6, LinkType: capture.LinkTypeLinuxSLL2},
	}
	f.Add(writeAll(f, frames))
	f.Add(classicPcap(binary.BigEndian, pcapNanos, 1, frames))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, err := readAll(bytes.NewReader(data))
		if err == nil {
			t.Fatal("a file without end")
		}
		// It reads the same if never a whole block is there.
		bytewise, errBytewise := readAll(iotest.OneByteReader(bytes.NewReader(data)))
		if errBytewise.Error() != err.Error() {
			t.Fatalf("read at once: %v, byte by byte: %v", err, errBytewise)
		}
		equalFrames(t, bytewise, frames)
		guessed, err := readAllGuessed(bytes.NewReader(data))
		bytewise, errBytewise = readAllGuessed(iotest.OneByteReader(bytes.NewReader(data)))
		if errBytewise.Error() != err.Error() {
			t.Fatalf("guessed at once: %v, byte by byte: %v", err, errBytewise)
		}
		equalFrames(t, bytewise, guessed)
		total := 0
		for _, fr := range frames {
			total += len(fr.Data)
			if len(fr.Data) > fr.Len {
				t.Fatalf("%d bytes of a frame of %d", len(fr.Data), fr.Len)
			}
			if fr.Timestamp < 0 || fr.Timestamp > maxTimestamp {
				t.Fatalf("a frame at %d ns", fr.Timestamp)
			}
		}
		if total > len(data) {
			t.Fatalf("%d bytes of frames from a file of %d", total, len(data))
		}
		// What was read can be written and read back.
		for i := range frames {
			frames[i].LinkType = capture.LinkTypeFromFile(uint32(uint16(frames[i].LinkType.File())))
		}
		again, err := readAll(bytes.NewReader(writeAll(t, frames)))
		if err != io.EOF {
			t.Fatal(err)
		}
		equalFrames(t, again, frames)
	})
}

func TestNextAllocatesNothing(t *testing.T) {
	frames := randomFrames(rand.New(rand.NewPCG(5, 5)), 2000)
	for i := range frames {
		frames[i].Data = frames[i].Data[:min(len(frames[i].Data), 1500)]
	}
	rd, err := NewReader(bytes.NewReader(writeAll(t, frames)))
	if err != nil {
		t.Fatal(err)
	}
	var f capture.Frame
	for range 500 {
		if err := rd.Next(&f); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, func() {
		if err := rd.Next(&f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func ExampleReader() {
	var file bytes.Buffer
	w, _ := NewWriter(&file, "example")
	id, _ := w.AddInterface(Interface{LinkType: capture.LinkTypeEthernet})
	_ = w.WriteFrame(id, &capture.Frame{Timestamp: 1, Data: []byte{1, 2, 3}, Len: 60})
	_ = w.Flush()

	r, _ := NewReader(&file)
	var f capture.Frame
	for r.Next(&f) == nil {
		println(f.Timestamp, len(f.Data), f.Len)
	}
}
