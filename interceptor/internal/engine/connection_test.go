package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/interceptor/internal/l7/http1"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

const (
	request  = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
	preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

func TestDetect(t *testing.T) {
	clientHello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	tests := []struct {
		bytes string
		want  Protocol
	}{
		{request, HTTP1},
		{response, HTTP1},
		{"POST /long/path", Undecided},
		{"POST /long/path HTTP/1.1", HTTP1},
		{"POST /" + strings.Repeat("long", 1000), HTTP1},
		{preface, HTTP2},
		{"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", HTTP2}, // a server's settings
		{"\x00\x00\x06\x04", Undecided},
		{"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88", Unknown}, // no connection starts with HEADERS
		{preface[:23], Undecided},
		{"PRI * HTTP/20", Unknown},
		{"PR", Undecided},
		{clientHello, TLS},
		{clientHello[:5], TLS},
		{clientHello[:4], Undecided},
		{"\x17\x03\x03\x00\x45rest", TLS},
		{"\x16\x03\x01\x00\x00", Unknown},    // a record is never empty
		{"\x16\x03\x01\xff\xff", Unknown},    // nor that long
		{"\x18\x03\x01\x00\x45", Unknown},    // no such content type
		{"SSH-2.0-OpenSSH_9.2\r\n", Unknown}, // no method ends in a dash
		{"220 mail.example ESMTP", Unknown},  // digits start no request
		{"\x00\x00\x00\x10binary", Unknown},
	}
	for _, tt := range tests {
		if got := detect([]byte(tt.bytes), false); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.bytes, got, tt.want)
		}
	}
	if got := detect([]byte("GET /logged HTTP/1.1 200\r\n"), true); got != Unknown {
		t.Errorf("a line of a log, joined midstream: %v", got)
	}
}

// play hands pieces to a connection: "C:" from the client, "S:" from the
// server, "c:"/"s:" a gap of as many bytes.
func play(t *testing.T, midstream bool, pieces ...string) ([]*capstanv1.Exchange, *Engine) {
	t.Helper()
	var records []*capstanv1.Exchange
	e := New(Config{Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
	e.play(midstream, pieces...)
	return records, e
}

// play hands pieces to a connection of e, during which the capture ends.
func (e *Engine) play(midstream bool, pieces ...string) {
	e.playTo(reassembly.CloseEndOfCapture, midstream, pieces...)
}

// playTo hands pieces to a connection of e, which ends so.
func (e *Engine) playTo(end reassembly.CloseReason, midstream bool, pieces ...string) {
	conn := &reassembly.Conn{Midstream: midstream, ClientKnown: !midstream, Client: flow.AToB}
	var first []byte
	if s, ok := strings.CutPrefix(pieces[0], "C:"); ok {
		first = []byte(s)
	}
	playInto(e.shard.handler(conn, flow.AToB, first), conn, end, pieces...)
}

// playInto hands pieces to conn, whose handler is h at first, and which ends so.
func playInto(h reassembly.Handler, conn *reassembly.Conn, end reassembly.CloseReason, pieces ...string) {
	conn.Handler = h
	var offset [2]int64
	for i, p := range pieces {
		d, body := flow.AToB, p[2:]
		if strings.EqualFold(p[:1], "s") {
			d = flow.BToA
		}
		time := int64(i+1) * 1000
		if p[0] >= 'a' {
			conn.Handler.Gap(d, reassembly.Gap{Time: time, Offset: offset[d], Acked: -1, Len: int64(len(body))})
		} else {
			conn.Handler.Data(d, reassembly.Chunk{Time: time, Offset: offset[d], Acked: offset[d.Reverse()], Bytes: []byte(body)})
		}
		offset[d] += int64(len(body))
	}
	conn.Handler.Close(1_000_000, end)
}

// icap is a conversation of ICAP, whose messages' parts start segments.
var icap = []string{
	"C:REQMOD icap://filter.example/scan ICAP/1.0\r\nEncapsulated: req-hdr=0, null-body=32\r\n\r\n", "C:" + request,
	"S:ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, null-body=32\r\n\r\n", "S:" + request,
	"C:RESPMOD icap://filter.example/scan ICAP/1.0\r\nEncapsulated: req-hdr=0, res-hdr=32, res-body=80\r\n\r\n", "C:" + request, "C:" + response,
	"S:ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=48\r\n\r\n", "S:" + response,
}

func TestConnectionDecides(t *testing.T) {
	tests := []struct {
		name      string
		midstream bool
		pieces    []string
		protocol  Protocol
		complete  int // exchanges
	}{
		{"whole", false, []string{"C:" + request, "S:" + response}, HTTP1, 1},
		{"request byte by byte", false, append(split("C:", request), "S:"+response), HTTP1, 1},
		{"long target in segments", false, []string{"C:GET /" + strings.Repeat("x", 1400), "C:" + strings.Repeat("y", 1448), "C: HTTP/1.1\r\n\r\n", "S:" + response}, HTTP1, 1},
		{"both byte by byte", false, append(split("C:", request), split("S:", response)...), HTTP1, 1},
		{"two exchanges", false, []string{"C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1, 2},
		{"encrypted", false, []string{"C:\x16\x03\x01\x02\x00\x01", "S:\x16\x03\x03\x00\x7a\x02"}, TLS, 0},
		{"prior knowledge", false, []string{"C:" + string(preface)}, HTTP2, 0},
		{"server speaks first", false, []string{"S:220 mail.example ESMTP\r\n", "C:EHLO me\r\n"}, Unknown, 0},
		{"ICAP", false, icap, Unknown, 0},
		{"ICAP, joined", true, icap, Unknown, 0},
		{"ICAP, joined at its server", true, icap[2:], Unknown, 0},
		{"ICAP, joined inside a message", true, append([]string{"C:1a\r\nthe rest of a body\r\n0\r\n\r\n"}, icap...), Unknown, 0},
		{"ICAP, start missing", false, append([]string{"c:" + request}, icap...), Unknown, 0},
		{"joined inside a body", true, []string{"S:...the rest of a body", "C:" + request, "S:" + response}, HTTP1, 1},
		{"joined inside something else", true, []string{"S:\x00\x01\x02", "C:\x00\x01"}, Undecided, 0},
		{"joined at a keep-alive probe", true, []string{"C:\x00", "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1, 2},
		{"joined at the end of a request", true, []string{"C:POST", "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1, 1},
		{"cut in the request line", false, []string{"C:GET /1 HTT", "c:lost", "S:" + response, "C:" + request, "S:" + response}, HTTP1, 1},
		{"cut in the target", false, []string{"C:GET /1", "c:lost", "S:" + response, "C:" + request, "S:" + response}, HTTP1, 1},
		{"cut in what may be a target", true, []string{"C:GET /1", "c:lost"}, Undecided, 0},
		{"cut behind a target", true, []string{"C:GET /1 HT", "c:lost"}, HTTP1, 0},
		{"cut in the preface", false, []string{"C:" + preface[:14], "c:" + preface[14:]}, HTTP2, 0},
		{"first bytes lost", false, []string{"c:lost", "C:mething else", "S:" + "xyz", "C:" + request, "S:" + response}, HTTP1, 1},
		{"too little", false, []string{"C:GE"}, Undecided, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records, e := play(t, tt.midstream, tt.pieces...)
			if e.shard.protocols[tt.protocol].Connections != 1 {
				t.Errorf("counted as %+v, want one %v", e.shard.protocols, tt.protocol)
			}
			complete, bytes := 0, uint64(0)
			for _, x := range records {
				if x.Complete {
					complete++
				}
			}
			for _, p := range e.shard.protocols {
				bytes += p.Bytes
				if p.Active != 0 {
					t.Errorf("still open: %+v", e.shard.protocols)
				}
			}
			want := uint64(0)
			for _, p := range tt.pieces {
				if p[0] < 'a' {
					want += uint64(len(p) - 2)
				}
			}
			if bytes != want {
				t.Errorf("%d bytes counted of %d", bytes, want)
			}
			if complete != tt.complete {
				t.Errorf("%d complete exchanges, want %d: %v", complete, tt.complete, records)
			}
		})
	}
}

// TestHTTP2ThatTellsNothing: a connection that no exchange comes of has a record of its
// own, one that has told an exchange has not.
func TestHTTP2ThatTellsNothing(t *testing.T) {
	start := string(preface) + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // SETTINGS
	for _, tt := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"never used", []string{"C:" + start, "S:\x00\x00\x00\x04\x00\x00\x00\x00\x00"}, "OTHER http2 33 9 0"},
		{"undecided at first", []string{"C:" + start[:4], "C:" + start[4:]}, "OTHER http2 33 0 0"},
		{"requests lost", []string{"C:" + start, "c:lost", "S:\x00\x00\x00\x04\x00\x00\x00\x00\x00"}, "OTHER http2 33 9 4"},
		{"cut in the preface", []string{"C:" + string(preface[:14]), "c:" + string(preface[14:])}, "OTHER http2 14 0 10"},
		{"used", []string{"C:" + start + "\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x87"}, "HTTP2"}, // GET / by https
	} {
		records, _ := play(t, false, tt.pieces...)
		got := ""
		for _, x := range records {
			got += strings.TrimPrefix(x.Protocol.String(), "PROTOCOL_")
			if c := x.Connection; c != nil {
				got += fmt.Sprintf(" %s %d %d %d", c.LooksLike, c.Client.Bytes, c.Server.Bytes, c.Client.GapBytes)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestRequestsBeforeTheDecision: requests inside of what was passed over before a
// protocol was found tell that their client does not wait for responses.
func TestRequestsBeforeTheDecision(t *testing.T) {
	for _, tt := range []struct {
		passed string
		pairs  int
	}{
		{"the end of a body\r\n", 2},
		{"the end of a body\r\n" + request + request, 0},
	} {
		pieces := []string{"c:" + request, "C:" + tt.passed, "S:" + response}
		for range 2 {
			pieces = append(pieces, "C:"+request, "S:"+response)
		}
		records, _ := play(t, false, pieces...)
		pairs := 0
		for _, x := range records {
			if x.Request != nil && x.Response != nil {
				pairs++
			}
		}
		if pairs != tt.pairs {
			t.Errorf("%q passed over: %d pairs, want %d: %v", tt.passed, pairs, tt.pairs, records)
		}
	}
}

func split(prefix, s string) (pieces []string) {
	for i := range len(s) {
		pieces = append(pieces, prefix+s[i:i+1])
	}
	return pieces
}

// TestBeginsWithRequest holds that a connection that begins with a usual request line comes
// to what any would come to.
func TestBeginsWithRequest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	starts := []string{"GET /a?b HTTP/1.1\r\n", request, "PROXY / HTTP/1.1\r\n", "PROXY UNKNOWN HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n"}
	begun := 0
	for range 3000 {
		first := []byte(starts[r.IntN(len(starts))] + request[:r.IntN(len(request))])
		for range r.IntN(3) {
			first[r.IntN(len(first))] = " /\r\n\x00\x7f\xffaA:?"[r.IntN(11)]
		}
		pieces := []string{"C:" + string(first), "C:" + request, "S:" + response, "S:" + response}[:1+r.IntN(4)]
		run := func(open func(*shard, *reassembly.Conn) reassembly.Handler) ([]*capstanv1.Exchange, Counters) {
			var records []*capstanv1.Exchange
			e := New(Config{HTTP1: http1.Config{MaxHeadLen: 256}, Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
			conn := &reassembly.Conn{ClientKnown: true, Client: flow.AToB}
			playInto(open(e.shard, conn), conn, reassembly.CloseEndOfCapture, pieces...)
			return records, e.shard.counters()
		}
		records, counters := run(func(s *shard, conn *reassembly.Conn) reassembly.Handler {
			h := s.handler(conn, flow.AToB, first)
			if _, ok := h.(*httpConnection); ok {
				begun++
			}
			return h
		})
		want, wantCounters := run(func(s *shard, conn *reassembly.Conn) reassembly.Handler { return s.newConnection(conn) })
		if !slices.EqualFunc(records, want, func(a, b *capstanv1.Exchange) bool { return proto.Equal(a, b) }) || counters != wantCounters {
			t.Fatalf("%q: %v %+v, want %v %+v", pieces, records, counters, want, wantCounters)
		}
	}
	if begun < 500 {
		t.Fatalf("only %d began so", begun)
	}
}

// TestUndecidedIsBounded sends bytes, one at a time, that could become a
// protocol for long.
func TestUndecidedIsBounded(t *testing.T) {
	e := New(Config{Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}}})
	c := e.shard.newConnection(&reassembly.Conn{ClientKnown: true, Client: flow.AToB})
	for i, b := range []byte("FOO /" + strings.Repeat("a", maxHeld)) {
		c.Data(flow.AToB, reassembly.Chunk{Time: int64(i), Offset: int64(i), Acked: 0, Bytes: []byte{b}})
		if len(c.held) > maxHeldChunks || c.heldLen > maxHeld {
			t.Fatalf("%d chunks of %d bytes held", len(c.held), c.heldLen)
		}
		if c.whole != nil && len(c.whole[flow.AToB]) != c.heldLen {
			t.Fatalf("%d bytes held, of them in one piece %d", c.heldLen, len(c.whole[flow.AToB]))
		}
	}
	if c.protocol != Unknown || c.held != nil || c.whole != nil {
		t.Errorf("still %v, holding %d chunks", c.protocol, len(c.held))
	}
}

// TestCutRequestOfAnUnknownStart joins a connection at a request that a snap length cuts in
// its path: it is one if the other end answers, and no pair, since nothing tells that the
// response is its.
func TestCutRequestOfAnUnknownStart(t *testing.T) {
	const cut = "GET /a/path/that/goes/on"
	for _, tt := range []struct {
		name   string
		pieces []string
		told   bool // the request
	}{
		{"answered", []string{"C:" + cut, "c:lost", "S:" + response}, true},
		{"answered in pieces", append([]string{"C:" + cut, "c:lost"}, split("S:", response)...), true},
		{"behind something", []string{"S:rest", "C:rest", "C:" + cut, "c:lost", "S:" + response}, true},
		{"asked again", []string{"C:" + cut, "c:lost", "C:" + request}, true},
		{"not answered", []string{"C:" + cut, "c:lost", "S:text"}, false},
		{"not alone", []string{"C:" + cut, "c:lost", "S:text", "C:text", "S:" + response}, false},
		{"answered by a request", []string{"C:" + cut, "c:lost", "S:" + request}, false},
		{"of who answers", []string{"C:" + cut, "c:lost", "C:" + response}, false},
		{"no path", []string{"C:GET it", "c:lost", "S:" + response}, false},
		{"one of many", append(slices.Repeat([]string{"C:" + cut, "c:lost"}, 20), "C:"+request), true},
		{"one of too many", append(slices.Repeat([]string{"C:" + cut, "c:lost"}, 2*maxHeldChunks), "C:"+request), false},
	} {
		told := false
		records, _ := play(t, true, tt.pieces...)
		for _, x := range records {
			if target := x.Request.GetTarget(); target != "" && target != cut[len("GET "):] && target != "/x" {
				t.Errorf("%s: told of %q, which nobody asked for", tt.name, target)
			}
			if x.Request.GetTarget() == cut[len("GET "):] {
				told = slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_HEADERS_CUT) && slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_GAP) && x.Client.GetPort() == records[0].Client.GetPort()
				if x.Response != nil || x.Complete {
					t.Errorf("%s: told %v", tt.name, x)
				}
			}
		}
		if told != tt.told {
			t.Errorf("%s: the request is told: %v; records %v", tt.name, told, records)
		}
	}
}
