package http1

import (
	"fmt"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

func midstream(t *testing.T) *harness {
	conn := testConn()
	conn.Midstream, conn.ClientKnown = true, false
	return newHarness(t, Config{}, 0, conn)
}

func TestMidstreamFirstPairIsWithheldUntilConfirmed(t *testing.T) {
	start := func() *harness {
		h := midstream(t)
		h.chunk(fromClient, []byte(get(1)), -1)
		h.server(ok("a"))
		if len(h.records) != 0 {
			t.Fatalf("not withheld: %q", summaries(h.records))
		}
		return h
	}
	const paired, q, r = "GET /1 0 > 200 1 +", "GET /1 0 > - no_response", "- > 200 1 no_request"

	h := start() // the client goes on in lockstep
	h.client(get(2))
	h.server(ok("bb"))
	expect(t, h.close(reassembly.CloseEndOfCapture), paired, "GET /2 0 > 200 2 +")

	h = start() // another response was owed: the first was not this request's
	h.server(ok("bb"))
	expect(t, h.close(reassembly.CloseFIN), q, r, "- > 200 2 no_request")

	h = start() // the client's next request came before the end of the response
	h.chunk(fromClient, []byte(get(2)), 10)
	h.server(ok("bb"))
	expect(t, h.close(reassembly.CloseFIN), q, r, "GET /2 0 > - no_response", "- > 200 2 no_request")

	h = start() // nothing else was seen: told with the doubt
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 place_guessed")
	h = start()
	expect(t, h.close(reassembly.CloseEndOfCapture), "GET /1 0 > 200 1 capture_ended place_guessed")
	h = start()
	h.gap(fromServer, 10)
	expect(t, h.close(reassembly.CloseFIN), q, r)

	// The response was still under way.
	going := func(response string) *harness {
		h := midstream(t)
		h.chunk(fromClient, []byte(get(1)), -1)
		h.server(response)
		return h
	}
	for _, reason := range []reassembly.CloseReason{reassembly.CloseEndOfCapture, reassembly.CloseTimeout} {
		flaw := map[reassembly.CloseReason]string{reassembly.CloseEndOfCapture: "capture_ended", reassembly.CloseTimeout: "timeout"}[reason]
		expect(t, going("HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n").close(reason), "GET /1 0 > 302 0 "+flaw+" place_guessed")
		expect(t, going("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").close(reason), "GET /1 0 > 200 3 "+flaw+" place_guessed")
		h = going("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
		h.gap(fromServer, 2)
		expect(t, h.close(reason), "GET /1 0 > 200 5 gap "+flaw+" place_guessed")
		h = going("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
		h.client(get(2))
		expect(t, h.close(reason), q, "- > 200 3 no_request "+flaw, "GET /2 0 > - no_response "+flaw)
	}

	// The first byte of the client was a keep-alive probe's: also nothing.
	joined := func(before string) *harness {
		h := midstream(t)
		h.chunk(fromClient, []byte(before), -1)
		h.client(get(1))
		h.server(ok("a"))
		return h
	}
	expect(t, joined("\x00").close(reassembly.CloseEndOfCapture), "GET /1 0 > 200 1 capture_ended place_guessed")
	expect(t, joined("\x00\x00").close(reassembly.CloseEndOfCapture), q, r) // that was something

	h = midstream(t) // the server closes after one response, the client had not asked for that
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na")
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 closed_early place_guessed")

	h = start() // likewise, though it had said that it would not
	h.end(fromServer)
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 closed_early place_guessed")

	h = midstream(t) // which the client had asked for
	h.client("GET /1 HTTP/1.1\r\nConnection: close\r\n\r\n")
	h.server(ok("a"))
	h.end(fromServer)
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 place_guessed")
}

// TestMidstreamPairIsRefutedByFurtherAnswers: a client that keeps several requests under way
// may send one just when it has a response, as one that waits does.
func TestMidstreamPairIsRefutedByFurtherAnswers(t *testing.T) {
	start := func() *harness {
		h := midstream(t)
		h.chunk(fromServer, []byte(ok("a")), 0) // to a request before
		h.client(get(6))
		h.server(ok("bb"))
		return h
	}
	const before, paired = "- > 200 1 no_request", "GET /6 0 > 200 2 +"

	h := start()
	h.server(ok("ccc")) // which nothing since asked for
	expect(t, h.records, before, "GET /6 0 > - no_response", "- > 200 2 no_request", "- > 200 3 no_request")
	h.close(reassembly.CloseFIN)

	h = midstream(t)
	h.chunk(fromServer, []byte(ok("a")), 0)
	h.client(get(6))
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n") // to HEAD
	h.server(ok("seems to be that body"))
	h.server(ok("ccc"))
	expect(t, h.records, before, "GET /6 0 > - no_response", "- > 200 0 no_request", "- > 200 21 no_request", "- > 200 3 no_request")
	h.close(reassembly.CloseFIN)

	h = start() // the client goes on as one that waits, for a while
	h.client(get(7))
	h.server(ok("ccc"))
	h.server(ok("dddd"))
	expect(t, h.records, before, "GET /6 0 > - no_response", "- > 200 2 no_request", "GET /7 0 > - no_response", "- > 200 3 no_request", "- > 200 4 no_request")
	h.close(reassembly.CloseFIN)

	h = start() // it rests before it goes on
	h.time += int64(restTime)
	h.client(get(7))
	expect(t, h.records, before, paired)
	h.close(reassembly.CloseFIN)

	h = start() // it has gone on like that for long
	for i := range maxWithheld - 1 {
		expect(t, h.records, before)
		h.client(get(7 + i))
		h.server(ok("ccc"))
	}
	if n := len(h.records); n != 1+maxWithheld {
		t.Errorf("%d records have left", n)
	}
	h.close(reassembly.CloseFIN)

	h = start() // its server tells unasked that it has waited for long enough
	h.client(get(7))
	h.server("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
	h.server("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
	expect(t, h.close(reassembly.CloseFIN), before, "- > 408 0 no_request", paired, "GET /7 0 > 408 0 +")

	for _, end := range []reassembly.CloseReason{reassembly.CloseFIN, reassembly.CloseTimeout} {
		expect(t, start().close(end), before, paired)
	}
}

func TestMidstreamLoneRequestOfABurstIsNotPaired(t *testing.T) {
	h := midstream(t)
	// Two requests were sent at once; only the second was captured.
	h.chunk(fromClient, []byte(get(2)), 0)
	h.server(ok("1"))
	h.server(ok("22"))
	expect(t, h.close(reassembly.CloseFIN), "GET /2 0 > - no_response", "- > 200 1 no_request", "- > 200 2 no_request")
}

func TestRequestBehindAHoleFindsItsResponse(t *testing.T) {
	h := full(t)
	h.client(get(1))
	h.server(ok("1"))
	// The second request is lost; everything behind it waits for the hole to
	// be declared while the server's direction goes on.
	lost, third := int64(len(get(2))), int64(len(get(3)))
	base := h.offset[fromClient]
	h.chunk(fromServer, []byte(ok("22")), base+lost)
	afterSecond := h.offset[fromServer]
	h.chunk(fromServer, []byte(ok("333")), base+lost+third)
	h.gap(fromClient, lost)
	h.chunk(fromClient, []byte(get(3)), afterSecond)
	h.client(get(4))
	h.server(ok("4444"))
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 +", "- > 200 2 no_request", "GET /3 0 > 200 3 +", "GET /4 0 > 200 4 +")
}

func TestResponseBeforeItsRequestFloatsWhileInProgress(t *testing.T) {
	h := full(t)
	n := int64(len(get(1)))
	h.chunk(fromServer, []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"), n)
	h.chunk(fromClient, []byte(get(1)), 0)
	h.chunk(fromServer, []byte("def"), n)
	expect(t, h.records, "GET /1 0 > 200 6 +")
	h.close(reassembly.CloseFIN)
}

func TestRequestLineInAnUploadIsNotARequest(t *testing.T) {
	h := full(t)
	h.client(get(1))
	h.server(ok("1"))
	h.client("POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
	h.gap(fromClient, 20)
	h.client(get(99)) // the text of a request, at the start of a segment
	h.client("\r\n0\r\n\r\n")
	h.server(ok("22"))
	h.client(get(3))
	h.server(ok("333"))
	for _, x := range h.close(reassembly.CloseFIN) {
		if x.Request != nil && x.Response != nil && x.Request.Target == "/99" {
			t.Errorf("text inside a body was paired: %s", summary(x))
		}
	}
	expect(t, h.records[:2], "GET /1 0 > 200 1 +", "POST /2 4 > 200 2 gap")
}

func TestPendingRequestsAreBounded(t *testing.T) {
	h := newHarness(t, Config{MaxPending: 10}, 0, testConn())
	for i := range 100 {
		h.client(get(i))
		if n := len(h.pending()); n > 10 {
			t.Fatalf("%d requests pending", n)
		}
	}
	for range 100 {
		h.server(ok("x"))
	}
	if pairs := score(t, h, true, "one-sided"); pairs != 0 {
		t.Errorf("%d pairs", pairs)
	}
	for _, x := range h.close(reassembly.CloseFIN) {
		if x.Request != nil && x.Response != nil {
			t.Errorf("paired after requests were dropped: %s", summary(x))
		}
	}
	if len(h.records) != 200 {
		t.Errorf("%d records, want 200 halves", len(h.records))
	}
}

func TestAuthority(t *testing.T) {
	for _, tc := range []struct{ line, host, want string }{
		{"GET / HTTP/1.1", "h:80", "h:80"},
		{"GET http://a.example:8080/x?u=http://b HTTP/1.1", "h", "a.example:8080"},
		{"GET http://user:pass@a.example HTTP/1.1", "h", "a.example"},
		{"GET /x?u=http://b HTTP/1.1", "h", "h"},
		{"GET / HTTP/1.1", "user:pa@ss@h:80", "h:80"},
		{"CONNECT user:pass@h:443 HTTP/1.1", "h", "h:443"},
		{"OPTIONS * HTTP/1.1", "h", "h"},
		{"GET http://[::1]:8080/ HTTP/1.1", "h", "[::1]:8080"},
	} {
		h := full(t)
		h.client(tc.line + "\r\nhOST:  " + tc.host + " \r\n\r\n")
		h.server(ok(""))
		if got := h.records[0].Request.Authority; got != tc.want {
			t.Errorf("%s: authority %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	h := full(t)
	h.client("GET /\xff\xfe\xe4 HTTP/1.1\r\nX-\xc3: a\xf0b\r\nGood: \u00e4\r\n\r\n")
	h.server(ok(""))
	q := h.records[0].Request
	if q.Target != "/\uFFFD" || q.Headers[0].Name != "X-\uFFFD" || q.Headers[0].Value != "a\uFFFDb" || q.Headers[1].Value != "\u00e4" {
		t.Errorf("request %q", q)
	}
}

func TestFoldedField(t *testing.T) {
	h := full(t)
	h.client("GET / HTTP/1.1\r\nA: one \r\n \t two\r\n\tthree\r\nCookie:\r\n secret\r\nB: c\r\n\r\n")
	h.server(ok(""))
	q := h.records[0].Request
	if len(q.Headers) != 3 || q.Headers[0].Value != "one two three" || q.Headers[1].Value != "***" || q.Headers[2].Value != "c" {
		t.Errorf("headers %q", q.Headers)
	}
}

func TestBodiesAreKeptUpToTheLimit(t *testing.T) {
	for _, tc := range []struct {
		limit, size int
		truncated   bool
	}{{0, 10, true}, {5, 10, true}, {10, 10, false}, {11, 10, false}, {5000, 10000, true}, {5, 0, false}} {
		body := strings.Repeat("0123456789", 1000)[:tc.size]
		for _, chunk := range []int{1, 3, 1 << 20} {
			h := newHarness(t, Config{}, tc.limit, testConn())
			h.client(get(1))
			for s := ok(body); s != ""; {
				n := min(chunk, len(s))
				h.server(s[:n])
				s = s[n:]
			}
			b := h.close(reassembly.CloseFIN)[0].Response.Body
			if want := body[:min(tc.limit, tc.size)]; string(b.Content) != want || b.Truncated != tc.truncated || b.Size != uint64(tc.size) {
				t.Errorf("limit %d, body of %d in pieces of %d: size %d, %d kept, truncated %v", tc.limit, tc.size, chunk, b.Size, len(b.Content), b.Truncated)
			}
		}
	}
}

func TestTimesOfHalves(t *testing.T) {
	h := full(t)
	h.client("POST /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\n") // at 1,001,000
	h.client("ab")                                            // at 1,002,000
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
	h.server("b" + "\r\n") // at 1,004,000
	x := h.records[0]
	if x.Request.FirstByteUnixNs != 1_001_000 || x.Request.LastByteUnixNs != 1_002_000 || x.Response.FirstByteUnixNs != 1_003_000 ||
		x.Response.LastByteUnixNs != 1_004_000 || x.StartTimeUnixNs != 1_001_000 || x.DurationNs != 3000 {
		t.Errorf("record %v", x)
	}
}

// exchangeAllocs is the budget for a small keep-alive GET exchange whose bodies
// are kept: all is used again but texts, which are allocated many at a time.
const exchangeAllocs = 1

func smallExchange(h *harness) func() {
	req := []byte("GET /index.html?x=1 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n")
	resp := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	var q, s int64
	return func() {
		h.c.Data(fromClient, reassembly.Chunk{Time: 1, Offset: q, Acked: s, Bytes: req})
		q += int64(len(req))
		h.c.Data(fromServer, reassembly.Chunk{Time: 2, Offset: s, Acked: q, Bytes: resp})
		s += int64(len(resp))
	}
}

// benchConn is a Conn whose records go nowhere.
func benchConn(t testing.TB, limit int) *harness {
	h := newHarness(t, Config{}, 0, testConn())
	h.hand(Config{}, exchange.Config{Keep: exchange.NewKeep(limit, nil, nil), Emit: func(*capstanv1.Exchange) {}})
	return h
}

func TestAllocationBudget(t *testing.T) {
	run := smallExchange(benchConn(t, 4096))
	if n := testing.AllocsPerRun(200, run); n > exchangeAllocs {
		t.Errorf("%v allocations for an exchange, budget %d", n, exchangeAllocs)
	}
	h := benchConn(t, 0)
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := []byte("578\r\n" + strings.Repeat("x", 0x578) + "\r\n")
	if n := testing.AllocsPerRun(200, func() {
		h.c.Data(fromServer, reassembly.Chunk{Time: 2, Offset: h.offset[fromServer], Acked: h.offset[fromClient], Bytes: chunk})
		h.offset[fromServer] += int64(len(chunk))
	}); n != 0 {
		t.Errorf("%v allocations for body bytes that aren't kept", n)
	}
}

func BenchmarkSmallExchange(b *testing.B) {
	run := smallExchange(benchConn(b, 0))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkBody(b *testing.B) {
	for _, limit := range []int{0, 4096} {
		b.Run(fmt.Sprintf("limit %d", limit), func(b *testing.B) {
			h := benchConn(b, limit)
			h.client(get(1))
			h.server("HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000\r\n\r\n")
			seg := make([]byte, 1400)
			b.SetBytes(int64(len(seg)))
			b.ReportAllocs()
			for b.Loop() {
				h.c.Data(fromServer, reassembly.Chunk{Time: 2, Offset: h.offset[fromServer], Acked: 1, Bytes: seg})
			}
		})
	}
}

// TestBodyLimitMayChange lowers the limit inside of a body.
func TestBodyLimitMayChange(t *testing.T) {
	h := newHarness(t, Config{}, 0, testConn())
	keep := exchange.NewKeep(100, nil, nil)
	h.hand(Config{}, exchange.Config{Keep: keep, Emit: exchangetest.Keep(&h.records)})
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n" + strings.Repeat("a", 30))
	keep.Set(10, nil, nil)
	h.server(strings.Repeat("b", 30))
	b := h.close(reassembly.CloseFIN)[0].Response.Body
	if b.Size != 60 || string(b.Content) != strings.Repeat("a", 30) || !b.Truncated {
		t.Errorf("%v", b)
	}
}
