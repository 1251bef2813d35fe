package http2

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestCase88Floods sends what is meant to exhaust a parser.
func TestCase88Floods(t *testing.T) {
	t.Run("CONTINUATION", func(t *testing.T) {
		k := newTalk(t, Config{MaxHeaderBlock: 1000})
		k.client.frame(frameHeaders, flagEndStream, 1, k.client.encode(get("/1")...))
		for range 1000 {
			k.client.frame(frameContinuation, 0, 1, k.client.encode("x-name", "value")).frame(frameContinuation, 0, 1)
		}
		k.client.frame(frameContinuation, flagEndHeaders, 1)
		k.client.headers(3, true, append(get("/3"), "x-name", "value")...)
		k.flush()
		if n := cap(k.c.half[fromClient].block.buf); n > 0 {
			t.Errorf("%d bytes kept of a block", n)
		}
		k.server.headers(1, true, ok()...).headers(3, true, ok()...)
		records := k.end()
		if len(records) != 2 || records[0].Request.Target != "/1" || records[0].Flaws[0] != capstanv1.Flaw_FLAW_HEADERS_CUT || k.shared.Stats.HeaderCuts != 1 {
			t.Errorf("%s%+v", tell(records), k.shared.Stats)
		}
		if q := records[1].Request; q.Method != "GET" || q.Authority != "" || records[1].Complete {
			t.Errorf("behind the cut block: %s", tell(records[1:]))
		}
	})
	t.Run("streams", func(t *testing.T) {
		k := newTalk(t, Config{MaxStreams: 10})
		for id := uint32(1); id < 2000; id += 2 {
			k.client.headers(id, true, get("/")...)
		}
		k.flush()
		if n := k.c.byID.n; n != 10 || k.shared.Stats.ShedStreams != 990 {
			t.Errorf("%d streams, %d shed", n, k.shared.Stats.ShedStreams)
		}
		if got := tell(k.records[:1]); got != "1 GET http h / {} 0 NO_RESPONSE EVICTED\n" {
			t.Error(got)
		}
		k.end()
	})
	t.Run("bytes of streams", func(t *testing.T) {
		k := newTalk(t, Config{MaxStreamBytes: 100_000})
		for id := uint32(1); id < 200; id += 2 {
			k.client.headers(id, true, append(get("/"), "x", strings.Repeat("v", 5000))...)
			k.flush()
			if k.c.streams.cost > 110_000 {
				t.Fatalf("%d bytes kept", k.c.streams.cost)
			}
		}
		k.end()
	})
	t.Run("rapid reset", func(t *testing.T) {
		k := newTalk(t, Config{})
		for id := uint32(1); id < 20_000; id += 2 {
			k.client.headers(id, true, get("/")...).frame(frameRSTStream, 0, id, u32(8))
		}
		k.flush()
		if k.c.byID.n != 0 || len(k.records) != 10_000 || k.shared.Stats.Resets != 10_000 {
			t.Errorf("%d streams open, %d records", k.c.byID.n, len(k.records))
		}
		k.end()
	})
	t.Run("settings and pings", func(t *testing.T) {
		k := newTalk(t, Config{})
		for range 10_000 {
			k.client.settings(1, 0, 5, 1<<24).frame(framePing, 0, 0, make([]byte, 8)).frame(frameSettings, flagAck, 0)
		}
		k.client.headers(1, true, get("/")...)
		k.server.headers(1, true, ok()...)
		if got := tell(k.end()); !strings.HasSuffix(got, "complete\n") {
			t.Error(got)
		}
	})
}

// TestSearchIsBounded looks for a frame in what holds none, and in what seems
// to hold nothing else.
func TestSearchIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	ack := []byte{0, 0, 0, byte(frameSettings), flagAck, 0, 0, 0, 0}
	fill := map[string][]byte{
		"noise": noise, "zeros": make([]byte, 1<<20), "frames": bytes.Repeat(ack, 1<<16),
		"long frames": bytes.Repeat(append([]byte{0, 0x3f, 0xff, 0, 0, 0, 0, 0, 1}, make([]byte, 0x3fff-9)...), 60),
	}
	for name, b := range fill {
		h := newHarness(t, Config{MaxUnparsed: 1 << 19}, 0, testConn(true))
		for len(b) > 0 {
			n := min(len(b), 1+r.IntN(3000))
			h.c.Data(fromServer, reassembly.Chunk{Offset: h.offset[fromServer], Acked: -1, Bytes: b[:n]})
			h.offset[fromServer] += int64(n)
			h.fed += uint64(n)
			b = b[n:]
			s := h.c.half[fromServer].search
			if s == nil { // given up
				continue
			}
			if len(s.held) > maxHeld+3000 || len(s.pieces) > maxPieces || len(s.candidates) > maxCandidates {
				t.Fatalf("%s: %d bytes in %d pieces held, %d candidates", name, len(s.held), len(s.pieces), len(s.candidates))
			}
		}
		if gaveUp := h.shared.Stats.GivenUp == 1; gaveUp != (name == "noise" || name == "zeros" || name == "long frames") {
			t.Errorf("%s: given up %v", name, gaveUp)
		}
		h.close(reassembly.CloseFIN)
	}
}

// TestNestedConnection: a body that holds a connection of its own must not be
// taken for the connection after a loss.
func TestNestedConnection(t *testing.T) {
	inner := newConversation(rand.New(rand.NewPCG(9, 9)), 300, false)
	var nested []byte
	for _, s := range inner.turns {
		if s.d == fromServer {
			nested = append(nested, s.bytes...)
		}
	}
	r := rand.New(rand.NewPCG(3, 3))
	recovered := 0
	for range 50 {
		k := newTalk(t, Config{})
		k.client.headers(1, true, get("/tunnel")...)
		k.flush()
		k.server.headers(1, false, ok("content-type", "tunnel")...)
		for b := nested; len(b) > 0; {
			n := min(len(b), defaultMaxFrame)
			k.server.data(1, len(b) == n, b[:n])
			b = b[n:]
		}
		b := k.server.take()
		at := 100 + r.IntN(len(b)/2)
		k.send(fromServer, b[:at])
		lost := at + 20_000 // more than a frame
		k.gap(fromServer, lost-at)
		for b = b[lost:]; len(b) > 0; {
			n := min(len(b), mss())
			k.send(fromServer, b[:n])
			b = b[n:]
		}
		k.client.headers(3, true, get("/next")...)
		k.flush()
		k.server.headers(3, true, ok()...)
		for _, x := range k.end() {
			if x.StreamId != 1 && x.StreamId != 3 || x.Response.GetStatus() != 0 && x.Response.GetStatus() != 200 {
				t.Fatalf("told of the nested connection: %s", tell([]*capstanv1.Exchange{x}))
			}
			if x.StreamId == 3 && x.Response.GetStatus() == 200 {
				recovered++
			}
		}
	}
	t.Logf("the next exchange was told in %d of 50 cases", recovered)
}

// TestInOrderSegmentsAllocateNothing feeds the middle of large bodies.
func TestInOrderSegmentsAllocateNothing(t *testing.T) {
	k := newTalk(t, Config{})
	k.client.headers(1, true, get("/1")...)
	k.server.headers(1, false, ok("content-type", "application/grpc")...).data(1, false, make([]byte, 500))
	k.flush()
	frames := k.server.data(1, false, make([]byte, 16000)).take()
	chunk := reassembly.Chunk{Offset: k.offset[fromServer], Acked: -1}
	at := 0
	if n := testing.AllocsPerRun(1000, func() {
		n := min(1448, len(frames)-at)
		chunk.Bytes = frames[at : at+n]
		k.c.Data(fromServer, chunk)
		chunk.Offset += int64(n)
		k.fed += uint64(n)
		if at += n; at == len(frames) {
			at = 0
		}
	}); n != 0 {
		t.Errorf("%v allocations per segment", n)
	}
	k.end()
}

// exchanges returns the bytes of n exchanges of few bytes, by direction.
func exchanges(client, server *peer, from uint32, n int) (q, s []byte) {
	for range n {
		client.headers(from, true, append(get("/api/items"), "user-agent", "test", "accept", "application/json")...)
		server.headers(from, false, ok("content-type", "application/json", "content-length", "100", "server", "test")...).data(from, true, make([]byte, 100))
		from += 2
	}
	return client.take(), server.take()
}

// TestExchangesAllocateLittle holds an exchange without body content, of which 900 are open at once, to little more than one
// allocations.
func TestExchangesAllocateLittle(t *testing.T) {
	k := newTalk(t, Config{})
	told := 0
	k.c.rec = exchange.NewRecorder(exchange.Config{Emit: func(*capstanv1.Exchange) { told++ }})
	id := uint32(1)
	feed := func(n int) {
		q, s := exchanges(k.client, k.server, id, n)
		id += uint32(2 * n)
		k.c.Data(fromClient, reassembly.Chunk{Offset: k.offset[fromClient], Acked: -1, Bytes: q})
		k.offset[fromClient] += int64(len(q))
		k.c.Data(fromServer, reassembly.Chunk{Offset: k.offset[fromServer], Acked: -1, Bytes: s})
		k.offset[fromServer] += int64(len(s))
		k.fed += uint64(len(q) + len(s))
	}
	feed(10)
	const n = 900
	q, s := exchanges(k.client, k.server, id, n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	k.c.Data(fromClient, reassembly.Chunk{Offset: k.offset[fromClient], Acked: -1, Bytes: q})
	k.c.Data(fromServer, reassembly.Chunk{Offset: k.offset[fromServer], Acked: -1, Bytes: s})
	runtime.ReadMemStats(&after)
	k.fed += uint64(len(q) + len(s))
	if told != 10+n {
		t.Fatalf("%d exchanges of %d", told, 10+n)
	}
	each := float64(after.Mallocs-before.Mallocs) / n
	t.Logf("%.2f allocations, %.0f bytes per exchange", each, float64(after.TotalAlloc-before.TotalAlloc)/n)
	if each > 1.5 {
		t.Errorf("%.2f allocations per exchange", each)
	}
	k.end()
}

// TestIdleConnectionIsSmall measures what a connection keeps between exchanges.
func TestIdleConnectionIsSmall(t *testing.T) {
	const n = 500
	var before, after runtime.MemStats
	talks := make([]*Conn, n)
	shared := new(Shared)
	client, server := newPeer(), newPeer()
	client.out = []byte(preface)
	client.settings()
	server.settings()
	q, s := exchanges(client, server, 1, 3)
	rec := exchange.NewRecorder(exchange.Config{Emit: func(*capstanv1.Exchange) {}})
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range talks {
		c := New(&Config{Shared: shared}, testConn(false), rec, nil)
		c.Data(fromClient, reassembly.Chunk{Acked: -1, Bytes: q})
		c.Data(fromServer, reassembly.Chunk{Acked: -1, Bytes: s})
		talks[i] = c
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d bytes per idle connection that has had three exchanges", each)
	if each > 1800 {
		t.Errorf("%d bytes per idle connection", each)
	}
	runtime.KeepAlive(talks)
}

// BenchmarkConn feeds small exchanges on one connection.
func BenchmarkConn(b *testing.B) {
	const n = 1000
	client, server := newPeer(), newPeer()
	client.out = []byte(preface)
	client.settings()
	server.settings()
	q, s := exchanges(client, server, 1, n)
	shared := new(Shared)
	emitted := 0
	h := &harness{}
	rec := h.recorder(0)
	b.SetBytes(int64(len(q) + len(s)))
	b.ReportAllocs()
	for b.Loop() {
		h.records = h.records[:0]
		c := New(&Config{Shared: shared, MaxStreams: n + 1, MaxStreamBytes: 64 << 20}, testConn(false), rec, nil)
		c.Data(fromClient, reassembly.Chunk{Acked: -1, Bytes: q})
		c.Data(fromServer, reassembly.Chunk{Acked: -1, Bytes: s})
		c.Close(0, reassembly.CloseFIN)
		emitted += len(h.records)
	}
	b.ReportMetric(float64(emitted)/b.Elapsed().Seconds(), "exchanges/s")
}

// BenchmarkOrphans feeds a body while many responses wait for their requests.
func BenchmarkOrphans(b *testing.B) {
	h := &harness{}
	c := New(&Config{Shared: &h.shared}, testConn(false), h.recorder(0), nil)
	client, server := newPeer(), newPeer()
	client.out = []byte(preface)
	client.settings()
	c.Data(fromClient, reassembly.Chunk{Acked: -1, Bytes: client.out})
	server.settings()
	for i := range uint32(800) {
		server.headers(3+2*i, true, ok()...)
	}
	server.headers(1, false, ok()...)
	server.out = header(server.out, maxFrameLimit, frameData, 0, 1)
	offset := int64(len(server.out))
	c.Data(fromServer, reassembly.Chunk{Acked: 1 << 20, Bytes: server.out})
	if c.orphans != 800 {
		b.Fatalf("%d orphans", c.orphans)
	}
	body := make([]byte, mss())
	for b.Loop() {
		if offset > maxFrameLimit {
			offset = int64(len(server.out)) // back in the same frame
			c.half[fromServer].left = maxFrameLimit
			c.half[fromServer].offset = offset
		}
		c.Data(fromServer, reassembly.Chunk{Acked: 1 << 20, Offset: offset, Bytes: body})
		offset += int64(len(body))
	}
}
