package http1

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"

	"google.golang.org/protobuf/proto"
)

// turn is what one end says before the other answers.
type turn struct {
	d     flow.Direction
	bytes []byte
}

// play delivers turns cut by next, which returns the length of the next
// segment, at a clock that stands still.
func play(t testing.TB, turns []turn, next func() int) []*capstanv1.Exchange {
	h := newHarness(t, Config{MaxHeadLen: 2000}, 100, testConn())
	for _, tn := range turns {
		h.turn(tn, next)
	}
	h.time = 1000
	return h.close(reassembly.CloseFIN)
}

// turn delivers tn cut by next.
func (h *harness) turn(tn turn, next func() int) {
	acked := h.offset[tn.d.Reverse()]
	for b := tn.bytes; len(b) > 0; {
		n := min(next(), len(b))
		h.time = 0
		h.chunk(tn.d, b[:n], acked)
		b = b[n:]
	}
}

func seedTurns() [][]turn {
	chunked := "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1F\r\n" + strings.Repeat("y", 31) + "\r\n0\r\nX-Trailer: 1\r\n\r\n"
	q := func(s string) turn { return turn{fromClient, []byte(s)} }
	s := func(s string) turn { return turn{fromServer, []byte(s)} }
	return [][]turn{
		{q(get(1)), s(ok("abc")), q("HEAD /2 HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")},
		{q(get(1) + get(2) + "POST /3 HTTP/1.1\r\n" + chunked), s(ok("a") + "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n" + chunked)},
		{q("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 200\r\n\r\n"), s("HTTP/1.1 100 Continue\r\n\r\n"),
			q(strings.Repeat("b", 200)), s("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")},
		{q("\r\nGET /1 HTTP/1.1\nHost: h\nA: b\n c\r\n\n"), s("HTTP/1.0 200\r\nContent-Type: x\r\n\r\nuntil the end")},
		{q("GET /" + strings.Repeat("l", 3000) + " HTTP/1.1\r\nContent-Length: 2\r\n\r\nab" + get(2)), s(ok("") + "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 500) + "Content-Length: 2\r\n\r\nok")},
		{q("GET /1 HTTP/1.1\r\nUpgrade: x\r\n\r\n"), s("HTTP/1.1 101 Switching\r\n\r\nwhatever"), q("something else\x00")},
		{q("CONNECT h:1 HTTP/1.1\r\n\r\n"), s("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"), q("CONNECT h:1 HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\n\r\nsecret"), q("secret")},
	}
}

func sameRecords(a, b []*capstanv1.Exchange) bool {
	return slices.EqualFunc(a, b, func(x, y *capstanv1.Exchange) bool { return proto.Equal(x, y) })
}

func TestSegmentationDoesNotMatter(t *testing.T) {
	all := seedTurns()
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		var turns []turn
		for _, s := range conversation(r, 6, habits{window: 1 + r.IntN(3)}) {
			if n := len(turns); n > 0 && turns[n-1].d == s.dir {
				turns[n-1].bytes = append(turns[n-1].bytes, s.bytes...)
			} else {
				turns = append(turns, turn{s.dir, bytes.Clone(s.bytes)})
			}
		}
		all = append(all, turns)
	}
	for i, turns := range all {
		want := play(t, turns, func() int { return 1 << 30 })
		if len(want) == 0 {
			t.Fatalf("conversation %d gives no record", i)
		}
		if got := play(t, turns, func() int { return 1 }); !sameRecords(got, want) {
			t.Fatalf("conversation %d byte by byte:\n%q\nwhole:\n%q", i, got, want)
		}
		for range 60 {
			limit := 2 + r.IntN(300)
			if got := play(t, turns, func() int { return 1 + r.IntN(limit) }); !sameRecords(got, want) {
				t.Fatalf("conversation %d cut at random:\n%q\nwhole:\n%q", i, got, want)
			}
		}
	}
}

// oracle reads both streams as net/http does.
func oracle(t *testing.T, client, server []byte) (want []string) {
	t.Helper()
	cr, sr := bufio.NewReader(bytes.NewReader(client)), bufio.NewReader(bytes.NewReader(server))
	for {
		q, err := http.ReadRequest(cr)
		if err == io.EOF {
			return want
		}
		if err != nil {
			t.Fatalf("net/http refuses a request: %v", err)
		}
		qb, err := io.ReadAll(q.Body)
		if err != nil {
			t.Fatal(err)
		}
		x := &capstanv1.Exchange{Complete: true, Request: &capstanv1.HttpRequest{Method: q.Method, Target: q.RequestURI, Body: &capstanv1.Body{Size: uint64(len(qb))}}}
		for {
			s, err := http.ReadResponse(sr, q)
			if err != nil {
				t.Fatalf("net/http refuses a response: %v", err)
			}
			sb, err := io.ReadAll(s.Body)
			if err != nil {
				t.Fatal(err)
			}
			x.Response = &capstanv1.HttpResponse{Status: uint32(s.StatusCode), Body: &capstanv1.Body{Size: uint64(len(sb))}}
			if s.StatusCode >= 200 {
				break
			}
		}
		want = append(want, summary(x))
	}
}

func TestAgreesWithNetHTTP(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var streams [2][]byte
		h := full(t)
		for _, s := range conversation(r, 8, habits{window: 1 + r.IntN(4)}) {
			streams[s.dir] = append(streams[s.dir], s.bytes...)
			h.chunk(s.dir, s.bytes, s.acked)
		}
		expect(t, h.close(reassembly.CloseFIN), oracle(t, streams[fromClient], streams[fromServer])...)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// FuzzConn cuts two arbitrary streams in two ways. Whatever they hold, every
// byte is counted once, and with no place lost the records are the same.
func FuzzConn(f *testing.F) {
	for _, turns := range seedTurns() {
		var streams [2][]byte
		for _, tn := range turns {
			streams[tn.d] = append(streams[tn.d], tn.bytes...)
		}
		f.Add(streams[fromClient], streams[fromServer], uint64(1), uint16(0))
		f.Add(streams[fromClient], streams[fromServer], uint64(2), uint16(30))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64, hole uint16) {
		if len(client) > 8<<10 || len(server) > 8<<10 {
			return
		}
		run := func(whole bool) (*harness, []*capstanv1.Exchange) {
			r := rand.New(rand.NewPCG(seed, 0))
			h := newHarness(t, Config{MaxHeadLen: 300, MaxPending: 5, MaxUnparsed: 200}, 50, testConn())
			for d, b := range [][]byte{client, server} {
				for len(b) > 0 {
					n := len(b)
					if !whole {
						n = min(n, 1+r.IntN(50))
					}
					h.time = 0
					h.chunk(flow.Direction(d), b[:n], int64(len(client))*int64(d))
					b = b[n:]
					if hole > 0 && r.IntN(10) == 0 {
						h.gap(flow.Direction(d), int64(hole))
					}
				}
			}
			h.time = 1000
			reason := reassembly.CloseReason(seed % uint64(reassembly.NumCloseReasons))
			return h, h.close(reason)
		}
		h1, cut := run(false)
		h2, whole := run(true)
		for _, x := range slices.Concat(cut, whole) {
			if _, err := proto.Marshal(x); err != nil {
				t.Errorf("record can't be marshalled: %v", err)
			}
			if x.Complete && (x.Request == nil || x.Response == nil) {
				t.Errorf("complete without both halves: %v", x)
			}
		}
		if hole == 0 && h1.shared.Stats.Resyncs == 0 && h2.shared.Stats.Resyncs == 0 && !sameRecords(cut, whole) {
			t.Errorf("cut:\n%q\nwhole:\n%q", cut, whole)
		}
		if hole == 0 && (h1.shared.Stats.Resyncs == 0) != (h2.shared.Stats.Resyncs == 0) {
			t.Errorf("place lost %d times cut, %d times whole", h1.shared.Stats.Resyncs, h2.shared.Stats.Resyncs)
		}
	})
}
