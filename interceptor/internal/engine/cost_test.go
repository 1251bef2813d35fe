package engine

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capture"
	capstanv1 "capstan/proto/capstan/v1"
)

// wire writes the frames of TCP connections between two hosts.
type wire struct {
	frames []capture.Frame
	now    int64
}

// talk is one connection on the wire.
type talk struct {
	w    *wire
	port uint16
	seq  [2]uint32 // next, by side: client, server
}

const mss = 1448

func (w *wire) connect(port uint16) *talk {
	t := &talk{w: w, port: port, seq: [2]uint32{1000, 5000}}
	t.frame(0, 0x02, nil) // SYN
	t.frame(1, 0x12, nil) // SYN-ACK
	t.frame(0, 0x10, nil)
	return t
}

// say sends a message from a side in segments.
func (t *talk) say(side int, message string) {
	for len(message) > 0 {
		n := min(len(message), mss)
		t.frame(side, 0x18, []byte(message[:n]))
		message = message[n:]
	}
}

func (t *talk) frame(side int, flags byte, payload []byte) {
	b := make([]byte, 14+20+20+len(payload))
	b[12] = 0x08 // IPv4
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	copy(ip[12:], []byte{10, 0, 0, byte(1 + side)})
	copy(ip[16:], []byte{10, 0, 0, byte(2 - side)})
	tcp := ip[20:]
	ports := [2]uint16{t.port, 80}
	binary.BigEndian.PutUint16(tcp, ports[side])
	binary.BigEndian.PutUint16(tcp[2:], ports[1-side])
	binary.BigEndian.PutUint32(tcp[4:], t.seq[side])
	if flags&0x10 != 0 {
		binary.BigEndian.PutUint32(tcp[8:], t.seq[1-side])
	}
	tcp[12], tcp[13] = 5<<4, flags
	copy(tcp[20:], payload)
	t.seq[side] += uint32(len(payload))
	if flags&0x03 != 0 { // SYN and FIN count
		t.seq[side]++
	}
	t.w.now += 10_000
	t.w.frames = append(t.w.frames, capture.Frame{Timestamp: t.w.now, Data: b, Len: len(b), LinkType: capture.LinkTypeEthernet})
}

func get(n int) string {
	return fmt.Sprintf("GET /api/items/%d HTTP/1.1\r\nHost: api.example\r\nUser-Agent: test\r\nAccept: application/json\r\n\r\n", n)
}

func answer(size int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
}

// TestInOrderSegmentsAllocateNothing feeds the middle of a large body, the most
// common frame there is.
func TestInOrderSegmentsAllocateNothing(t *testing.T) {
	var w wire
	c := w.connect(40000)
	c.say(0, get(1))
	c.say(1, answer(8<<20))
	e := New(Config{Exchange: exchange.Config{Keep: exchange.NewKeep(4096, nil, nil), Emit: func(*capstanv1.Exchange) {}}})
	next := 0
	feed := func() {
		e.Frame(&w.frames[next])
		next++
	}
	for range 100 {
		feed()
	}
	if n := testing.AllocsPerRun(4000, feed); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

// BenchmarkEngine feeds keep-alive connections of 8 KiB answers, interleaved.
func BenchmarkEngine(b *testing.B) {
	var w wire
	talks := make([]*talk, 50)
	for i := range talks {
		talks[i] = w.connect(uint16(40000 + i))
	}
	const rounds = 20
	for n := range rounds {
		for _, t := range talks {
			t.say(0, get(n))
			t.say(1, answer(8<<10))
		}
	}
	bytes := 0
	for i := range w.frames {
		bytes += len(w.frames[i].Data)
	}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		emitted := 0
		e := New(Config{Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) { emitted++ }}})
		for i := range w.frames {
			e.Frame(&w.frames[i])
		}
		e.Finish()
		if emitted != rounds*len(talks) {
			b.Fatalf("%d exchanges of %d", emitted, rounds*len(talks))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(w.frames)), "ns/frame")
	b.ReportMetric(float64(b.N*rounds*len(talks))/b.Elapsed().Seconds(), "exchanges/s")
}
