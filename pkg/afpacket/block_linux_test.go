package afpacket

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const testBlockLen = 4096

// blockWriter builds a block as the kernel does, from the definitions of
// package unix, so that the offsets are held against another source.
type blockWriter struct {
	data  []byte
	end   int
	count uint32
	last  *unix.Tpacket3Hdr
}

func newBlockWriter() *blockWriter {
	backing := make([]uint64, testBlockLen/8)
	w := &blockWriter{data: unsafe.Slice((*byte)(unsafe.Pointer(&backing[0])), testBlockLen), end: blockHeaderLen}
	binary.NativeEndian.PutUint32(w.data[blockFirstOffset:], uint32(w.end))
	return w
}

// add appends a frame, or reports that the block is full.
func (w *blockWriter) add(f *Frame) bool {
	mac := unix.SizeofTpacket3Hdr + unix.SizeofSockaddrLinklayer + 14
	length := (mac + len(f.Data) + 7) &^ 7
	if w.end+length > len(w.data) {
		return false
	}
	if w.last != nil {
		w.last.Next_offset = uint32(w.end) - uint32(uintptr(unsafe.Pointer(w.last))-uintptr(unsafe.Pointer(&w.data[0])))
	}
	h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&w.data[w.end]))
	h.Sec, h.Nsec = uint32(f.Timestamp/1e9), uint32(f.Timestamp%1e9)
	h.Snaplen, h.Len = uint32(len(f.Data)), uint32(f.Len)
	h.Mac, h.Net = uint16(mac), uint16(mac+f.NetworkOffset)
	h.Status = unix.TP_STATUS_USER
	if f.VLANPresent {
		h.Status |= unix.TP_STATUS_VLAN_VALID
		h.Hv1.Vlan_tci = uint32(f.VLANTCI)
		if f.VLANProtocol != defaultTPID {
			h.Status |= unix.TP_STATUS_VLAN_TPID_VALID
			h.Hv1.Vlan_tpid = f.VLANProtocol
		}
	}
	ll := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&w.data[w.end+unix.SizeofTpacket3Hdr]))
	ll.Family, ll.Protocol = unix.AF_PACKET, bigEndian(f.Protocol)
	ll.Ifindex, ll.Hatype, ll.Pkttype, ll.Halen = int32(f.Interface), f.HardwareType, f.PacketType, f.AddressLen
	ll.Addr = f.Address
	copy(w.data[w.end+mac:], f.Data)
	w.last, w.end = h, w.end+length
	w.count++
	binary.NativeEndian.PutUint32(w.data[blockCountOffset:], w.count)
	return true
}

func sameFrame(a, b *Frame) bool {
	x, y := *a, *b
	x.Data, y.Data, x.Room, y.Room = nil, nil, nil, nil
	return bytes.Equal(a.Data, b.Data) &&
		x.Timestamp == y.Timestamp && x.Len == y.Len && x.NetworkOffset == y.NetworkOffset &&
		x.VLANPresent == y.VLANPresent && x.VLANTCI == y.VLANTCI && x.VLANProtocol == y.VLANProtocol &&
		x.Protocol == y.Protocol && x.PacketType == y.PacketType && x.Interface == y.Interface &&
		x.HardwareType == y.HardwareType && x.Address == y.Address && x.AddressLen == y.AddressLen
}

func exampleFrames() []Frame {
	return []Frame{
		{Timestamp: 1_700_000_000_123_456_789, Data: []byte("first frame"), Len: 11, NetworkOffset: 14,
			Protocol: 0x0800, PacketType: 4, Interface: 7, HardwareType: 1, Address: [8]byte{1, 2, 3, 4, 5, 6}, AddressLen: 6},
		{Timestamp: 4_294_967_295_999_999_999, Data: []byte("cut"), Len: 70000, VLANPresent: true, VLANTCI: 0xffff, VLANProtocol: 0x88a8,
			Protocol: 0x86dd, Interface: 1 << 30, HardwareType: 65534, AddressLen: 20},
		{Data: []byte{}, VLANPresent: true, VLANProtocol: 0x8100},
	}
}

func TestBlockReadsWhatTheKernelWrites(t *testing.T) {
	frames := exampleFrames()
	w := newBlockWriter()
	for i := range frames {
		if !w.add(&frames[i]) {
			t.Fatal("block full")
		}
	}
	b := Block{ring: &Ring{}}
	b.parse(w.data)
	if b.Len() != len(frames) {
		t.Errorf("Len = %d", b.Len())
	}
	var f Frame
	for i := range frames {
		if !b.Next(&f) || !sameFrame(&f, &frames[i]) {
			t.Errorf("frame %d: %+v, want %+v", i, f, frames[i])
		}
		// What is written in front of a frame spoils neither it nor the next.
		if !bytes.HasSuffix(f.Room, f.Data) || len(f.Room)-len(f.Data) < 34 {
			t.Errorf("frame %d: %d bytes of room", i, len(f.Room)-len(f.Data))
		}
		clear(f.Room[:len(f.Room)-len(f.Data)])
		if !sameFrame(&f, &frames[i]) {
			t.Errorf("frame %d after its room was overwritten: %+v", i, f)
		}
	}
	if b.Next(&f) {
		t.Error("a frame too many")
	}
}

func TestBlockBelievesNoOffset(t *testing.T) {
	put32 := func(offset int, v uint32) func([]byte) {
		return func(data []byte) { binary.NativeEndian.PutUint32(data[offset:], v) }
	}
	first := blockHeaderLen
	for _, tt := range []struct {
		name   string
		damage func([]byte)
	}{
		{"first frame beyond the block", put32(blockFirstOffset, testBlockLen)},
		{"first frame at the block's last bytes", put32(blockFirstOffset, testBlockLen-frameHeaderLen+1)},
		{"first frame far beyond", put32(blockFirstOffset, 0xffff_ffff)},
		{"first frame in the block's header", put32(blockFirstOffset, 8)},
		{"captured length beyond the block", put32(first+frameSnapLenOffset, testBlockLen)},
		{"captured length far beyond", put32(first+frameSnapLenOffset, 0xffff_ffff)},
		{"frame inside its header", func(data []byte) { binary.NativeEndian.PutUint16(data[first+frameMACOffset:], 8) }},
		{"frame beyond the block", func(data []byte) { binary.NativeEndian.PutUint16(data[first+frameMACOffset:], 0xffff) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames := exampleFrames()
			w := newBlockWriter()
			for i := range frames {
				w.add(&frames[i])
			}
			tt.damage(w.data)
			b := Block{ring: &Ring{}}
			b.parse(w.data)
			var f Frame
			for b.Next(&f) {
				t.Errorf("handed out %+v", f)
			}
			if n := b.ring.malformed.Load(); n != uint64(len(frames)) {
				t.Errorf("%d frames counted as malformed, want all %d", n, len(frames))
			}
		})
	}
}

// FuzzBlock holds that frames lie inside their block and that each frame the
// block announces is either handed out or counted, whatever is in the block.
func FuzzBlock(f *testing.F) {
	w := newBlockWriter()
	frames := exampleFrames()
	for i := range frames {
		w.add(&frames[i])
	}
	f.Add(w.data[:512])
	f.Fuzz(func(t *testing.T, seed []byte) {
		data := make([]byte, testBlockLen)
		copy(data, seed)
		b := Block{ring: &Ring{}}
		b.parse(data)
		start := uintptr(unsafe.Pointer(&data[0]))
		var got Frame
		count := uint64(0)
		for b.Next(&got) {
			count++
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(got.Data))); at < start || at+uintptr(len(got.Data)) > start+testBlockLen {
				t.Fatalf("frame outside the block: %d bytes at %d", len(got.Data), at-start)
			}
			if cap(got.Data) != len(got.Data) {
				t.Fatal("frame can be appended to over its neighbour")
			}
		}
		if count+b.ring.malformed.Load() != uint64(b.Len()) {
			t.Fatalf("%d handed out and %d malformed of %d", count, b.ring.malformed.Load(), b.Len())
		}
	})
}
