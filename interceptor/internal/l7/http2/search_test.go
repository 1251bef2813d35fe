package http2

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"capstan/pkg/reassembly"
)

// lureLen is the length of a body that lures.
const lureLen = 512 << 10

// lures are bodies in which no frame is found, first usual ones, then such as are made
// to have much looked at in vain.
var lures = []struct {
	name string
	body func(r *rand.Rand) []byte
}{
	{"text", each(func(r *rand.Rand, _ int) byte { return byte(' ' + r.IntN(90)) })},
	{"random", each(func(r *rand.Rand, _ int) byte { return byte(r.Uint32()) })},
	{"numbers", each(func(r *rand.Rand, i int) byte { return byte(r.IntN(12) * (i % 4 / 3)) })},
	{"sparse", each(func(r *rand.Rand, _ int) byte { return byte(r.IntN(4) * r.IntN(2)) })},
	{"zeros", each(func(*rand.Rand, int) byte { return 0 })},
	// Most places hold what could be a frame's header.
	{"bits", each(func(r *rand.Rand, _ int) byte { return byte(r.IntN(2)) })},
	{"mostly-zeros", each(func(r *rand.Rand, _ int) byte { return byte(1 / (1 + r.IntN(7))) })},
	// Frames follow each other, the shortest there are, but never for long.
	{"acks", chains(func(b []byte, _ *rand.Rand) []byte { return header(b, 0, frameSettings, flagAck, 0) })},
	{"ends", chains(func(b []byte, _ *rand.Rand) []byte { return header(b, 0, frameData, flagEndStream, 1) })},
	{"pings", chains(func(b []byte, _ *rand.Rand) []byte {
		return append(header(b, pingLen, framePing, 0, 0), make([]byte, pingLen)...)
	})},
	// Nothing about a header is as bytes around it make likely, but too little to believe it.
	{"surprises", chains(func(b []byte, r *rand.Rand) []byte {
		return append(header(b, 1, frameData, flagPadded, 1|2*r.Uint32N(1<<30)), 0)
	})},
	// All lead to one place, from which frames follow each other.
	{"merging", func(*rand.Rand) (b []byte) {
		for len(b) < lureLen {
			for i := uint32(60); i > 0; i-- {
				b = header(b, (i-1)*frameHeaderLen, frameHeaders, flagEndHeaders, 1)
			}
			for range 60 {
				b = header(b, 0, frameSettings, flagAck, 0)
			}
			b = append(b, 0xff)
		}
		return b
	}},
	// Frames that seem to end far behind, each elsewhere.
	{"far", func(r *rand.Rand) (b []byte) {
		for len(b) < lureLen {
			b = header(b, defaultMaxFrame-r.Uint32N(1000), frameHeaders, flagEndHeaders, 1)
		}
		return b
	}},
	// As far as the search looks back, and no farther.
	{"nearly", func(r *rand.Rand) (b []byte) {
		for len(b) < lureLen {
			for range 100 {
				b = append(header(b, 150, frameData, 0, 1), make([]byte, 150)...)
			}
			b = append(b, 1)
		}
		return b
	}},
	// One frame at the end of each segment is believed, and refuted by the next.
	{"believed", func(r *rand.Rand) (b []byte) {
		const cut = 4
		for len(b) < lureLen {
			for range mss() - frameHeaderLen - pingLen {
				b = append(b, byte('a'+r.IntN(20)))
			}
			b = append(header(b, pingLen, framePing, 0, 0), "whatever"...)
		}
		return b[cut:]
	}},
}

func each(value func(r *rand.Rand, i int) byte) func(*rand.Rand) []byte {
	return func(r *rand.Rand) []byte {
		b := make([]byte, lureLen)
		for i := range b {
			b[i] = value(r, i)
		}
		return b
	}
}

func chains(frame func([]byte, *rand.Rand) []byte) func(*rand.Rand) []byte {
	return func(r *rand.Rand) (b []byte) {
		for len(b) < lureLen {
			for range 100 {
				b = frame(b, r)
			}
			b = append(b, 0xff)
		}
		return b
	}
}

func header(b []byte, length uint32, kind frameType, flags uint8, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// lured returns a connection whose server's place is lost: joined late, or known of which
// many streams are open and many are gone.
func lured(h *harness, known bool) *Conn {
	if !known {
		return New(&Config{Shared: &h.shared}, testConn(true), h.recorder(0), nil)
	}
	c := New(&Config{Shared: &h.shared}, testConn(false), h.recorder(0), nil)
	client := newPeer()
	client.out = []byte(preface)
	client.settings()
	for i := range uint32(1024) {
		client.headers(1+2*i, false, get("/")...)
		if i%4 == 3 {
			client.frame(frameRSTStream, 0, 1+2*i, u32(8))
		}
	}
	c.Data(fromClient, reassembly.Chunk{Acked: -1, Bytes: client.out})
	c.Gap(fromServer, reassembly.Gap{Acked: -1, Len: lureGap})
	return c
}

// lureGap is what is missing before a lure.
const lureGap = 1000

// lure feeds c the segments of a body from that offset on.
func lure(c *Conn, body []byte, offset int64, size int) (segments int) {
	for at := 0; at+size <= len(body); at += size {
		c.Data(fromServer, reassembly.Chunk{Acked: -1, Offset: lureGap + offset + int64(at), Bytes: body[at : at+size]})
		segments++
	}
	return segments
}

// TestSearchLooksOnce: with whatever credit, each place is looked at once, however many
// frames lead to it.
func TestSearchLooksOnce(t *testing.T) {
	for _, known := range []bool{false, true} {
		for _, x := range lures {
			c := lured(&harness{}, known)
			h := &c.half[fromServer]
			body := x.body(rand.New(rand.NewPCG(1, 2)))
			most := 0
			for at := 0; at+mss() <= len(body); at += mss() {
				h.credit = maxCredit
				lure(c, body[at:at+mss()], int64(at), mss())
				most = max(most, maxCredit-int(h.credit))
			}
			if bound := mss() * (headerCredit + (frameHeaderLen-1)*byteCredit); most > bound {
				t.Errorf("known %t, %s: a segment takes %d of credit, want at most %d", known, x.name, most, bound)
			}
		}
	}
}

// TestSearchCredit: what is usual is searched in full, and a lure only as far as its
// length pays for, which is counted.
func TestSearchCredit(t *testing.T) {
	for _, x := range lures {
		h := &harness{}
		body := x.body(rand.New(rand.NewPCG(1, 2)))
		lure(lured(h, false), body, 0, mss())
		n := h.shared.Stats.SearchCuts
		t.Logf("%s: %d of %d segments are not searched to the end", x.name, n, len(body)/mss())
		switch x.name {
		case "text", "random", "believed":
			if n != 0 {
				t.Errorf("%s: %d segments are not searched to the end", x.name, n)
			}
		case "bits", "far", "ends":
			if n == 0 {
				t.Errorf("%s: all is searched", x.name)
			}
		}
	}
}

// TestPlaceIsRegainedWithoutCredit: where looking has cost all that it may, frames are found
// all the same: where segments start, and where they follow each other for long.
func TestPlaceIsRegainedWithoutCredit(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 11))
		bits := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.IntN(2))
			}
			return b
		}
		k := newTalk(t, Config{})
		k.segment = mss()
		for id := uint32(1); id < 6; id += 2 {
			k.client.headers(id, true, get("/")...)
		}
		k.flush()
		k.gap(fromServer, 1000)
		k.sendAll(fromServer, bits(200_000+r.IntN(1000)))
		if k.shared.Stats.SearchCuts == 0 {
			t.Fatal("there is credit: the test does not test")
		}
		if seed%2 == 0 { // within segments
			k.server.out = append(k.server.out, 0)
			for range 8 {
				k.server.data(1, false, bits(defaultMaxFrame))
			}
			k.flush()
		}
		k.server.headers(3, true, ok("a", "b")...)
		k.flush()
		told := ""
		for _, x := range k.end() {
			if x.StreamId == 3 {
				told = x.Response.GetHeaders()[0].GetValue()
			}
		}
		if told != "b" {
			t.Errorf("seed %d: the response of stream 3 is not told", seed)
		}
	}
}

// BenchmarkSearch looks for frames where there are none, in segments of each size.
func BenchmarkSearch(b *testing.B) {
	for _, known := range []bool{false, true} {
		for _, x := range lures {
			body := x.body(rand.New(rand.NewPCG(1, 2)))
			for _, size := range []int{1, mss(), 64 << 10} {
				b.Run(fmt.Sprintf("known=%t/%s/%d", known, x.name, size), func(b *testing.B) {
					h := &harness{}
					segments := 0
					for b.Loop() {
						b.StopTimer()
						c := lured(h, known)
						b.StartTimer()
						segments += lure(c, body[:min(len(body), 100_000*size)], 0, size)
					}
					each := float64(b.Elapsed().Nanoseconds()) / float64(segments)
					b.ReportMetric(each, "ns/segment")
					b.ReportMetric(each/float64(size), "ns/byte")
				})
			}
		}
	}
}
