package http2

import (
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

func call(path string, more ...string) []string {
	return append([]string{":method", "POST", ":scheme", "http", ":authority", "h", ":path", path, "content-type", "application/grpc", "te", "trailers"}, more...)
}

// says plays a call: request and response, each in one segment.
func (k *talk) says(id uint32, request, trailers []string) {
	k.client.headers(id, true, request...)
	k.flush()
	k.answers(id, trailers)
	k.flush()
}

func (k *talk) answers(id uint32, trailers []string) {
	k.server.headers(id, false, ok("content-type", "application/grpc")...).data(id, false, make([]byte, 7))
	k.server.headers(id, true, trailers...)
}

// loses plays a call that is not captured.
func (k *talk) loses(id uint32, request, trailers []string) {
	k.client.headers(id, true, request...)
	k.gap(fromClient, len(k.client.take()))
	k.answers(id, trailers)
	k.gap(fromServer, len(k.server.take()))
}

// lastOf tells the call that k.says played last, stream 7.
func lastOf(k *talk) string {
	for _, x := range k.records {
		if x.StreamId == 7 {
			return strings.TrimSpace(tell([]*capstanv1.Exchange{x}))
		}
	}
	return ""
}

// TestCallsTellWhatTheTableHad: calls are lost, and the next one tells by where the table
// has the fields of all calls what else it refers to, or doesn't.
func TestCallsTellWhatTheTableHad(t *testing.T) {
	fine := []string{"grpc-status", "0", "grpc-message", ""}
	const known = "7 POST http h /a {content-type=application/grpc te=trailers} 0 "
	tests := []struct {
		name string
		path string
		lose func(k *talk)
		want string
	}{
		{name: "nothing new", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/a"), fine)
		}, want: known + "→ []200 {content-type=application/grpc} 7{grpc-status=0 grpc-message=} PLACE_GUESSED"},
		{name: "a path", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/b"), fine)
		}, want: known + "→ []200 {content-type=application/grpc} 7{grpc-status=0 grpc-message=} PLACE_GUESSED"},
		{name: "the path, so that more than one number agrees", path: "/b", lose: func(k *talk) {
			k.loses(5, call("/b"), fine)
		}, want: "7 POST http   {?=? ?=? ?=? ?=?} 0 → []200 {?=?} 7{?=? ?=?} HEADERS_UNKNOWN PLACE_GUESSED"},
		{name: "a status", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/a"), []string{"grpc-status", "5", "grpc-message", "not here"})
		}, want: known + "→ []200 {?=?} 7{?=? ?=?} HEADERS_UNKNOWN PLACE_GUESSED"},
		{name: "so much that all may have left", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/a"), fine)
			k.client.frame(framePing, 0, 0, make([]byte, 8))
			k.gap(fromClient, len(k.client.take())+2000)
			k.gap(fromServer, 2000)
		}, want: "7 POST http   {?=? ?=? ?=? ?=?} 0 → []200 {?=?} 7{?=? ?=?} HEADERS_UNKNOWN PLACE_GUESSED"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newTalk(t, Config{})
			k.says(1, call("/a"), fine)
			k.says(3, call("/a"), fine)
			test.lose(k)
			k.says(7, call(test.path), fine)
			k.end()
			if got := lastOf(k); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestOtherRequestsTellNothing: on a connection that carries other requests than calls too,
// what looks like the fields of a call is not looked for.
func TestOtherRequestsTellNothing(t *testing.T) {
	fine := []string{"grpc-status", "0"}
	k := newTalk(t, Config{})
	k.says(1, call("/a"), fine)
	k.client.headers(3, true, get("/")...)
	k.server.headers(3, true, ok()...)
	k.flush()
	k.loses(5, call("/a"), fine)
	k.says(7, call("/a"), fine)
	k.end()
	if got := lastOf(k); strings.Contains(got, "te=trailers") {
		t.Errorf("told %s", got)
	}
}
