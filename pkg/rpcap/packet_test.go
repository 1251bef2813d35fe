package rpcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestPacketHeader(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    PacketHeader
		wire []string
	}{
		{"60 bytes", PacketHeader{Timestamp: 1_500_000_000_123_456_000, CapLen: 60, Len: 1514, Number: 1}, []string{
			"00 07 0000 00000050", // version, type, value, 20 + caplen
			"59682f00",            // timestamp_sec
			"0001e240",            // timestamp_usec
			"0000003c",            // caplen
			"000005ea",            // len
			"00000001",            // npkt
		}},
		{"more than 16 bits of length", PacketHeader{CapLen: 65600, Len: 65600, Number: 1<<32 - 1}, []string{
			"00 07 0000 00010054", "00000000 00000000", "00010040 00010040 ffffffff",
		}},
		{"empty", PacketHeader{}, []string{"00 07 0000 00000014", "00000000 00000000 00000000 00000000 00000000"}},
		{"last second", PacketHeader{Timestamp: (1<<32-1)*1e9 + 999_999_000}, []string{
			"00 07 0000 00000014", "ffffffff 000f423f 00000000 00000000 00000000",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := unhex(t, tc.wire...)
			got := bytes.Repeat([]byte{0xee}, PacketOverhead+1)
			tc.p.Put(got)
			if !bytes.Equal(got, append(want, 0xee)) {
				t.Errorf("put\n%x, want\n%x", got, want)
			}
			body := append(want[HeaderLen:], make([]byte, tc.p.CapLen)...)
			if p, err := ParsePacketHeader(body); err != nil || p != tc.p {
				t.Errorf("parsed %+v, %v, want %+v", p, err, tc.p)
			}
			if p := ReadPacketHeader(body); p != tc.p {
				t.Errorf("read %+v, want %+v", p, tc.p)
			}
		})
	}
}

func TestPacketHeaderCutsNanoseconds(t *testing.T) {
	var b [PacketOverhead]byte
	(&PacketHeader{Timestamp: 1_000_000_999}).Put(b[:])
	if p := ReadPacketHeader(b[HeaderLen:]); p.Timestamp != 1_000_000_000 {
		t.Errorf("timestamp %d", p.Timestamp)
	}
}

func TestParsePacketHeaderRefuses(t *testing.T) {
	body := unhex(t, "00000000 00000000 0000003c 0000003c 00000001"+zeros(60))
	for n := range len(body) {
		_, err := ParsePacketHeader(body[:n:n])
		var d *DecodeError
		if !errors.As(err, &d) || d.Short() != (n < 20) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// The check that the CVE's client got wrong: caplen up to the body's length.
func TestCVE_2026_18238_CapLenPastEnd(t *testing.T) {
	body := unhex(t, "00000000 00000000 0000003c 0000003c 00000001"+zeros(60))
	for _, caplen := range []uint32{61, 80, 81, 1 << 31, 1<<32 - 1} {
		binary.BigEndian.PutUint32(body[8:], caplen)
		if _, err := ParsePacketHeader(body); err == nil {
			t.Errorf("caplen %d in a body of 80 bytes is taken", caplen)
		}
	}
}

func TestPacketHeaderAllocates(t *testing.T) {
	var b [PacketOverhead + 60]byte
	p := PacketHeader{Timestamp: 1e18, CapLen: 60, Len: 60, Number: 1}
	var sum int64
	if n := testing.AllocsPerRun(1000, func() {
		p.Put(b[:])
		q, err := ParsePacketHeader(b[HeaderLen:])
		if err != nil {
			t.Fatal(err)
		}
		sum += q.Timestamp
		p.Number++
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

// FuzzPacketHeader holds that a header is refused exactly when the body does
// not hold it, and that what was read survives writing.
func FuzzPacketHeader(f *testing.F) {
	f.Add(unhex(f, "59682f00 0001e240 0000003c 000005ea 00000001"+zeros(60)))
	f.Add(unhex(f, "59682f00 000f4240 00000050 000005ea 00000001"+zeros(60)))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := ParsePacketHeader(body)
		holds := len(body) >= 20 && uint64(binary.BigEndian.Uint32(body[8:])) <= uint64(len(body)-20)
		if holds != (err == nil) {
			t.Fatalf("%d bytes: %v", len(body), err)
		}
		if !holds {
			return
		}
		if uint64(p.Timestamp) >= (1<<32)*1e9 {
			return // more than a second of microseconds in the last second there is
		}
		var again [PacketOverhead]byte
		p.Put(again[:])
		if q := ReadPacketHeader(again[HeaderLen:]); q != p {
			t.Fatalf("%+v came back as %+v", p, q)
		}
		if h := ParseHeader(again[:]); h != (Header{Type: TypePacket, Len: 20 + p.CapLen}) {
			t.Fatalf("message header %+v of %+v", h, p)
		}
	})
}

func BenchmarkPacketHeader(b *testing.B) {
	var buf [PacketOverhead]byte
	p := PacketHeader{Timestamp: 1e18, Len: 60}
	b.ReportAllocs()
	for b.Loop() {
		p.Put(buf[:])
		if _, err := ParsePacketHeader(buf[HeaderLen:]); err != nil {
			b.Fatal(err)
		}
	}
}
