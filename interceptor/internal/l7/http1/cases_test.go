package http1

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

const (
	gap       = capstanv1.Flaw_FLAW_GAP
	noReq     = capstanv1.Flaw_FLAW_NO_REQUEST
	noResp    = capstanv1.Flaw_FLAW_NO_RESPONSE
	early     = capstanv1.Flaw_FLAW_CLOSED_EARLY
	ended     = capstanv1.Flaw_FLAW_CAPTURE_ENDED
	timedOut  = capstanv1.Flaw_FLAW_TIMEOUT
	evicted   = capstanv1.Flaw_FLAW_EVICTED
	cut       = capstanv1.Flaw_FLAW_HEADERS_CUT
	malformed = capstanv1.Flaw_FLAW_MALFORMED
)

// summary is a record in one line: "METHOD target body → status body flaws",
// with a dash for a half that wasn't seen and + for one that is complete.
func summary(x *capstanv1.Exchange) string {
	var b strings.Builder
	if q := x.Request; q != nil {
		fmt.Fprintf(&b, "%s %s %d", q.Method, q.Target, q.Body.Size)
	} else {
		b.WriteString("-")
	}
	b.WriteString(" > ")
	if s := x.Response; s != nil {
		fmt.Fprintf(&b, "%d %d", s.Status, s.Body.Size)
	} else {
		b.WriteString("-")
	}
	if x.Complete {
		b.WriteString(" +")
	}
	for _, f := range x.Flaws {
		b.WriteString(" " + strings.ToLower(strings.TrimPrefix(f.String(), "FLAW_")))
	}
	return b.String()
}

func summaries(xs []*capstanv1.Exchange) (s []string) {
	for _, x := range xs {
		s = append(s, summary(x))
	}
	return s
}

func expect(t *testing.T, xs []*capstanv1.Exchange, want ...string) {
	t.Helper()
	if got := summaries(xs); !slices.Equal(got, want) {
		t.Errorf("records:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func get(n int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", n) }

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func full(t *testing.T) *harness { return newHarness(t, Config{}, 1<<20, testConn()) }

func TestCase51Pipelining(t *testing.T) {
	h := full(t)
	h.client(get(1) + get(2))
	h.client(get(3))
	h.server(ok("a") + ok("bb"))
	h.server(ok("ccc"))
	expect(t, h.records, "GET /1 0 > 200 1 +", "GET /2 0 > 200 2 +", "GET /3 0 > 200 3 +")
	if n := len(h.close(reassembly.CloseFIN)); n != 3 {
		t.Errorf("%d records after the close, want 3", n)
	}
}

func TestCase52OneLostResponse(t *testing.T) {
	for _, tc := range []struct{ name, visible string }{
		{"whole response lost", ""},
		{"head lost, body seen", strings.Repeat("x", 400)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := full(t)
			for i := range 1000 {
				h.client(get(i))
				if i == 500 {
					h.gap(fromServer, 238)
					if tc.visible != "" {
						h.server(tc.visible)
					}
					continue
				}
				h.server(ok("a"))
			}
			xs := h.close(reassembly.CloseFIN)
			if len(xs) != 1000 {
				t.Fatalf("%d records", len(xs))
			}
			for i, x := range xs {
				want := fmt.Sprintf("GET /%d 0 > 200 1 +", i)
				if i == 500 {
					want = "GET /500 0 > - no_response"
				}
				if got := summary(x); got != want {
					t.Errorf("record %d: %s, want %s", i, got, want)
				}
			}
		})
	}
}

func TestCase52PipelinedLossIsNeverShifted(t *testing.T) {
	h := full(t)
	var all strings.Builder
	for i := range 100 {
		all.WriteString(get(i))
	}
	h.client(all.String())
	for i := range 100 {
		if i == 50 {
			h.gap(fromServer, 300)
			continue
		}
		h.server(fmt.Sprintf("HTTP/1.1 200 OK\r\nId: %d\r\nContent-Length: 0\r\n\r\n", i))
	}
	if pairs := score(t, h, true, "pipelined"); pairs != 50 {
		t.Errorf("%d pairs, want the 50 before the gap", pairs)
	}
	if xs := h.close(reassembly.CloseFIN); len(xs) != 50+50+49 {
		t.Errorf("%d records, want every half that was seen: 149", len(xs))
	}
}

func TestCase53GapInsideLengthBody(t *testing.T) {
	h := full(t)
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
	h.gap(fromServer, 60)
	h.server(strings.Repeat("z", 30))
	h.client(get(2))
	h.server(ok("next"))
	h.client(get(3))
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
	h.gap(fromServer, 10) // to the very end
	h.client(get(4))
	h.server(ok(""))
	xs := h.close(reassembly.CloseFIN)
	expect(t, xs, "GET /1 0 > 200 100 gap", "GET /2 0 > 200 4 +", "GET /3 0 > 200 10 gap", "GET /4 0 > 200 0 +")
	b := xs[0].Response.Body
	if b.GapBytes != 60 || string(b.Content) != "0123456789" || !b.Truncated {
		t.Errorf("body %v", b)
	}
}

func TestCase54GapBeyondTheBodysEnd(t *testing.T) {
	h := full(t)
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
	h.client(get(2)) // unseen by the server when the gap's bytes were sent; the ACK here tells nothing of them
	h.gap(fromServer, 90+120)
	h.server("rest of a body")
	h.client(get(3))
	h.server(ok("3"))
	h.client(get(4))
	h.server(ok("44"))
	xs := h.close(reassembly.CloseFIN)
	if got := summary(xs[0]); got != "GET /1 0 > 200 100 gap" {
		t.Errorf("first record %s", got)
	}
	if b := xs[0].Response.Body; b.GapBytes != 90 {
		t.Errorf("%d bytes missing in the body, want 90", b.GapBytes)
	}
	for _, x := range xs[1:] {
		if x.Request != nil && x.Response != nil && len(x.Request.Target) > 0 && x.Request.Target == "/2" {
			t.Errorf("the request whose response is lost was paired: %s", summary(x))
		}
	}
}

func TestCase54LockstepRecovers(t *testing.T) {
	h := full(t)
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
	h.gap(fromServer, 90+120) // the end of the first response and all of the second
	h.client(get(3))          // the second request was lost too, without a hole that showed
	h.server(ok("3"))
	h.client(get(4))
	h.server(ok("44"))
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 100 gap", "GET /3 0 > 200 1 +", "GET /4 0 > 200 2 +")
}

func TestCase55GapInChunkedBody(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	t.Run("inside a chunk", func(t *testing.T) {
		h := full(t)
		h.client(get(1))
		h.server(head + "64\r\n0123456789")
		h.gap(fromServer, 50)
		h.server(strings.Repeat("z", 40) + "\r\n5\r\nabcde\r\n0\r\n\r\n")
		h.client(get(2))
		h.server(ok(""))
		expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 105 gap", "GET /2 0 > 200 0 +")
		if n := h.shared.Stats.FramingBytes; n != 4+2+3+2+3 {
			t.Errorf("%d framing bytes", n)
		}
	})
	t.Run("across chunks", func(t *testing.T) {
		h := full(t)
		h.client(get(1))
		h.server(head + "64\r\n0123456789")
		h.gap(fromServer, 93)
		h.server("\r\n5\r\nabcde\r\n0\r\n\r\n")
		h.client(get(2))
		h.server(ok(""))
		expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 105 gap place_guessed", "GET /2 0 > 200 0 +")
		if h.shared.Stats.SkippedBytes != 12 || h.shared.Stats.Resyncs != 1 {
			t.Errorf("stats %+v", h.shared.Stats)
		}
	})
}

func TestCase56InterimResponses(t *testing.T) {
	h := full(t)
	h.client("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	h.server("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\nX: y\r\n\r\n")
	h.client("abc")
	h.server("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n1")
	xs := h.close(reassembly.CloseFIN)
	expect(t, xs, "POST /1 3 > 201 1 +")
	s := xs[0].Response
	if !slices.Equal(s.InterimStatuses, []uint32{102, 100, 103}) {
		t.Errorf("interim statuses %v", s.InterimStatuses)
	}
	if len(s.Headers) != 1 {
		t.Errorf("headers of an interim response leaked into the final: %v", s.Headers)
	}
	if h.shared.Stats.Interim != 3 || h.shared.Stats.Responses != 1 {
		t.Errorf("stats %+v", h.shared.Stats)
	}
}

func TestCase57EarlyFinalResponse(t *testing.T) {
	h := full(t)
	h.client("POST /1 HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
	h.server("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
	if len(h.records) != 0 {
		t.Fatalf("emitted before the request ended: %q", summaries(h.records))
	}
	h.client("defghij")
	expect(t, h.records, "POST /1 10 > 413 0 +")
	h.client("POST /2 HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
	h.server("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
	expect(t, h.close(reassembly.CloseFIN), "POST /1 10 > 413 0 +", "POST /2 3 > 413 0 closed_early")
}

func TestCase58ResponsesWithoutBody(t *testing.T) {
	for _, tc := range []struct{ request, status, want string }{
		{"HEAD /1 HTTP/1.1\r\n\r\n", "200 OK\r\nContent-Length: 99", "HEAD /1 0 > 200 0 +"},
		{"HEAD /1 HTTP/1.1\r\n\r\n", "200 OK\r\nTransfer-Encoding: chunked", "HEAD /1 0 > 200 0 +"},
		{"HEAD /1 HTTP/1.1\r\n\r\n", "200 OK", "HEAD /1 0 > 200 0 +"},
		{get(1), "204 No Content\r\nContent-Length: 99", "GET /1 0 > 204 0 +"},
		{get(1), "304 Not Modified\r\nContent-Length: 99", "GET /1 0 > 304 0 +"},
		{get(1), "200 OK\r\nContent-Length: 0", "GET /1 0 > 200 0 +"},
	} {
		h := full(t)
		h.client(tc.request + get(2))
		h.server("HTTP/1.1 " + tc.status + "\r\n\r\n" + ok("x"))
		expect(t, h.records, tc.want, "GET /2 0 > 200 1 +")
	}
}

func TestCase59BodyUntilClose(t *testing.T) {
	start := func(t *testing.T) *harness {
		h := full(t)
		h.client("GET /1 HTTP/1.0\r\n\r\n")
		h.server("HTTP/1.0 200 OK\r\nContent-Type: a/b\r\n\r\nabc")
		h.server("defg")
		return h
	}
	h := start(t)
	h.end(fromServer)
	expect(t, h.records, "GET /1 0 > 200 7 +")
	h = start(t)
	h.end(fromClient)
	h.conn.EndUnseen = true
	expect(t, h.close(reassembly.CloseTimeout), "GET /1 0 > 200 7 place_guessed")
	for r, flaw := range map[reassembly.CloseReason]string{
		reassembly.CloseRST: "closed_early", reassembly.CloseReplaced: "closed_early", reassembly.CloseTimeout: "timeout",
		reassembly.CloseEvicted: "evicted", reassembly.CloseEndOfCapture: "capture_ended", reassembly.CloseSourceLost: "capture_ended",
	} {
		h := start(t)
		expect(t, h.close(r), "GET /1 0 > 200 7 "+flaw)
	}
	h = start(t)
	h.gap(fromServer, 1000)
	h.server("hij")
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1010 gap")
}

func TestCase60Chunked(t *testing.T) {
	h := full(t)
	h.client("POST /1 HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\nTrailer: X-T\r\n\r\n" +
		"A ;ext=\"v;\"\r\n0123456789\r\n" + "0000000000000000000000b\nabcdefghijk\n" + "000;last\r\nX-T: 1\r\nAuthorization: secret\r\n\r\n")
	h.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\n" + strings.Repeat("x", 31) + "\r\n0\r\n\r\n")
	expect(t, h.records, "POST /1 21 > 200 31 + malformed") // one line ends with LF alone
	q := h.records[0].Request
	if got := string(q.Body.Content); got != "0123456789abcdefghijk" {
		t.Errorf("content %q", got)
	}
	if len(q.Trailers) != 2 || q.Trailers[0].Value != "1" || q.Trailers[1].Value != "***" {
		t.Errorf("trailers %v", q.Trailers)
	}
}

// TestCase61ContentCodings holds that a body is told as sent and as it was before
// its coding; the codings themselves have tests of their own.
func TestCase61ContentCodings(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte("hello, hello, hello")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	coded := b.String()
	h := full(t)
	h.client(fmt.Sprintf("POST /1 HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(coded), coded))
	h.server(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: GZIP\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(coded), coded))
	h.client("HEAD /2 HTTP/1.1\r\n\r\n")
	h.server("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n")
	h.client(get(3))
	h.server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(coded), coded[:20]))
	xs := h.close(reassembly.CloseFIN)
	type body struct {
		size, decodedSize uint64
		decoded           string
		decoding          capstanv1.Decoding
	}
	of := func(b *capstanv1.Body) body { return body{b.Size, b.DecodedSize, string(b.Decoded), b.Decoding} }
	whole := body{uint64(len(coded)), 19, "hello, hello, hello", capstanv1.Decoding_DECODING_COMPLETE}
	got := []body{of(xs[0].Request.Body), of(xs[0].Response.Body), of(xs[1].Response.Body)}
	if !slices.Equal(got, []body{whole, whole, {}}) {
		t.Errorf("%+v", got)
	}
	if cut := of(xs[2].Response.Body); cut.decoding != capstanv1.Decoding_DECODING_PARTIAL || !strings.HasPrefix(whole.decoded, cut.decoded) || cut.size != 20 {
		t.Errorf("%+v", cut)
	}
}

func TestCase60BadChunks(t *testing.T) {
	for _, body := range []string{
		"g\r\n", "\r\n", ";x\r\n", "-1\r\n", "0x5\r\nabcde\r\n0\r\n\r\n", "5\r\nabcdeX", "5\r\nabcde\r\r", "1000000000000000\r\n",
	} {
		h := full(t)
		h.client(get(1))
		h.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
		h.client(get(2))
		h.server(ok("x"))
		xs := h.close(reassembly.CloseFIN)
		if len(xs) != 2 || !slices.Contains(xs[0].Flaws, malformed) || xs[0].Complete || summary(xs[1]) != "GET /2 0 > 200 1 +" {
			t.Errorf("chunks %q: %q", body, summaries(xs))
		}
	}
}

func TestCase63ContradictoryFraming(t *testing.T) {
	const te = "Transfer-Encoding: chunked\r\n"
	chunks := "3\r\nabc\r\n0\r\n\r\n"
	for _, tc := range []struct{ name, fields, body, want string }{
		{"length and chunked", "Content-Length: 5\r\n" + te, chunks, "POST /1 3 > 200 0 + malformed"},
		{"chunked and length", te + "Content-Length: 5\r\n", chunks, "POST /1 3 > 200 0 + malformed"},
		{"folded coding", "Transfer-Encoding:\r\n chunked\r\n", chunks, "POST /1 3 > 200 0 + malformed"},
		{"list of codings", "Transfer-Encoding: x, chunked\r\n", chunks, "POST /1 3 > 200 0 +"},
		{"two coding fields", "Transfer-Encoding: x\r\n" + te, chunks, "POST /1 3 > 200 0 +"},
		{"vertical tab before the coding", "Transfer-Encoding: \x0bchunked\r\n", chunks, "POST /1 0 > 200 0 malformed"},
		{"CR alone in a value", "X: a\rb\r\nContent-Length: 3\r\n", "abc", "POST /1 3 > 200 0 + malformed"},
		{"NUL in a value", "X: a\x00\r\nContent-Length: 3\r\n", "abc", "POST /1 3 > 200 0 + malformed"},
		{"LF alone", "X: a\nContent-Length: 3\r\n", "abc", "POST /1 3 > 200 0 + malformed"},
		{"fold", "X: a\r\n b\r\nContent-Length: 3\r\n", "abc", "POST /1 3 > 200 0 + malformed"},
		{"LF alone behind a size", te, "3\nabc\r\n0\r\n\r\n", "POST /1 3 > 200 0 + malformed"},
		{"LF alone behind an extension", te, "3;a=b\nabc\r\n0\r\n\r\n", "POST /1 3 > 200 0 + malformed"},
		{"LF alone behind a chunk", te, "3\r\nabc\n0\r\n\r\n", "POST /1 3 > 200 0 + malformed"},
		{"leading zeros", "Content-Length: 003\r\n", "abc", "POST /1 3 > 200 0 + malformed"},
		{"equal lengths", "Content-Length: 3\r\nContent-Length: 3, 3\r\n", "abc", "POST /1 3 > 200 0 +"},
		{"space before colon", "Content-Length : 3\r\n", "abc", "POST /1 3 > 200 0 + malformed"},
		{"expect with length 0", "Expect: 100-continue\r\nContent-Length: 0\r\n", "", "POST /1 0 > 200 0 +"},
		{"two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n", "abc", "POST /1 0 > 200 0 malformed"},
		{"list of two lengths", "Content-Length: 3, 4\r\n", "abc", "POST /1 0 > 200 0 malformed"},
		{"negative length", "Content-Length: -3\r\n", "abc", "POST /1 0 > 200 0 malformed"},
		{"signed length", "Content-Length: +3\r\n", "abc", "POST /1 0 > 200 0 malformed"},
		{"empty length", "Content-Length:\r\n", "", "POST /1 0 > 200 0 malformed"},
		{"length of 2^64", "Content-Length: 18446744073709551616\r\n", "abc", "POST /1 0 > 200 0 malformed"},
		{"length of 2^63", "Content-Length: 9223372036854775808\r\n", "abc", "POST /1 0 > 200 0 malformed"},
		{"unknown coding", "Transfer-Encoding: x\r\n", "abc", "POST /1 0 > 200 0 malformed"},
		{"chunked not last", "Transfer-Encoding: chunked, x\r\n", "abc", "POST /1 0 > 200 0 malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := full(t)
			h.client("POST /1 HTTP/1.1\r\n" + tc.fields + "\r\n" + tc.body)
			h.server(ok(""))
			h.client(get(2)) // still seen
			h.server(ok("x"))
			expect(t, h.close(reassembly.CloseFIN), tc.want, "GET /2 0 > 200 1 +")
		})
	}
}

func TestCase63ContradictoryResponse(t *testing.T) {
	h := full(t)
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc")
	h.client(get(2))
	h.server(ok("x"))
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 0 malformed", "GET /2 0 > 200 1 +")

	h = full(t) // RFC 9112 §6.3: a response not chunked last ends with the stream
	h.client(get(1))
	h.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc")
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 3 +")
}

func TestCase64SwitchOfProtocols(t *testing.T) {
	h := full(t)
	h.client(get(1))
	h.server(ok(""))
	h.client("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	h.server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")
	expect(t, h.records, "GET /1 0 > 200 0 +", "GET /ws 0 > 101 0 +")
	h.client("\x81\x85GET /x HTTP/1.1\r\n\r\n")
	h.gap(fromServer, 100)
	h.server("HTTP/1.1 200 OK\r\n\r\n")
	if n := len(h.close(reassembly.CloseFIN)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	if h.shared.Stats.TunnelledBytes != 7+21+19 || h.shared.Stats.GapBytes != 100 {
		t.Errorf("stats %+v", h.shared.Stats)
	}
}

func TestCase65OtherProtocolAfter101(t *testing.T) {
	h := full(t)
	h.client("POST /1 HTTP/1.1\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc")
	h.server("HTTP/1.1 101 Switching Protocols\r\n\r\n")
	h.server("\x00\x00\x12\x04\x00\x00\x00\x00\x00")
	h.client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	expect(t, h.close(reassembly.CloseFIN), "POST /1 3 > 101 0 +")
	if h.shared.Stats.TunnelledBytes != 9+24 || h.shared.Stats.SkippedBytes != 0 {
		t.Errorf("stats %+v", h.shared.Stats)
	}
}

func TestCase66Connect(t *testing.T) {
	const connect = "CONNECT h:443 HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic x\r\n\r\n"
	h := full(t)
	h.client(connect)
	h.server("HTTP/1.1 407 Auth\r\nContent-Length: 4\r\n\r\nauth")
	h.client(connect)
	h.server("HTTP/1.1 200 Established\r\nContent-Length: 5\r\n\r\n\x16\x03\x01")
	h.client("\x16\x03\x01")
	xs := h.close(reassembly.CloseFIN)
	expect(t, xs, "CONNECT h:443 0 > 407 4 +", "CONNECT h:443 0 > 200 0 +")
	if xs[0].Request.Authority != "h:443" || xs[0].Request.Headers[1].Value != "***" {
		t.Errorf("request %v", xs[0].Request)
	}
	if h.shared.Stats.TunnelledBytes != 6 {
		t.Errorf("stats %+v", h.shared.Stats)
	}

	h = full(t) // the client doesn't wait for the answer
	h.client(connect + "\x16\x03\x01")
	h.server("HTTP/1.1 200 OK\r\n\r\nabc")
	expect(t, h.close(reassembly.CloseRST), "CONNECT h:443 0 > 200 0 +")
	if h.shared.Stats.TunnelledBytes != 6 {
		t.Errorf("stats %+v", h.shared.Stats)
	}
}

func TestCase67OddRequests(t *testing.T) {
	for _, tc := range []struct{ request, want string }{
		{"get /1 HTTP/1.1\r\n\r\n", "get /1 0 > 200 0 +"},
		{"FROBNICATE /1 HTTP/1.1\r\n\r\n", "FROBNICATE /1 0 > 200 0 +"},
		{"GET /1 HTTP/1.1\nHost: h\n\n", "GET /1 0 > 200 0 + malformed"},
		{"\r\n\n\r\nGET /1 HTTP/1.1\r\n\r\n", "GET /1 0 > 200 0 +"},
		{"GET /a b HTTP/1.1\r\n\r\n", "GET /a b 0 > 200 0 + malformed"},
		{"GET HTTP/1.1\r\n\r\n", "GET  0 > 200 0 + malformed"},
		{"GET  HTTP/1.1\r\n\r\n", "GET  0 > 200 0 + malformed"},
		{"GET /1\r\nHost: h\r\n\r\n", "GET /1 0 > 200 0 + malformed"},
		{"GET  /1  HTTP/1.1\r\n\r\n", "GET /1 0 > 200 0 + malformed"},
		{"GET /1 HTTP/1.1 \r\n\r\n", "GET /1 0 > 200 0 + malformed"},
		{"GET /1 HTTP/3.7\r\n\r\n", "GET /1 0 > 200 0 + malformed"},
		{"GET /1 HTTP/1.\r\n\r\n", "GET /1 0 > 200 0 + malformed"},
		{"GET /1HTTP/1.1\r\n\r\n", "GET /1HTTP/1.1 0 > 200 0 + malformed"},
		{"GET /1 HTTP/1.1\r\nno colon\r\n: empty\r\n folded: start\r\nA: b\r\n\r\n", "GET /1 0 > 200 0 + malformed"},
	} {
		h := full(t)
		h.client(tc.request)
		h.server(ok(""))
		h.client(get(2))
		h.server(ok(""))
		expect(t, h.close(reassembly.CloseFIN), tc.want, "GET /2 0 > 200 0 +")
	}
	h := full(t) // the end of a request line
	h.client("12 HTTP/1.1\r\n\r\n")
	h.server(ok(""))
	h.client(get(2))
	h.server(ok(""))
	expect(t, h.close(reassembly.CloseFIN), "- > 200 0 no_request", "GET /2 0 > 200 0 +")
	h = full(t) // HTTP/0.9
	h.client("GET /1\r\n")
	h.server("<html>")
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > - no_response closed_early malformed")
}

func TestCase67OddResponses(t *testing.T) {
	for _, tc := range []struct{ status, reason, want string }{
		{"HTTP/1.1 200\r\n", "", "GET /1 0 > 200 0 +"},
		{"HTTP/1.1 200 \r\n", "", "GET /1 0 > 200 0 +"},
		{"HTTP/1.1 404 Not  here\n", "Not  here", "GET /1 0 > 404 0 + malformed"},
		{"HTTP/1.1  200 OK\r\n", "OK", "GET /1 0 > 200 0 + malformed"},
		{"HTTP/1.1 999 Odd\r\n", "Odd", "GET /1 0 > 999 0 + malformed"},
		{"HTTP/1.1 200 \xff\xfe!\r\n", "\uFFFD!", "GET /1 0 > 200 0 +"},
	} {
		h := full(t)
		h.client(get(1))
		h.server("\r\n" + tc.status + "Content-Length: 0\r\n\r\n")
		expect(t, h.records, tc.want)
		if len(h.records) == 1 && h.records[0].Response.Reason != tc.reason {
			t.Errorf("%q: reason %q", tc.status, h.records[0].Response.Reason)
		}
	}
}

func TestCase68NotHTTP(t *testing.T) {
	h := full(t)
	h.client("SSH-2.0-OpenSSH_9.6\r\n")
	h.server("SSH-2.0-OpenSSH_9.6\r\n")
	for range 40 {
		h.client(strings.Repeat("\x00\x01", 1000))
		h.server(strings.Repeat("\x00\x01", 1000))
	}
	expect(t, h.close(reassembly.CloseFIN))
	if h.shared.Stats.GivenUp != 2 || h.shared.Stats.SkippedBytes != h.fed {
		t.Errorf("stats %+v", h.shared.Stats)
	}

	h = full(t) // garbage behind a request
	h.client(get(1) + "\x00\x01\x02garbage")
	h.server(ok("x"))
	h.server("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n?")
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 +", "- > 400 1 no_request")
	if h.shared.Stats.SkippedBytes != 10 {
		t.Errorf("stats %+v", h.shared.Stats)
	}
}

func TestCase69Unmatched(t *testing.T) {
	h := full(t)
	h.server(ok("x"))
	h.client(get(1))
	expect(t, h.close(reassembly.CloseTimeout), "- > 200 1 no_request", "GET /1 0 > - no_response timeout")
	if x := h.records[0]; x.Client.Port != 40000 || x.Server.Port != 80 || x.Request != nil {
		t.Errorf("response without request: %v", x)
	}

	for r, want := range map[reassembly.CloseReason]string{
		reassembly.CloseFIN: "no_response", reassembly.CloseRST: "no_response", reassembly.CloseReplaced: "no_response",
		reassembly.CloseTimeout: "no_response timeout", reassembly.CloseEvicted: "no_response evicted",
		reassembly.CloseEndOfCapture: "no_response capture_ended", reassembly.CloseSourceLost: "no_response capture_ended",
	} {
		h := full(t)
		h.client(get(1))
		expect(t, h.close(r), "GET /1 0 > - "+want)
	}
	h = full(t)
	h.client("POST /1 HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
	expect(t, h.close(reassembly.CloseRST), "POST /1 3 > - no_response closed_early")
	h = full(t)
	h.client("POST /1 HTTP/1.1\r\nContent-Length: 9\r\nX: un")
	expect(t, h.close(reassembly.CloseRST), "POST /1 0 > - no_response closed_early")
	if n := len(h.records[0].Request.Headers); n != 1 {
		t.Errorf("%d headers of a head cut off in the second", n)
	}
}

func TestCase70MoreResponsesThanRequests(t *testing.T) {
	h := full(t)
	for i := range 5 {
		h.client(get(i))
		h.server(ok("a"))
		if i == 1 || i == 3 {
			h.server(ok("extra")) // answers nothing
		}
	}
	expect(t, h.close(reassembly.CloseFIN), "GET /0 0 > 200 1 +", "GET /1 0 > 200 1 +", "- > 200 5 no_request",
		"GET /2 0 > 200 1 +", "GET /3 0 > 200 1 +", "- > 200 5 no_request", "GET /4 0 > 200 1 +")
}

func TestStatusLinesThatBrowsersTake(t *testing.T) {
	for _, line := range []string{
		"HTTP/1.01 200 ok", "HTTP/1.10 200 ok", "HTTP/1.1\t200 ok", "HTTP/1\x00.1 200 ok", "HTTP/1.\xff 200 ok", "HTTP/1.1  200", "HTTP/1.1 \t200 ok",
	} {
		for _, size := range []int{1, 100} {
			h := full(t)
			h.client(get(1))
			for b := line + "\r\nContent-Length: 1\r\n\r\na"; b != ""; {
				n := min(size, len(b))
				h.server(b[:n])
				b = b[n:]
			}
			h.client(get(2))
			h.server(ok("bb"))
			xs := h.close(reassembly.CloseFIN)
			expect(t, xs, "GET /1 0 > 200 1 + malformed", "GET /2 0 > 200 2 +")
			if v := xs[0].Response.Version; !utf8.ValidString(v) {
				t.Errorf("version %q", v)
			}
		}
	}
	for _, line := range []string{"HTTP 200 ok", "HTTP/1.1.1.1.1.1.1.1.1 200 ok", "HTTP/1.1", "HTTQ/1.1 200 ok"} {
		h := full(t)
		h.client(get(1))
		h.server(line + "\r\nContent-Length: 1\r\n\r\na")
		expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > - no_response")
	}
}

func TestCase71RolesByContent(t *testing.T) {
	for _, firstBytes := range []string{"request", "response"} {
		conn := testConn()
		conn.Midstream, conn.ClientKnown, conn.Client = true, false, flow.AToB
		h := newHarness(t, Config{}, 0, conn)
		// The client is the other end here.
		if firstBytes == "response" {
			h.send(fromClient, "tail of a body")
			h.send(fromClient, ok("R0"))
		} else {
			h.send(fromServer, "tail of a request")
			h.send(fromClient, ok("R0"))
		}
		h.send(fromServer, get(1)[:3])
		h.send(fromServer, get(1)[3:])
		h.send(fromClient, ok("1"))
		h.send(fromServer, get(2))
		h.send(fromClient, ok("22"))
		xs := h.close(reassembly.CloseFIN)
		expect(t, xs, "- > 200 2 no_request", "GET /1 0 > 200 1 +", "GET /2 0 > 200 2 +")
		if xs[0].Client.Port != 80 {
			t.Errorf("client %v", xs[0].Client)
		}
	}
}

// TestLongLineWhereThePlaceIsLost: a line that is kept until it is known to be one may be
// longer than the limit of a section.
func TestLongLineWhereThePlaceIsLost(t *testing.T) {
	for _, length := range []int{200, 247, 248, 249, 300, 600, 5000} {
		for _, size := range []int{1 << 10, 300, 100, 63} {
			h := newHarness(t, Config{MaxHeadLen: minHeadLen}, 0, testConn())
			h.gap(fromClient, 1)
			for b := "POST /" + strings.Repeat("a", length) + " HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"; b != ""; {
				n := min(size, len(b))
				h.client(b[:n])
				b = b[n:]
			}
			h.client(get(2))
			xs := h.close(reassembly.CloseFIN)
			if len(xs) != 2 || xs[0].Request.Body.Size != 3 || xs[1].Request.Target != "/2" {
				t.Errorf("target of %d bytes in segments of %d: %q", length, size, summaries(xs))
				continue
			}
			if want := min(len("/")+length, minHeadLen-len("POST ")); len(xs[0].Request.Target) != want {
				t.Errorf("target of %d bytes in segments of %d: %d are told, want %d", length+1, size, len(xs[0].Request.Target), want)
			}
		}
	}
}

func TestCase72LongHeads(t *testing.T) {
	cfg := Config{MaxHeadLen: 1000}
	long := strings.Repeat("v", 3000)
	for _, tc := range []struct {
		name, request string
		headers       int
		want          string
	}{
		{"exactly the limit", "GET /1 HTTP/1.1\r\nX: " + long[:1000-17-3-4] + "\r\n\r\n", 1, "GET /1 0 > 200 0 +"},
		{"one more", "GET /1 HTTP/1.1\r\nX: " + long[:1000-17-3-3] + "\r\n\r\n", 1, "GET /1 0 > 200 0 headers_cut"},
		{"length behind the cut", "POST /1 HTTP/1.1\r\nA: b\r\nX: " + long + "\r\nContent-Length: 3\r\nY: z\r\n\r\nabc", 1, "POST /1 3 > 200 0 headers_cut"},
		{"chunked behind the cut, folded", "POST /1 HTTP/1.1\r\nA: b\r\nX: " + long + "\r\n fold\r\nTransfer-Encoding:\r\n chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1,
			"POST /1 3 > 200 0 headers_cut malformed"},
		{"cut in a folded field", "POST /1 HTTP/1.1\r\nA: b\r\nX: " + long[:900] + "\r\n " + long[:50] + "\r\n " + long + "\r\nContent-Length: 3\r\n\r\nabc", 1, "POST /1 3 > 200 0 headers_cut malformed"},
		{"framing field too long", "POST /1 HTTP/1.1\r\nA: b\r\nX: " + long + "\r\nTransfer-Encoding: " + long + "\r\n\r\n", 1, "POST /1 0 > 200 0 headers_cut malformed"},
		{"many fields", "GET /1 HTTP/1.1\r\n" + strings.Repeat("A: bc\r\n", 2000) + "\r\n", 140, "GET /1 0 > 200 0 headers_cut"},
		{"many fields, bare LF", "GET /1 HTTP/1.1\n" + strings.Repeat("A: bc\n", 2000) + "\n", 163, "GET /1 0 > 200 0 headers_cut malformed"},
		{"trailers", "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nX: " + long + "\r\n\r\n", 1, "POST /1 0 > 200 0 headers_cut"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 1, 7, 333} {
				h := newHarness(t, cfg, 0, testConn())
				for b := tc.request; b != ""; {
					n := min(size, len(b))
					h.client(b[:n])
					b = b[n:]
				}
				h.server(ok(""))
				h.client(get(2))
				h.server(ok(""))
				expect(t, h.close(reassembly.CloseFIN), tc.want, "GET /2 0 > 200 0 +")
				if n := len(h.records[0].Request.Headers); n != tc.headers {
					t.Errorf("%d headers, want %d", n, tc.headers)
				}
			}
		})
	}
	t.Run("long target", func(t *testing.T) {
		for _, size := range []int{1 << 20, 100} {
			h := newHarness(t, cfg, 0, testConn())
			for b := "POST /" + long + " HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + get(2); b != ""; {
				n := min(size, len(b))
				h.client(b[:n])
				b = b[n:]
			}
			h.server(ok("") + ok(""))
			expect(t, h.close(reassembly.CloseFIN), "POST /"+long[:1000-6]+" 3 > 200 0 headers_cut", "GET /2 0 > 200 0 +")
		}
	})
	t.Run("200 headers of a default parser", func(t *testing.T) {
		h := full(t)
		h.client("GET /1 HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n")
		h.server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("A: b\r\n", 2000) + "\r\n")
		expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 0 headers_cut")
		if n := len(h.records[0].Request.Headers); n != 200 {
			t.Errorf("%d request headers", n)
		}
		if n := len(h.records[0].Response.Headers); n != defaultMaxFields {
			t.Errorf("%d response headers", n)
		}
	})
	t.Run("lines that are no fields before more than are kept", func(t *testing.T) {
		for others := range 5 {
			h := full(t)
			h.client("GET /1 HTTP/1.1\r\n")
			h.client(strings.Repeat("no colon\r\n", others) + strings.Repeat("A: b\r\n", defaultMaxFields+1) + "\r\n")
			h.close(reassembly.CloseFIN)
			if n := len(h.records[0].Request.Headers); n != defaultMaxFields {
				t.Errorf("behind %d: %d headers", others, n)
			}
		}
	})
}

// TestPendingRequestsAreBoundedByMemory pipelines large requests that nobody
// answers: the oldest are told, so that what is kept stays small.
func TestPendingRequestsAreBoundedByMemory(t *testing.T) {
	const limit = 64 << 10
	h := newHarness(t, Config{MaxPendingBytes: limit}, 0, testConn())
	large := "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 200) + "\r\n"
	for range 50 {
		h.c.Data(fromClient, reassembly.Chunk{Time: 1, Offset: h.offset[fromClient], Acked: 0, Bytes: []byte(large)})
		h.offset[fromClient] += int64(len(large))
		kept := 0
		for _, x := range h.pending() {
			kept += x.size()
		}
		if kept > limit || kept > 0 && kept != h.c.pairing.cost {
			t.Fatalf("%d bytes kept, limit %d, %+v", kept, limit, h.c.inFlight)
		}
	}
	h.c.Close(2, reassembly.CloseFIN)
	if len(h.records) != 50 || h.c.inFlight != nil || h.shared.landed[0].cost != 0 {
		t.Errorf("%d records of 50, %+v still in flight", len(h.records), h.c.inFlight)
	}
}
