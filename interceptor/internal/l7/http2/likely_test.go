package http2

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

// newLateTalk returns a connection that was joined when its ends had said much already.
func newLateTalk(t *testing.T) *talk {
	k := &talk{harness: newHarness(t, Config{InferFields: true}, 100, testConn(true)), client: newPeer(), server: newPeer()}
	for _, path := range []string{"/a.B/C", "/d"} {
		k.client.encode(call(path)...)
		k.client.encode(call(path, "x-a", "b")...)
	}
	k.client.encode(":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/d", "content-type", "application/json")
	for _, contentType := range []string{"application/grpc", "application/json", "application/grpc-web"} {
		k.server.encode(ok("content-type", contentType)...)
	}
	k.server.encode("grpc-status", "0", "grpc-message", "")
	k.server.encode("x-sum", "1")
	for range 1000 { // until it is certain where frames are
		k.client.frame(framePing, 0, 0, make([]byte, pingLen))
		k.server.frame(framePing, flagAck, 0, make([]byte, pingLen))
	}
	k.flush()
	return k
}

// post is a request whose content type the table has.
var post = []string{":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/d", "content-type", "application/json"}

// TestCallsAreToldByTheirMessages: of calls on a connection that was joined late neither path nor content type
// is known, but what their bodies are.
func TestCallsAreToldByTheirMessages(t *testing.T) {
	message := framed([]int{3})
	fine := []string{"grpc-status", "0", "grpc-message", ""}
	succeeds := func(k *talk, id uint32) {
		k.client.headers(id, false, call("/a.B/C")...).data(id, true, message)
		k.flush()
		k.server.headers(id, false, ok("content-type", "application/grpc")...).data(id, false, framed([]int{1, 2})).headers(id, true, fine...)
		k.flush()
	}
	const success = "1 GRPC [HEADERS_UNKNOWN PLACE_GUESSED] 1 2"
	for _, tt := range []struct {
		name string
		play func(k *talk)
		want []string // "stream protocol [flaws] messages either way status"
	}{
		{"messages and trailers", func(k *talk) { succeeds(k, 1) }, []string{success}},
		{"no messages", func(k *talk) {
			k.client.headers(1, false, post...).data(1, true, []byte(`{"a": 1}`))
			k.flush()
			k.server.headers(1, false, ok("content-type", "application/json")...).data(1, false, framed([]int{1})).headers(1, true, "x-sum", "1")
		}, []string{"1 HTTP2 [HEADERS_UNKNOWN]"}},
		{"a body that is more than messages", func(k *talk) {
			k.client.headers(1, false, post...).data(1, true, append(slices.Clone(message), 0))
			k.flush()
			k.server.headers(1, false, ok("content-type", "application/json")...).data(1, false, message).headers(1, true, "x-sum", "1")
		}, []string{"1 HTTP2 [HEADERS_UNKNOWN]"}},
		{"gRPC-Web, whose trailers are in the body", func(k *talk) {
			k.client.headers(1, false, call("/a.B/C")...).data(1, true, message)
			k.flush()
			k.server.headers(1, false, ok("content-type", "application/grpc-web")...).data(1, true, append(slices.Clone(message), flagTrailersOfWeb, 0, 0, 0, 0))
		}, []string{"1 HTTP2 [HEADERS_UNKNOWN]"}},
		{"a response of another type", func(k *talk) {
			k.client.headers(1, false, post...).data(1, true, message)
			k.flush()
			k.server.headers(1, false, ok("content-type", "text/plain")...).data(1, false, message).headers(1, true, "x-sum", "1")
		}, []string{"1 HTTP2 [HEADERS_UNKNOWN]"}},
		{"GET", func(k *talk) {
			k.client.headers(1, false, get("/d")...).data(1, true, message)
			k.flush()
			k.server.headers(1, false, ok("content-type", "application/json")...).data(1, false, message).headers(1, true, "x-sum", "1")
		}, []string{"1 HTTP2 [HEADERS_UNKNOWN]"}},
		{"the first one fails", func(k *talk) {
			k.client.headers(1, false, call("/a.B/C")...).data(1, true, message)
			k.flush()
			k.server.headers(1, true, ok("content-type", "application/grpc", "grpc-status", "0", "grpc-message", "")...)
		}, []string{"1 HTTP2 [HEADERS_UNKNOWN]"}},
		{"one of others fails", func(k *talk) {
			succeeds(k, 1)
			k.client.headers(3, false, call("/a.B/C")...).data(3, true, message)
			k.flush()
			k.server.headers(3, true, ok("content-type", "application/grpc", "grpc-status", "5", "grpc-message", "not here")...)
		}, []string{success, "3 GRPC [HEADERS_UNKNOWN PLACE_GUESSED] 1 0 status 5"}},
		{"a response before its request", func(k *talk) {
			request := k.client.headers(1, false, call("/a.B/C")...).data(1, true, message).take()
			k.server.headers(1, false, ok("content-type", "application/grpc")...).data(1, false, framed([]int{1, 2})).headers(1, true, fine...)
			k.chunk(fromServer, k.server.take(), k.offset[fromClient]+int64(len(request)))
			k.send(fromClient, request)
		}, []string{success}},
		{"a status that is new", func(k *talk) {
			k.client.headers(1, false, call("/a.B/C")...).data(1, true, message)
			k.flush()
			k.server.headers(1, false, ok("content-type", "application/grpc")...).data(1, false, message)
			k.server.headers(1, true, "grpc-status", "13", "grpc-message", "no")
		}, []string{"1 GRPC [HEADERS_UNKNOWN PLACE_GUESSED] 1 1 status 13"}},
		{"a number that may be something else", func(k *talk) {
			k.client.headers(1, false, call("/a.B/C")...).data(1, true, message)
			k.flush()
			k.server.headers(1, false, ok("content-type", "application/grpc")...).data(1, false, message)
			k.server.headers(1, true, "grpc-status", "0", "x-sum", "5")
		}, []string{"1 GRPC [HEADERS_UNKNOWN PLACE_GUESSED] 1 1"}},
		{"two numbers", func(k *talk) {
			k.client.headers(1, false, call("/a.B/C")...).data(1, true, message)
			k.flush()
			k.server.headers(1, false, ok("content-type", "application/grpc")...).data(1, false, message)
			k.server.headers(1, true, "grpc-status", "12", "x-sum", "5")
		}, []string{"1 GRPC [HEADERS_UNKNOWN PLACE_GUESSED] 1 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newLateTalk(t)
			tt.play(k)
			var got []string
			for _, x := range k.end() {
				got = append(got, likelyLine(x))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

const flagTrailersOfWeb = 0x80

func likelyLine(x *capstanv1.Exchange) string {
	var flaws []string
	for _, f := range x.Flaws {
		flaws = append(flaws, strings.TrimPrefix(f.String(), "FLAW_"))
	}
	line := fmt.Sprint(x.StreamId) + " " + strings.TrimPrefix(x.Protocol.String(), "PROTOCOL_") + " [" + strings.Join(flaws, " ") + "]"
	if g := x.Grpc; g != nil {
		line += " " + fmt.Sprint(g.RequestMessages.Count) + " " + fmt.Sprint(g.ResponseMessages.Count)
		if g.StatusKnown {
			line += " status " + fmt.Sprint(g.Status)
		}
	}
	return line
}

// TestLateTablesAreRecalled: a connection that was joined late has inserted all that its calls
// refer to since, and then loses one of them. How large its table may be is not known, but what it
// had room for: that of fields older than the one that is looked for.
func TestLateTablesAreRecalled(t *testing.T) {
	fine := []string{"grpc-status", "0", "grpc-message", ""}
	for _, size := range []int{0, 500} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			k := &talk{harness: newHarness(t, Config{InferFields: true}, 100, testConn(true)), client: newPeer(), server: newPeer()}
			request := slices.Insert(call("/a"), 8, "x-older", strings.Repeat("v", size))
			if size == 0 {
				request = call("/a")
			}
			for id := uint32(1); id < 5; id += 2 {
				k.says(id, request, fine)
			}
			k.loses(5, call("/b"), fine)
			k.says(7, request, fine)
			k.end()
			if got, want := strings.Contains(lastOf(k), "POST http h /a"), size > 0; got != want {
				t.Errorf("told %s", lastOf(k))
			}
		})
	}
}
