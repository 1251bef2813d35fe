package http2

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// tell writes records down, one a line.
func tell(records []*capstanv1.Exchange) string {
	var b strings.Builder
	section := func(hs []*capstanv1.Header) string {
		var all []string
		for _, h := range hs {
			n, v := h.Name, h.Value
			if h.NameUnknown {
				n = "?"
			}
			if h.ValueUnknown {
				v = "?"
			}
			all = append(all, n+"="+v)
		}
		return "{" + strings.Join(all, " ") + "}"
	}
	for _, x := range records {
		fmt.Fprintf(&b, "%d", x.StreamId)
		if x.Pushed {
			b.WriteString(" pushed")
		}
		if q := x.Request; q != nil {
			fmt.Fprintf(&b, " %s %s %s %s %s%s %d", q.Method, q.Scheme, q.Authority, q.Target, q.Protocol, section(q.Headers), q.Body.Size)
			if q.Trailers != nil {
				b.WriteString(section(q.Trailers))
			}
		}
		if s := x.Response; s != nil {
			fmt.Fprintf(&b, " → %v%d %s %d", s.InterimStatuses, s.Status, section(s.Headers), s.Body.Size)
			if s.Trailers != nil {
				b.WriteString(section(s.Trailers))
			}
		}
		for _, f := range x.Flaws {
			b.WriteString(" " + strings.TrimPrefix(f.String(), "FLAW_"))
		}
		if x.ErrorCode != 0 {
			fmt.Fprintf(&b, "(%d)", x.ErrorCode)
		}
		if x.Complete {
			b.WriteString(" complete")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func get(path string) []string {
	return []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", path}
}

func ok(more ...string) []string { return append([]string{":status", "200"}, more...) }

// TestCases goes through what a stream can be.
func TestCases(t *testing.T) {
	tests := []struct {
		name string
		play func(k *talk)
		want string
	}{
		{name: "73 interleaved streams", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...).headers(3, false, get("/3")...)
			k.flush()
			k.server.headers(3, false, ok("a", "b")...).headers(1, false, ok()...)
			k.client.data(3, true, []byte("question"))
			k.flush()
			k.server.data(1, false, []byte("on")).data(3, true, []byte("three")).data(1, true, []byte("e"))
		}, want: "3 GET http h /3 {} 8 → []200 {a=b} 5 complete\n1 GET http h /1 {} 0 → []200 {} 3 complete\n"},
		{name: "a stream that ends twice is told once", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...).headers(3, true, get("/3")...)
			k.flush()
			k.server.headers(1, true, ok()...).headers(3, false, ok()...).data(1, true, nil).data(3, true, []byte("three"))
			k.flush()
			k.server.data(3, true, nil)
		}, want: "1 GET http h /1 {} 0 → []200 {} 0 complete\n3 GET http h /3 {} 0 → []200 {} 5 complete\n"},
		{name: "77 CONTINUATION, padding, priority", play: func(k *talk) {
			block := k.client.encode(append(get("/1"), "x-long", strings.Repeat("v", 50))...)
			k.client.frame(frameHeaders, flagPadded|flagPriority|flagEndStream, 1, []byte{7}, u32(0), []byte{15}, block[:5], make([]byte, 7)).
				frame(frameContinuation, 0, 1, block[5:9]).frame(frameContinuation, 0, 1).frame(frameContinuation, flagEndHeaders, 1, block[9:])
			k.client.frame(framePriority, 0, 1, u32(0), []byte{1})
			k.server.headers(1, false, ok()...).frame(frameData, flagPadded, 1, []byte{3}, []byte("body"), make([]byte, 3)).frame(frameData, flagPadded|flagEndStream, 1, []byte{0})
		}, want: "1 GET http h /1 {x-long=" + strings.Repeat("v", 50) + "} 0 → []200 {} 4 complete\n"},
		{name: "interim responses and trailers", play: func(k *talk) {
			k.client.headers(1, false, get("/1")...).data(1, false, []byte("q")).headers(1, true, "t", "1")
			k.server.headers(1, false, ":status", "100").headers(1, false, ":status", "103", "link", "x").headers(1, false, ok()...).
				data(1, false, []byte("r")).headers(1, true, "checksum", "2")
		}, want: "1 GET http h /1 {} 1{t=1} → [100 103]200 {} 1{checksum=2} complete\n"},
		{name: "metadata of gRPC sent as it is", play: func(k *talk) {
			for id := uint32(1); id < 5; id += 2 { // the second refers to the table
				k.client.headers(id, true, call("/s/m", "t-bin", "\x00\xff\x00\x01", "u-bin", "\x00text", "w-bin", "AAE")...)
				k.flush()
				k.server.headers(id, true, ok("content-type", "application/grpc", "grpc-status", "0", "t-bin", "\x00")...)
				k.flush()
			}
		}, want: "1 POST http h /s/m {content-type=application/grpc te=trailers t-bin=/wAB u-bin=dGV4dA w-bin=AAE} 0 → []200 {content-type=application/grpc grpc-status=0 t-bin=} 0 complete\n" +
			"3 POST http h /s/m {content-type=application/grpc te=trailers t-bin=/wAB u-bin=dGV4dA w-bin=AAE} 0 → []200 {content-type=application/grpc grpc-status=0 t-bin=} 0 complete\n"},
		{name: "what is masked in metadata of gRPC sent as it is", play: func(k *talk) {
			k.client.headers(1, true, call("/s/m", "authorization-bin", "\x00secret", "t-bin", "\x00Bearer secret")...)
			k.server.headers(1, true, ok("content-type", "application/grpc", "grpc-status", "0")...)
		}, want: "1 POST http h /s/m {content-type=application/grpc te=trailers authorization-bin=*** t-bin=Bearer ***} 0 → []200 {content-type=application/grpc grpc-status=0} 0 complete\n"},
		{name: "a zero byte in what is no metadata of gRPC", play: func(k *talk) {
			k.client.headers(1, true, append(get("/1"), "t-bin", "a\x00")...).headers(3, true, append(get("/3"), "t", "\x00a")...)
			k.server.headers(1, true, ok()...).headers(3, true, ok()...)
		}, want: "1 GET http h /1 {t-bin=a\x00} 0 → []200 {} 0 MALFORMED complete\n3 GET http h /3 {t=\x00a} 0 → []200 {} 0 MALFORMED complete\n"},
		{name: "80 push", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...)
			k.server.frame(framePushPromise, flagEndHeaders|flagPadded, 1, []byte{2}, u32(2), k.server.encode(get("/style")...), make([]byte, 2))
			k.server.headers(1, true, ok()...).headers(2, false, ok()...).data(2, true, []byte("css"))
		}, want: "1 GET http h /1 {} 0 → []200 {} 0 complete\n2 pushed GET http h /style {} 0 → []200 {} 3 complete\n"},
		{name: "81 reset by the client", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...).frame(frameRSTStream, 0, 1, u32(8))
			k.flush()
			k.server.headers(1, true, ok()...)
		}, want: "1 GET http h /1 {} 0 NO_RESPONSE RESET(8)\n"},
		{name: "reset by the server", play: func(k *talk) {
			k.client.headers(1, false, get("/1")...)
			k.server.headers(1, false, ok()...).data(1, true, []byte("early")).frame(frameRSTStream, 0, 1, u32(0))
		}, want: "1 GET http h /1 {} 0 → []200 {} 5 RESET\n"},
		{name: "81 GOAWAY refuses", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...).headers(3, true, get("/3")...)
			k.flush()
			k.server.frame(frameGoAway, 0, 0, u32(1<<31-1, 0)).frame(frameGoAway, 0, 0, u32(1, 11), []byte("calm down")).headers(1, true, ok()...)
		}, want: "3 GET http h /3 {} 0 NO_RESPONSE RESET(11)\n1 GET http h /1 {} 0 → []200 {} 0 complete\n"},
		{name: "81 GOAWAY captured before what it refuses", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...)
			k.flush()
			k.server.frame(frameGoAway, 0, 0, u32(1, 0))
			k.flush()
			k.client.headers(3, true, get("/3")...)
			k.server.headers(1, true, ok()...)
		}, want: "1 GET http h /1 {} 0 → []200 {} 0 complete\n3 GET http h /3 {} 0 NO_RESPONSE RESET\n"},
		{name: "extended CONNECT", play: func(k *talk) {
			k.server.settings(0x8, 1)
			k.flush()
			k.client.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat", ":authority", "h")
			k.server.headers(1, false, ok()...)
			k.client.data(1, true, []byte("\x88\x80mask")) // frames of WebSocket
			k.server.data(1, true, []byte("\x81\x02hi"))
		}, want: "1 CONNECT http h /chat websocket{} 6 → []200 {} 4 complete\n"},
		{name: "extended CONNECT that the server doesn't know", play: func(k *talk) {
			k.client.headers(1, true, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat", ":authority", "h")
			k.server.headers(1, true, ":status", "400")
		}, want: "1 CONNECT http h /chat websocket{} 0 → []400 {} 0 MALFORMED complete\n"},
		{name: "CONNECT", play: func(k *talk) {
			k.client.headers(1, true, ":method", "CONNECT", ":authority", "h:1")
			k.server.headers(1, true, ok()...)
		}, want: "1 CONNECT  h:1 h:1 {} 0 → []200 {} 0 complete\n"},
		{name: "87 fields that nobody may send", play: func(k *talk) {
			bad := [][]string{
				append(get("/twice"), ":path", "/other"),
				append(get("/behind"), "a", "b", ":authority", "x"),
				append(get("/capital"), "Big", "b"),
				append(get("/connection"), "connection", "close"),
				append(get("/te"), "te", "gzip"),
				append(get("/unknown"), ":what", "b"),
				append(get("/host"), "host", "other"),
				{":method", "GET", ":scheme", "http", ":authority", "me:secret@h", ":path", "/user"},
				{":method", "GET", ":authority", "h"},
				{":method", "GET", ":scheme", "http", ":path", "/by-host", "host", "h"},
			}
			for i, fields := range bad {
				id := uint32(2*i + 1)
				k.client.headers(id, true, fields...)
				k.server.headers(id, true, ok()...)
				k.flush()
			}
		}, want: "1 GET http h /twice {} 0 → []200 {} 0 MALFORMED complete\n" +
			"3 GET http h /behind {a=b} 0 → []200 {} 0 MALFORMED complete\n" +
			"5 GET http h /capital {Big=b} 0 → []200 {} 0 MALFORMED complete\n" +
			"7 GET http h /connection {connection=close} 0 → []200 {} 0 MALFORMED complete\n" +
			"9 GET http h /te {te=gzip} 0 → []200 {} 0 MALFORMED complete\n" +
			"11 GET http h /unknown {} 0 → []200 {} 0 MALFORMED complete\n" +
			"13 GET http h /host {host=other} 0 → []200 {} 0 MALFORMED complete\n" +
			"15 GET http h /user {} 0 → []200 {} 0 MALFORMED complete\n" +
			"17 GET  h  {} 0 → []200 {} 0 MALFORMED complete\n" +
			"19 GET http h /by-host {host=h} 0 → []200 {} 0 complete\n"},
		{name: "fields that nobody may send, out of a table", play: func(k *talk) {
			for id := uint32(1); id <= 3; id += 2 { // the second time as indexes
				k.client.headers(id, true, append(get("/"), "keep-alive", "5")...)
				k.server.headers(id, true, ok()...)
			}
			k.client.headers(5, true, append(get("/5"), "te", "trailers")...)
			k.server.headers(5, true, ok("connection", "close")...)
			k.client.headers(7, true, append(get("/7"), "te", "trailers")...)
			k.server.headers(7, true, ok("connection", "close")...)
			k.client.headers(9, true, append(get("/9"), "te", "trailers")...)
			k.server.headers(9, true, ok("Big", "b")...)
			k.client.headers(11, true, append(get("/11"), "te", "trailers")...)
			k.server.headers(11, true, ok("Big", "b")...)
			k.client.headers(13, true, append(get("/13"), "transfer-encoding", "")...) // static
			k.server.headers(13, true, ok()...)
		}, want: "1 GET http h / {keep-alive=5} 0 → []200 {} 0 MALFORMED complete\n" +
			"3 GET http h / {keep-alive=5} 0 → []200 {} 0 MALFORMED complete\n" +
			"5 GET http h /5 {te=trailers} 0 → []200 {connection=close} 0 MALFORMED complete\n" +
			"7 GET http h /7 {te=trailers} 0 → []200 {connection=close} 0 MALFORMED complete\n" +
			"9 GET http h /9 {te=trailers} 0 → []200 {Big=b} 0 MALFORMED complete\n" +
			"11 GET http h /11 {te=trailers} 0 → []200 {Big=b} 0 MALFORMED complete\n" +
			"13 GET http h /13 {transfer-encoding=} 0 → []200 {} 0 MALFORMED complete\n"},
		{name: "a length that is not true", play: func(k *talk) {
			k.client.headers(1, false, append(get("/1"), "content-length", "3")...).data(1, true, []byte("four"))
			k.server.headers(1, false, ok("content-length", "2")...).data(1, true, []byte("ok"))
			k.client.headers(3, true, ":method", "HEAD", ":scheme", "http", ":authority", "h", ":path", "/3")
			k.server.headers(3, true, ok("content-length", "2")...)
			k.client.headers(5, true, append(get("/5"), "content-length", "x")...)
			k.server.headers(5, true, ok()...)
		}, want: "1 GET http h /1 {content-length=3} 4 → []200 {content-length=2} 2 MALFORMED complete\n" +
			"3 HEAD http h /3 {} 0 → []200 {content-length=2} 0 complete\n" +
			"5 GET http h /5 {content-length=x} 0 → []200 {} 0 MALFORMED complete\n"},
		{name: "credentials", play: func(k *talk) {
			k.client.headers(1, true, append(get("/1"), "authorization", "Basic x", "cookie", "a=b")...)
			k.server.headers(1, true, ok("set-cookie", "c")...)
		}, want: "1 GET http h /1 {authorization=*** cookie=***} 0 → []200 {set-cookie=***} 0 complete\n"},
		{name: "what would be more than a part of a first line", play: func(k *talk) {
			for i, fields := range [][]string{
				{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/1 HTTP/1.1\r\n"},
				{":method", "GET /x", ":scheme", "http", ":authority", "h", ":path", "/3"},
				{":method", "GET", ":scheme", "http", ":authority", "h\x00", ":path", "/5"},
				{":method", "GET", ":scheme", "ht tp", ":authority", "h", ":path", "/7"},
			} {
				id := uint32(2*i + 1)
				k.client.headers(id, true, fields...)
				k.flush()
				k.server.headers(id, true, ok()...)
				k.flush()
			}
		}, want: "1 GET http h /1 HTTP/1.1\r\n {} 0 → []200 {} 0 MALFORMED complete\n" +
			"3 GET /x http h /3 {} 0 → []200 {} 0 MALFORMED complete\n" +
			"5 GET http h\x00 /5 {} 0 → []200 {} 0 MALFORMED complete\n" +
			"7 GET ht tp h /7 {} 0 → []200 {} 0 MALFORMED complete\n"},
		{name: "out of order", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...).headers(3, true, get("/3")...).data(3, true, []byte("late")).
				headers(5, true, get("/5")...).headers(7, true, get("/7")...).headers(9, true, get("/9")...).data(9, true, nil)
			k.flush()
			k.server.data(1, false, []byte("early")).headers(1, true, ok()...).headers(3, true, ok()...).
				headers(5, false, ":status", "103").data(5, false, []byte("r")).headers(5, true, ok()...).
				headers(7, true, "x", "y").headers(9, true, ok()...)
		}, want: "1 GET http h /1 {} 0 → []200 {} 5 MALFORMED complete\n" +
			"3 GET http h /3 {} 4 → []200 {} 0 MALFORMED complete\n" +
			"5 GET http h /5 {} 0 → [103]200 {} 1 MALFORMED complete\n" +
			"7 GET http h /7 {} 0 → []0 {} 0{x=y} MALFORMED HEADERS_UNKNOWN\n" +
			"9 GET http h /9 {} 0 → []200 {} 0 complete\n"},
		{name: "no change of protocol, and no path of a tunnel", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...).headers(3, true, ":method", "CONNECT", ":scheme", "http", ":authority", "h:1", ":path", "/")
			k.flush()
			k.server.headers(1, true, ":status", "101").headers(3, true, ok()...)
		}, want: "1 GET http h /1 {} 0 → []101 {} 0 MALFORMED complete\n" +
			"3 CONNECT http h:1 h:1 {} 0 → []200 {} 0 MALFORMED complete\n"},
		{name: "not UTF-8", play: func(k *talk) {
			k.client.headers(1, true, append(get("/\xff\xfe"), "a", "\xffb")...)
			k.server.headers(1, true, ok()...)
		}, want: "1 GET http h /\uFFFD {a=\uFFFDb} 0 → []200 {} 0 complete\n"},
		{name: "frames to ignore", play: func(k *talk) {
			k.client.frame(0x77, 0xff, 9, []byte("unknown type")).frame(framePing, 0, 0, make([]byte, 8)).frame(frameWindowUpdate, 0, 0, u32(5)).headers(1, true, get("/1")...)
			k.server.frame(frameAltSvc, 0, 0, []byte("\x00\x00h2=\":1\"")).headers(1, true, ok()...)
		}, want: "1 GET http h /1 {} 0 → []200 {} 0 complete\n"},
		{name: "79 a frame longer than allowed", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...)
			k.server.headers(1, false, ok()...).data(1, true, make([]byte, 70_000))
		}, want: "1 GET http h /1 {} 0 → []200 {} 70000 complete\n"},
		{name: "a response alone", play: func(k *talk) {
			k.server.headers(7, true, ok()...)
		}, want: "7 → []200 {} 0 NO_REQUEST\n"},
		{name: "a response before anybody asked, and to who asks then", play: func(k *talk) {
			k.server.headers(3, true, ok("a", "b")...)
			k.flush()
			k.client.headers(3, true, get("/3")...).headers(5, true, get("/5")...)
			k.flush()
			k.server.headers(3, true, ok()...).headers(5, true, ok()...)
		}, want: "3 → []200 {a=b} 0 NO_REQUEST\n3 GET http h /3 {} 0 → []200 {} 0 complete\n5 GET http h /5 {} 0 → []200 {} 0 complete\n"},
		{name: "a request alone", play: func(k *talk) {
			k.client.headers(1, true, get("/1")...)
		}, want: "1 GET http h /1 {} 0 NO_RESPONSE CLOSED_EARLY\n"},
		{name: "a broken header block", play: func(k *talk) {
			k.client.headers(1, true, append(get("/1"), "a", "b")...).frame(frameHeaders, flagEndHeaders|flagEndStream, 3, []byte{0xff, 0x80, 0x01}).
				headers(5, true, append(get("/1"), "a", "b")...)
			k.flush()
			k.server.headers(1, true, ok()...).headers(3, true, ok()...).headers(5, true, ok()...)
		}, want: "1 GET http h /1 {a=b} 0 → []200 {} 0 complete\n" +
			"3     {} 0 → []200 {} 0 MALFORMED HEADERS_UNKNOWN\n" +
			"5 GET http   {?=? ?=? ?=?} 0 → []200 {} 0 HEADERS_UNKNOWN\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, segment := range []int{0, 1, 2, 5, 13, 100} {
				k := newTalk(t, Config{})
				k.segment = segment
				tt.play(k)
				if got := tell(k.end()); got != tt.want {
					t.Errorf("segments of %d bytes: got\n%swant\n%s", segment, got, tt.want)
				}
			}
		})
	}
}

// TestLostPadding: where nothing but padding is missing, nothing is.
func TestLostPadding(t *testing.T) {
	for lost := 1; lost <= 10; lost++ {
		k := newTalk(t, Config{})
		k.client.headers(1, true, get("/1")...)
		k.flush()
		k.server.headers(1, false, ok()...).frame(frameData, flagPadded|flagEndStream, 1, []byte{10}, []byte("body"), make([]byte, 10))
		b := k.server.take()
		padding := len(b) - 10
		k.send(fromServer, b[:padding+2*lost/3])
		k.gap(fromServer, lost-2*lost/3)
		k.send(fromServer, b[padding+lost:])
		if got, want := tell(k.end()), "1 GET http h /1 {} 0 → []200 {} 4 complete\n"; got != want {
			t.Errorf("%d bytes: got\n%swant\n%s", lost, got, want)
		}
	}
}

// TestLostEndOfPaddedHeaders: a block ends with its frame, though what is missing
// goes on in the padding.
func TestLostEndOfPaddedHeaders(t *testing.T) {
	const padding = 10
	for in := range padding + 1 {
		k := newTalk(t, Config{})
		block := k.client.encode(get("/1")...)
		k.client.frame(frameHeaders, flagPadded|flagEndHeaders|flagEndStream, 1, []byte{padding}, block, make([]byte, padding))
		b := k.client.take()
		k.send(fromClient, b[:len(b)-padding-1])
		k.gap(fromClient, 1+in)
		k.send(fromClient, b[len(b)-padding+in:])
		k.client.headers(3, true, get("/3")...)
		k.server.headers(1, true, ok()...).headers(3, true, ok()...)
		k.flush()
		k.end()
		if resyncs, lost := k.shared.Stats.Resyncs, k.shared.Stats.LostBlocks; resyncs > 0 || lost != 1 || len(k.records) != 2 {
			t.Errorf("%d bytes of the padding: %d resyncs, %d blocks lost, %s", in, resyncs, lost, tell(k.records))
		}
	}
}

// TestLostBytes loses bytes in one direction, each time at another place of a
// frame.
func TestLostBytes(t *testing.T) {
	whole := func(k *talk) {
		k.client.headers(1, true, get("/1")...).headers(3, true, get("/3")...)
		k.flush()
	}
	rest := "3 GET http h /3 {} 0 → []200 {b=c} 1 complete\n"
	tests := []struct {
		name     string
		from, to int // lost of the server's bytes
		want     string
	}{
		{name: "76 inside DATA", from: 30, to: 60, want: "1 GET http h /1 {} 0 → []200 {a=b} 100 GAP\n" + rest},
		{name: "the end of DATA", from: 100, to: 124, want: "1 GET http h /1 {} 0 → []200 {a=b} 100 GAP\n" + rest},
		{name: "75 inside HEADERS: what it inserted is unknown", from: 10, to: 12, want: "1 GET http h /1 {} 0 → []200 {} 100 GAP HEADERS_UNKNOWN\n" + rest},
		{name: "DATA's end and the next frame's header", from: 120, to: 130, want: "1 GET http h /1 {} 0 → []200 {a=b} 100 GAP\n3 GET http h /3 {} 0 → []0 {} 1 GAP HEADERS_UNKNOWN PLACE_GUESSED\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newTalk(t, Config{})
			whole(k)
			k.server.headers(1, false, ok("a", "b")...).data(1, true, bytes.Repeat([]byte("x"), 100))
			k.server.headers(3, false, ok("b", "c")...)
			b := k.server.take()
			k.send(fromServer, b[:tt.from])
			k.gap(fromServer, tt.to-tt.from)
			k.send(fromServer, b[tt.to:])
			k.server.data(3, true, []byte("1"))
			if got := tell(k.end()); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// TestResponseBeforeRequest: the client's direction may be delivered late.
func TestResponseBeforeRequest(t *testing.T) {
	k := newTalk(t, Config{})
	q := k.client.headers(1, true, get("/1")...).take()
	received := k.offset[fromClient] + int64(len(q))
	k.chunk(fromServer, k.server.headers(1, true, ok()...).take(), received)
	k.chunk(fromServer, k.server.headers(3, true, ok()...).take(), received)
	if len(k.records) != 0 {
		t.Fatalf("told too early: %s", tell(k.records))
	}
	k.send(fromClient, q)
	if got, want := tell(k.records), "1 GET http h /1 {} 0 → []200 {} 0 complete\n3 → []200 {} 0 NO_REQUEST\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	k.end()
}

// TestDamagedStreamsAreNotKept: a response that was lost is not waited for
// until the connection ends.
func TestDamagedStreamsAreNotKept(t *testing.T) {
	k := newTalk(t, Config{})
	k.client.headers(1, true, get("/1")...)
	k.flush()
	k.gap(fromServer, 500)
	k.time += int64(lossTimeout)
	k.client.headers(3, true, get("/3")...)
	k.flush()
	if got, want := tell(k.records), "1 GET http h /1 {} 0 GAP NO_RESPONSE\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	k.end()
}

// TestOngoingLoss: what is lost again and again doesn't make a stream wait for ever,
// nor end one on which something comes.
func TestOngoingLoss(t *testing.T) {
	const losses = 10
	k := newTalk(t, Config{})
	k.client.headers(1, true, get("/1")...).headers(3, false, get("/3")...)
	k.flush()
	for i := range losses {
		k.gap(fromServer, 500)
		k.server.data(3, false, []byte("y")).data(3, false, []byte("y")) // the place is regained
		k.time += int64(lossTimeout) / 3
		k.flush()
		if told := len(k.records) > 0; told != (i >= 3-1) {
			t.Fatalf("after %d losses: %s", i+1, tell(k.records))
		}
	}
	if got, want := tell(k.end()), "1 GET http h /1 {} 0 GAP NO_RESPONSE\n3 GET http h /3 {} 0 → []0 {} 20 GAP CLOSED_EARLY HEADERS_UNKNOWN PLACE_GUESSED\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestLaterLoss: a stream has its time from the loss that it may have ended in.
func TestLaterLoss(t *testing.T) {
	k := newTalk(t, Config{})
	k.client.headers(1, true, get("/1")...).headers(3, false, get("/3")...)
	k.flush()
	k.gap(fromClient, 500)
	k.time += int64(lossTimeout) - 1e9
	k.gap(fromServer, 500)
	k.time += 2e9
	k.server.headers(1, true, ok()...)
	k.flush()
	if got, want := tell(k.end()), "1 GET http h /1 {} 0 → []200 {} 0 PLACE_GUESSED\n3 GET http h /3 {} 0 GAP NO_RESPONSE CLOSED_EARLY\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestStrayTimesLoseNothing: times that are wrong, of the loss itself or of what
// comes before or after it, don't make a stream wait more or less.
func TestStrayTimesLoseNothing(t *testing.T) {
	for _, by := range []int64{-24 * 3600e9, 3600e9, 24 * 3600e9} {
		for wrong := range 4 {
			k := newTalk(t, Config{})
			step := func(i int, f func()) {
				if k.stray = 0; i == wrong {
					k.stray = by
				}
				f()
				k.stray = 0
			}
			step(0, func() { k.client.headers(1, true, get("/1")...); k.flush() })
			step(1, func() { k.gap(fromServer, 500) })
			k.time += int64(lossTimeout) / 2
			step(2, func() { k.client.headers(3, true, get("/3")...); k.flush() })
			step(3, func() { k.client.headers(5, true, get("/5")...); k.flush() })
			if len(k.records) > 0 {
				t.Errorf("%d strays by %d: told too early: %s", wrong, by, tell(k.records))
			}
			k.time += int64(lossTimeout) / 2
			k.client.headers(7, true, get("/7")...)
			k.flush()
			if got, want := tell(k.records), "1 GET http h /1 {} 0 GAP NO_RESPONSE\n"; got != want {
				t.Errorf("%d strays by %d: got\n%swant\n%s", wrong, by, got, want)
			}
			k.end()
		}
	}
}

// TestCase82Upgrade: the request came over HTTP/1.
func TestCase82Upgrade(t *testing.T) {
	h := &harness{t: t, time: 1000}
	q := &capstanv1.HttpRequest{Method: "GET", Target: "/up", Version: "HTTP/1.1", Headers: []*capstanv1.Header{{Name: "Host", Value: "h"}}, FirstByteUnixNs: 500, LastByteUnixNs: 600}
	settings := base64.RawURLEncoding.EncodeToString([]byte{0, 5, 0, 1, 0, 0}) // frames of 64 KiB
	h.c = NewUpgraded(&Config{Shared: &h.shared}, testConn(false), h.recorder(100), nil, fromClient, Origin{Request: q, Settings: settings})
	h.offset = [2]int64{300, 100}
	client, server := newPeer(), newPeer()
	server.settings().headers(1, false, ok()...).data(1, true, make([]byte, 50_000))
	h.send(fromServer, server.take())
	client.out = []byte(preface)
	client.settings().headers(3, true, get("/3")...)
	h.send(fromClient, client.take())
	h.send(fromServer, server.headers(3, true, ok()...).take())
	want := "1 GET   /up {Host=h} 0 → []200 {} 50000 complete\n3 GET http h /3 {} 0 → []200 {} 0 complete\n"
	if got := tell(h.close(reassembly.CloseFIN)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if h.c.half[fromServer].maxFrame != 1<<16 || h.records[0].Request.Version != "HTTP/1.1" || h.records[0].Request.FirstByteUnixNs != 500 {
		t.Errorf("frames up to %d, %v", h.c.half[fromServer].maxFrame, h.records[0])
	}
	if q.Headers[0] == h.records[0].Request.Headers[0] {
		t.Error("two records share a field")
	}
}

// message returns a message of gRPC of n bytes.
func message(n int) []byte { return append(append([]byte{0}, u32(uint32(n))...), make([]byte, n)...) }

// TestGRPC takes each kind of call.
func TestGRPC(t *testing.T) {
	call := []string{":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/p.S/M", "te", "trailers", "content-type", "application/grpc"}
	started := ok("content-type", "application/grpc")
	web := slices.Concat(call[:len(call)-1], []string{"application/grpc-web+proto"})
	tests := []struct {
		name string
		play func(k *talk)
		want string
	}{
		{name: "83 unary", play: func(k *talk) {
			k.client.headers(1, false, append(call, "grpc-timeout", "3S", "grpc-encoding", "gzip")...).data(1, true, message(7))
			k.server.headers(1, false, started...).data(1, false, message(2433)).headers(1, true, "grpc-status", "0", "grpc-message", "")
		}, want: "p.S M 3000000000 gzip [7] false [2433] false status 0 "},
		{name: "84 bidirectional streaming, messages across frames", play: func(k *talk) {
			k.client.headers(1, false, call...)
			both := slices.Concat(message(300), message(0), message(5))
			k.client.data(1, false, both[:3]).data(1, false, both[3:200]).data(1, true, both[200:])
			k.server.headers(1, false, started...).data(1, false, both[:307]).data(1, false, both[307:]).headers(1, true, "grpc-status", "13", "grpc-message", "a%20b")
		}, want: "p.S M 0  [300 0 5] false [300 0 5] false status 13 a b"},
		{name: "85 trailers only", play: func(k *talk) {
			k.client.headers(1, false, call...).data(1, true, message(1))
			k.server.headers(1, true, append(started, "grpc-status", "5", "grpc-message", "none")...)
		}, want: "p.S M 0  [1] false [] false status 5 none"},
		{name: "85 no status", play: func(k *talk) {
			k.client.headers(1, false, call...).data(1, true, message(1))
			k.server.headers(1, false, started...).data(1, true, message(2))
		}, want: "p.S M 0  [1] false [2] false no status"},
		{name: "an answer that is no gRPC", play: func(k *talk) {
			k.client.headers(1, false, call...).data(1, true, message(1))
			k.server.headers(1, false, ":status", "502", "content-type", "text/html").data(1, true, []byte("<html>"))
		}, want: "p.S M 0  [1] false [] false no status"},
		{name: "an answer that was not seen", play: func(k *talk) {
			k.client.headers(1, false, call...).data(1, true, message(1))
		}, want: "p.S M 0  [1] false [] true no status"},
		{name: "a request that was not seen", play: func(k *talk) {
			k.server.headers(1, false, started...).data(1, false, message(2)).headers(1, true, "grpc-status", "0")
		}, want: "  0  [] true [2] false status 0 "},
		{name: "86 gRPC-Web", play: func(k *talk) {
			k.client.headers(1, false, web...).data(1, true, message(1))
			k.server.headers(1, false, ok("content-type", "application/grpc-web+proto")...).data(1, false, message(2)).
				data(1, true, append([]byte{0x80, 0, 0, 0, 15}, "grpc-status: 7\n"...))
		}, want: "p.S M 0  [1] false [2] false status 7  web"},
		{name: "86 gRPC-Web, compressed trailers", play: func(k *talk) {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			// Writing to a bytes.Buffer can't fail.
			_, _ = z.Write([]byte("grpc-status: 7\n"))
			_ = z.Close()
			k.client.headers(1, false, web...).data(1, true, message(1))
			k.server.headers(1, false, ok("content-type", "application/grpc-web+proto", "grpc-encoding", "gzip")...).data(1, false, message(2)).
				data(1, true, append(append([]byte{0x81}, u32(uint32(packed.Len()))...), packed.Bytes()...))
		}, want: "p.S M 0  [1] false [2] false status 7  web"},
		{name: "a gap inside a message", play: func(k *talk) {
			k.client.headers(1, false, call...).data(1, true, message(1))
			k.server.headers(1, false, started...)
			k.flush()
			b := k.server.data(1, false, slices.Concat(message(100), message(4))).headers(1, true, "grpc-status", "0").take()
			k.send(fromServer, b[:50])
			k.gap(fromServer, 30)
			k.send(fromServer, b[80:])
		}, want: "p.S M 0  [1] false [100 4] false status 0 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newTalk(t, Config{})
			tt.play(k)
			records := k.end()
			if len(records) != 1 || records[0].Grpc == nil || records[0].Protocol != capstanv1.Protocol_PROTOCOL_GRPC {
				t.Fatalf("%v", records)
			}
			g := records[0].Grpc
			got := fmt.Sprintf("%s %s %d %s %v %v %v %v", g.Service, g.Method, g.TimeoutNs, g.RequestEncoding,
				g.RequestMessages.Lengths, g.RequestMessages.Incomplete, g.ResponseMessages.Lengths, g.ResponseMessages.Incomplete)
			if g.StatusKnown {
				got += fmt.Sprintf(" status %d %s", g.Status, g.StatusMessage)
			} else {
				got += " no status"
			}
			if g.Web {
				got += " web"
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestMasksOfEntriesAreThoseInForce: fields that HPACK's tables have are masked as is asked for
// when each record leaves, whatever was asked for when they came in.
func TestMasksOfEntriesAreThoseInForce(t *testing.T) {
	k := newTalk(t, Config{})
	keep := exchange.NewKeep(100, nil, nil)
	k.c.rec = exchange.NewRecorder(exchange.Config{Keep: keep, Emit: exchangetest.Keep(&k.records)})
	request, response := append(get("/"), "x-key", "a", "x-other", "b"), ok("x-answer", "c")
	for i, masks := range [][]string{nil, {"x-key"}, {"x-answer", "x-other"}, nil} {
		id := uint32(2*i + 1)
		k.client.headers(id, true, request...)
		k.flush()
		keep.Set(100, masks, nil)
		k.server.headers(id, true, response...)
		k.flush()
	}
	want := "1 GET http h / {x-key=a x-other=b} 0 → []200 {x-answer=c} 0 complete\n" +
		"3 GET http h / {x-key=*** x-other=b} 0 → []200 {x-answer=c} 0 complete\n" +
		"5 GET http h / {x-key=a x-other=***} 0 → []200 {x-answer=***} 0 complete\n" +
		"7 GET http h / {x-key=a x-other=b} 0 → []200 {x-answer=c} 0 complete\n"
	if got := tell(k.end()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
