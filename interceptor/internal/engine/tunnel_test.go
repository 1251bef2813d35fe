package engine

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// told is a record in a few words.
func words(x *capstanv1.Exchange) string {
	s := strings.TrimPrefix(x.Protocol.String(), "PROTOCOL_")
	switch {
	case x.Tls != nil:
		s += " " + x.Tls.ServerName
	case x.Websocket != nil:
		s += fmt.Sprintf(" %d/%d", len(x.Websocket.Messages), x.Websocket.Client.CloseCode)
	case x.Connection != nil:
		s += fmt.Sprintf(" %s %d/%d", x.Connection.LooksLike, x.Connection.Client.Bytes, x.Connection.Server.Bytes)
	default:
		s += fmt.Sprintf(" %s %s %d", x.Request.GetMethod(), x.Request.GetTarget(), x.Response.GetStatus())
	}
	return s
}

// clientHello returns what a TLS client says first.
func clientHello(t testing.TB, name string) string {
	t.Helper()
	a, b := net.Pipe()
	said := make(chan string, 1)
	go func() { // ends with its connection
		buf := make([]byte, 4096)
		n, _ := b.Read(buf)
		said <- string(buf[:n])
		b.Close()
	}()
	if err := tls.Client(a, &tls.Config{ServerName: name}).Handshake(); err == nil {
		t.Fatal(errors.New("a handshake without a peer"))
	}
	return <-said
}

// TestBehindHTTP tells what connections carry after they have left HTTP/1.
func TestBehindHTTP(t *testing.T) {
	const (
		connect = "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"
		made    = "HTTP/1.1 200 OK\r\n\r\n"
		refused = "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
	)
	hello := clientHello(t, "inner.example")
	upgrade := func(to string) (ask, answer string) {
		return "GET /up HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: " + to + "\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + to + "\r\n\r\n"
	}
	askWS, wsMade := upgrade("websocket")
	askTCP, tcpMade := upgrade("tcp")
	for _, tt := range []struct {
		name     string
		pieces   []string
		protocol Protocol
		want     []string
	}{
		{"HTTP in a tunnel", []string{"C:" + connect, "S:" + made, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1,
			[]string{"HTTP1 CONNECT h:1 200", "HTTP1 GET /x 200", "HTTP1 GET /x 200"}},
		{"TLS in a tunnel", []string{"C:" + connect, "S:" + made, "C:" + hello}, TLS, []string{"HTTP1 CONNECT h:1 200", "TLS inner.example"}},
		{"in one segment with the answer", []string{"C:" + connect, "S:" + made + "SSH-2.0-a\r\n", "C:SSH-2.0-b\r\n"}, Unknown,
			[]string{"HTTP1 CONNECT h:1 200", "OTHER ssh 11/11"}},
		{"before the answer", []string{"C:" + connect + hello[:100], "C:" + hello[100:], "S:" + made}, TLS, []string{"HTTP1 CONNECT h:1 200", "TLS inner.example"}},
		{"a tunnel in a tunnel", []string{"C:" + connect, "S:" + made, "C:" + connect, "S:" + made, "C:" + request, "S:" + response}, HTTP1,
			[]string{"HTTP1 CONNECT h:1 200", "HTTP1 CONNECT h:1 200", "HTTP1 GET /x 200"}},
		{"refused", []string{"C:" + connect, "S:" + refused, "C:" + request, "S:" + response}, HTTP1, []string{"HTTP1 CONNECT h:1 407", "HTTP1 GET /x 200"}},
		{"WebSocket", []string{"C:" + askWS, "S:" + wsMade + "\x81\x02hi", "C:\x88\x82\x00\x00\x00\x00\x03\xe8"}, WebSocket,
			[]string{"HTTP1 GET /up 101", "WEBSOCKET 2/1000"}},
		{"what nobody asked for", []string{"C:" + request, "S:" + makesSocket, "C:" + request, "S:" + response}, HTTP1, []string{"HTTP1 GET /x 101", "HTTP1 GET /x 200"}},
		{"something else", []string{"C:" + askTCP, "S:" + tcpMade, "C:\x00\x01 not known", "S:\x02 not known"}, Unknown, []string{"HTTP1 GET /up 101", "OTHER binary 12/11"}},
		{"WebSocket before the answer", []string{"C:" + askWS, "C:\x81\x82\x00\x00\x00\x00\n\n", "C:\x88\x82\x00\x00\x00\x00\x03\xe8", "S:" + wsMade + "\x81\x02hi"}, WebSocket,
			[]string{"HTTP1 GET /up 101", "WEBSOCKET 3/1000"}},
		{"no HTTP, then no upgrade", []string{"C:" + askTCP, "C:\x00\n", "S:" + response, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1,
			[]string{"HTTP1 GET /up 200", "HTTP1 GET /x 200", "HTTP1 GET /x 200"}},
		{"no HTTP, then HTTP, the answer lost", []string{"C:" + askTCP, "C:\x00\n", "s:" + response, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1,
			[]string{"HTTP1   200", "HTTP1 GET /up 0", "HTTP1 GET /x 0", "HTTP1 GET /x 200"}},
		{"a request lost behind one for an upgrade", []string{"C:" + askTCP, "s:" + response, "c:" + request, "S:" + response, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1,
			[]string{"HTTP1   200", "HTTP1 GET /up 0", "HTTP1 GET /x 200", "HTTP1 GET /x 200"}},
		{"TLS, the answer lost", []string{"C:" + connect, "s:" + made, "C:" + hello[:100], "C:" + hello[100:], "S:\x16\x03\x03\x00\x7a\x02"}, TLS, []string{"HTTP1 CONNECT h:1 0", "TLS inner.example"}},
		{"TLS, CONNECT lost", []string{"c:" + connect, "S:" + made, "C:" + hello[:100], "C:" + hello[100:], "S:\x16\x03\x03\x00\x7a\x02"}, TLS, []string{"HTTP1   200", "TLS inner.example"}},
		{"TLS, a later CONNECT lost", []string{"C:" + request, "S:" + response, "c:" + connect, "S:" + made, "C:" + hello}, TLS, []string{"HTTP1 GET /x 200", "HTTP1   200", "TLS inner.example"}},
		{"HTTP, the answer lost", []string{"C:" + connect, "s:" + made, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1, []string{"HTTP1 CONNECT h:1 0", "HTTP1 GET /x 200", "HTTP1 GET /x 200"}},
		{"CONNECT again, the answer lost", []string{"C:" + connect, "s:" + refused, "C:" + connect, "S:" + made, "C:" + hello}, TLS, []string{"HTTP1 CONNECT h:1 0", "HTTP1 CONNECT h:1 200", "TLS inner.example"}},
		{"HTTP, CONNECT lost", []string{"c:" + connect, "S:" + made, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, HTTP1, []string{"HTTP1   200", "HTTP1 GET /x 200", "HTTP1 GET /x 200"}},
		{"HTTP that did not wait", []string{"C:" + connect, "C:" + request, "s:" + made, "S:" + response}, HTTP1, []string{"HTTP1   200", "HTTP1 CONNECT h:1 0"}},
		{"TLS that did not wait", []string{"C:" + connect, "C:" + hello, "s:" + made, "S:\x16\x03\x03\x00\x7a\x02"}, TLS, []string{"HTTP1 CONNECT h:1 0", "TLS inner.example"}},
		{"TLS that did not wait, and no answer to it", []string{"C:" + connect, "C:" + hello, "s:" + made, "S:\x15\x03\x03\x00\x02\x02"}, HTTP1, []string{"HTTP1 CONNECT h:1 0"}},
		{"WebSocket, the answer lost", []string{"C:" + askWS, "s:" + wsMade, "C:\x81\x82\x00\x00\x00\x00hi", "S:\x81\x02hi", "C:\x88\x82\x00\x00\x00\x00\x03\xe8", "S:\x88\x02\x03\xe8"}, WebSocket,
			[]string{"HTTP1 GET /up 0", "WEBSOCKET 4/1000"}},
		{"WebSocket, the answer lost, the server first", []string{"C:" + askWS, "s:" + wsMade, "S:\x81\x02hi", "C:\x81\x82\x00\x00\x00\x00hi", "S:\x81\x02hi\x88\x02\x03\xe8", "C:\x88\x82\x00\x00\x00\x00\x03\xe8"}, WebSocket,
			[]string{"HTTP1 GET /up 0", "WEBSOCKET 4/1000"}},
		{"WebSocket, the answer lost, half a message", []string{"C:" + askWS, "s:" + wsMade, "C:\x89\x80\x00\x00\x00\x00\x81\x83\x00\x00\x00\x00h", "S:\x8a\x00", "C:i!"}, WebSocket, []string{"HTTP1 GET /up 0", "WEBSOCKET 3/0"}},
		{"frames without masks, the answer lost", []string{"C:" + askWS, "s:" + wsMade, "C:\x81\x02hi", "S:\x81\x02hi"}, HTTP1, []string{"HTTP1 GET /up 0"}},
		{"frames of one end, the answer lost", []string{"C:" + askWS, "s:" + wsMade, "C:\x81\x82\x00\x00\x00\x00hi", "S:\x81\x02h", "S:\x81\x82hi"}, HTTP1, []string{"HTTP1 GET /up 0"}},
		{"frames that did not wait, the answer lost", []string{"C:" + askWS, "C:\x81\x82\x00\x00\x00\x00hi", "s:" + wsMade, "S:\x81\x02hi"}, HTTP1, []string{"HTTP1 GET /up 0"}},
		{"frames behind something else, the answer lost", []string{"C:" + askTCP, "s:" + tcpMade, "C:\x81\x82\x00\x00\x00\x00hi", "S:\x81\x02hi"}, HTTP1, []string{"HTTP1 GET /up 0"}},
		{"TLS behind a body", []string{"c:" + request, "S:HTTP/1.1 200 OK\r\n\r\nbody", "C:" + hello}, HTTP1, []string{"HTTP1   200"}},
		{"TLS behind another response", []string{"c:" + request, "S:HTTP/1.1 404 OK\r\n\r\n", "C:" + hello}, HTTP1, []string{"HTTP1   404"}},
		{"nothing", []string{"C:" + connect, "S:" + made}, Undecided, []string{"HTTP1 CONNECT h:1 200"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, e := play(t, false, tt.pieces...)
			var got []string
			for i, x := range records {
				got = append(got, words(x))
				if want := fmt.Sprintf("-%d", i); !strings.HasSuffix(x.Id, want) || x.Id[:32] != records[0].Id[:32] {
					t.Errorf("record %d has id %s", i, x.Id)
				}
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if e.shard.protocols[tt.protocol].Connections != 1 {
				t.Errorf("counted as %+v, want one %v", e.shard.protocols, tt.protocol)
			}
		})
	}
}

// A WebSocket: how it begins, and the frames by which each end says that it closes.
const (
	asksForSocket = "GET /up HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	makesSocket   = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	clientEnds    = "\x88\x82\x00\x00\x00\x00\x03\xe8"
	serverEnds    = "\x88\x02\x03\xe8"
)

// TestClosedWebSocketIsComplete: where both ends have said that they close, nothing more can
// come, whatever the end of the connection that was seen.
func TestClosedWebSocketIsComplete(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pieces []string
		want   []capstanv1.Flaw
	}{
		{"both", []string{"C:" + clientEnds, "S:" + serverEnds}, nil},
		{"one", []string{"C:" + clientEnds}, []capstanv1.Flaw{capstanv1.Flaw_FLAW_CAPTURE_ENDED}},
		{"both, bytes missing", []string{"s:hello", "C:" + clientEnds, "S:" + serverEnds}, []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, _ := play(t, false, append([]string{"C:" + asksForSocket, "S:" + makesSocket}, tt.pieces...)...)
			x := records[len(records)-1]
			if x.Websocket == nil || x.Complete != (tt.want == nil) || !slices.Equal(x.Flaws, tt.want) || x.Connection.Close != capstanv1.Close_CLOSE_CAPTURE_ENDED {
				t.Errorf("told %v", x)
			}
		})
	}
}

// TestResetWebSocketIsNotComplete: what an end that has not said that it closes had yet to say
// is not known where the connection is reset.
func TestResetWebSocketIsNotComplete(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pieces []string
		end    reassembly.CloseReason
		want   []capstanv1.Flaw
	}{
		{"FIN", []string{"C:" + clientEnds}, reassembly.CloseFIN, nil},
		{"reset behind both", []string{"C:" + clientEnds, "S:" + serverEnds}, reassembly.CloseRST, nil},
		{"reset", []string{"C:" + clientEnds}, reassembly.CloseRST, []capstanv1.Flaw{capstanv1.Flaw_FLAW_CLOSED_EARLY}},
		{"another in its place", []string{"C:" + clientEnds}, reassembly.CloseReplaced, []capstanv1.Flaw{capstanv1.Flaw_FLAW_CLOSED_EARLY}},
		{"silence", []string{"C:" + clientEnds}, reassembly.CloseTimeout, []capstanv1.Flaw{capstanv1.Flaw_FLAW_TIMEOUT}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var records []*capstanv1.Exchange
			e := New(Config{Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
			e.playTo(tt.end, false, append([]string{"C:" + asksForSocket, "S:" + makesSocket}, tt.pieces...)...)
			x := records[len(records)-1]
			if x.Websocket == nil || x.Complete != (tt.want == nil) || !slices.Equal(x.Flaws, tt.want) {
				t.Errorf("told %v", x)
			}
		})
	}
}

// TestWebSocketBehindACutHead: a WebSocket is told where a snap length has cut the head of the
// 101 off, and that of the request.
func TestWebSocketBehindACutHead(t *testing.T) {
	const (
		made   = "HTTP/1.1 101 Switching Protocols\r\n"
		grants = "Upgrade: websocket\r\n"
		plain  = "\x81\x82\x00\x00\x00\x00hi"
		packed = "\xc1\x83\x00\x00\x00\x00\xca\xc8\x00"
	)
	cut := []string{"C:GET /up HTTP/1.1\r\nUpgrade: websocket\r\n", "c:Connection: Upgrade\r\n\r\n"}
	for _, tt := range []struct {
		name        string
		pieces      []string
		message     string
		compression bool
	}{
		{"response", []string{"C:" + asksForSocket, "S:" + made + grants, "s:\r\n"}, plain, false},
		{"response, Upgrade in what is missing", []string{"C:" + asksForSocket, "S:" + made, "s:" + grants + "\r\n"}, plain, false},
		{"response, compressed", []string{"C:" + asksForSocket, "S:" + made + grants, "s:\r\n"}, packed, true},
		{"both", append(cut, "S:"+made+grants, "s:\r\n"), plain, false},
		{"both, Upgrade in what is missing", append(cut, "S:"+made, "s:"+grants+"\r\n"), plain, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, _ := play(t, false, append(slices.Clone(tt.pieces), "C:"+tt.message, "S:"+serverEnds, "C:"+clientEnds)...)
			if len(records) != 2 || records[0].Request.GetTarget() != "/up" || records[0].Response.GetStatus() != 101 || records[0].Complete {
				t.Fatalf("told %v", records)
			}
			x := records[1]
			if x.Websocket == nil || x.Complete || !slices.Equal(x.Flaws, []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP}) {
				t.Fatalf("told %v", x)
			}
			if w := x.Websocket; w.Compression != tt.compression || w.Client.TextMessages != 1 || w.Client.CloseCode != 1000 || w.Server.CloseCode != 1000 {
				t.Errorf("told %v", w)
			}
		})
	}
}

// TestMissedBytesOfAWebSocket: a WebSocket is not told as complete where its first frames
// were not captured, or passed over since nobody knew what they are.
func TestMissedBytesOfAWebSocket(t *testing.T) {
	const frame = "\x81\x85\x00\x00\x00\x00hello"
	for _, tt := range []struct {
		name   string
		pieces []string
		gap    uint64
	}{
		{"none", []string{"C:" + asksForSocket, "S:" + makesSocket, "C:" + frame, "C:" + clientEnds}, 0},
		{"none before the answer", []string{"C:" + asksForSocket, "C:" + frame, "S:" + makesSocket, "C:" + clientEnds}, 0},
		{"one before the answer", []string{"C:" + asksForSocket, "c:" + frame, "S:" + makesSocket, "C:" + clientEnds}, uint64(len(frame))},
		{"one behind one, before the answer", []string{"C:" + asksForSocket, "C:" + frame, "c:" + frame, "S:" + makesSocket, "C:" + clientEnds}, uint64(len(frame))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, _ := play(t, false, append(tt.pieces, "S:"+serverEnds)...)
			if len(records) != 2 || records[1].Websocket == nil {
				t.Fatalf("told %v", records)
			}
			x := records[1]
			if got := x.Connection.Client.GapBytes; got != tt.gap || slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_GAP) != (tt.gap > 0) || x.Websocket.Client.CloseCode != 1000 {
				t.Errorf("%d bytes are missing, want %d: %v", got, tt.gap, x)
			}
		})
	}
}

// TestGuessedWebSocket: what is told by frames alone is marked so, and compressed where they
// are.
func TestGuessedWebSocket(t *testing.T) {
	for frame, compression := range map[string]bool{"\x81\x82\x00\x00\x00\x00hi": false, "\xc1\x83\x00\x00\x00\x00\xca\xc8\x00": true} {
		records, _ := play(t, false, "C:"+asksForSocket, "s:"+makesSocket, "C:"+frame, "S:"+serverEnds, "C:"+clientEnds)
		if len(records) != 2 || records[1].Websocket == nil {
			t.Fatalf("told %v", records)
		}
		x := records[1]
		m := x.Websocket.Messages[0]
		if x.Complete || !slices.Equal(x.Flaws, []capstanv1.Flaw{capstanv1.Flaw_FLAW_PLACE_GUESSED}) || x.Websocket.Compression != compression || m.Compressed != compression || m.Opcode != 1 || m.Incomplete {
			t.Errorf("told %v", x)
		}
	}
}

// TestUpgradedRequestHasItsBody: the exchange of HTTP/2 that answers a request of
// HTTP/1 tells that request as it was, and what it lacks.
func TestUpgradedRequestHasItsBody(t *testing.T) {
	const head = "C:POST /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 3\r\n\r\n"
	for missing, request := range map[uint64][]string{0: {head + "a=1"}, 2: {head + "a", "c:=1"}} {
		records, _ := play(t, false, append(request, "S:HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
			"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88")...) // SETTINGS; HEADERS of stream 1, its end: 200
		if len(records) != 2 {
			t.Fatalf("%d records: %v", len(records), records)
		}
		for _, x := range records {
			if b := x.Request.GetBody(); x.Complete != (missing == 0) || b.GetSize() != 3 || b.GetGapBytes() != missing || slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_GAP) != (missing > 0) {
				t.Errorf("complete %t, status %d, flaws %v, request of %d bytes", x.Complete, x.Response.GetStatus(), x.Flaws, b.GetSize())
			}
		}
	}
}

// TestUpgradeToDraftOfHTTP2: what was asked for by the name that a draft had for HTTP/2
// is told as what stream 1 answers.
func TestUpgradeToDraftOfHTTP2(t *testing.T) {
	for name, known := range map[string]bool{"h2c": true, "h2c-14": true, "H2C-17": true, "h2c-12": false, "h2c-140": false} {
		records, _ := play(t, false, "C:GET /draft HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "+name+"\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
			"S:HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+name+"\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
			"C:PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "S:\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88")
		if len(records) != 2 {
			t.Fatalf("%s: %d records: %v", name, len(records), records)
		}
		if x := records[1]; x.StreamId != 1 || x.Response.GetStatus() != 200 || x.Complete != known || (x.Request.GetTarget() == "/draft") != known {
			t.Errorf("%s: stream %d, %s %s -> %d, complete %t", name, x.StreamId, x.Request.GetMethod(), x.Request.GetTarget(), x.Response.GetStatus(), x.Complete)
		}
	}
}

// TestWebSocketThatEndsInAFrame is not complete, though both ends close in good order.
func TestWebSocketThatEndsInAFrame(t *testing.T) {
	for said, complete := range map[string]bool{"\x81\x02hi": true, "\x81\x7f\x40\x00\x00\x00\x00\x00\x00\x00hi": false} {
		var records []*capstanv1.Exchange
		e := New(Config{Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
		e.playTo(reassembly.CloseFIN, false, "C:"+asksForSocket, "S:"+makesSocket, "S:"+said)
		if x := records[1]; x.Complete != complete || slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_CLOSED_EARLY) == complete {
			t.Errorf("%q: told %v", said, x)
		}
	}
}

// TestSilentWebSocketHasATime: that of its end, since nothing else was ever seen of it.
func TestSilentWebSocketHasATime(t *testing.T) {
	records, _ := play(t, false, "C:"+asksForSocket, "S:"+makesSocket)
	if len(records) != 2 || records[1].Websocket == nil || records[1].StartTimeUnixNs != 1_000_000 || records[1].DurationNs != 0 {
		t.Errorf("told %v", records)
	}
}

// TestConnectionRecords holds what is told of connections that carry no HTTP.
func TestConnectionRecords(t *testing.T) {
	for _, tt := range []struct {
		name      string
		midstream bool
		pieces    []string
		want      []string
	}{
		{"TLS", false, []string{"C:" + clientHello(t, "shop.example")}, []string{"TLS shop.example"}},
		{"server first", false, []string{"S:220 mail ESMTP\r\n", "C:EHLO me\r\n", "S:250 STARTTLS\r\n", "C:STARTTLS\r\n", "S:220 go\r\n", "C:" + clientHello(t, "x")[:11]},
			[]string{"OTHER smtp-or-ftp 30/38"}},
		{"one end alone", false, []string{"C:\x00\x00binary"}, []string{"OTHER binary 8/0"}},
		{"joined", true, []string{"S:\x00\x01\x02", "C:\x00\x01"}, []string{"OTHER binary 3/2"}},
		{"strange to the end that answers it", false, []string{"C:\x01\x02 GET /x HTTP/1.1\r\n\r\n", "S:" + response}, []string{"HTTP1   200"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, _ := play(t, tt.midstream, tt.pieces...)
			var got []string
			for _, x := range records {
				got = append(got, words(x))
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
