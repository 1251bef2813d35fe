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
	const unknown = "7 POST http   {?=? ?=? ?=? ?=?} 0 "
	const known = "7 POST http h /a {content-type=application/grpc te=trailers} 0 "
	// The response's head is half of the evidence, its trailers are the other.
	const responded = "→ []200 {?=?} 7{grpc-status=0 grpc-message=} HEADERS_UNKNOWN PLACE_GUESSED"
	const silent = "→ []200 {?=?} 7{?=? ?=?} HEADERS_UNKNOWN PLACE_GUESSED"
	tests := []struct {
		name string
		path string
		lose func(k *talk)
		want string
	}{
		{name: "nothing new", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/a"), fine)
		}, want: known + responded},
		{name: "a path", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/b"), fine)
		}, want: known + responded},
		{name: "the path, so that more than one number agrees", path: "/b", lose: func(k *talk) {
			k.loses(5, call("/b"), fine)
		}, want: unknown + silent},
		{name: "a status", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/a"), []string{"grpc-status", "5", "grpc-message", "not here"})
		}, want: known + silent},
		{name: "so much that all may have left", path: "/a", lose: func(k *talk) {
			k.loses(5, call("/a"), fine)
			k.client.frame(framePing, 0, 0, make([]byte, 8))
			k.gap(fromClient, len(k.client.take())+2000)
			k.gap(fromServer, 2000)
		}, want: unknown + silent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newTalk(t, Config{InferFields: true})
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
	k := newTalk(t, Config{InferFields: true})
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

// TestWhatCallsDontTell: nothing is known by calls where an encoder, or what was asked of it, shows
// that entries may have left the table for other reasons than that others came.
func TestWhatCallsDontTell(t *testing.T) {
	fine := []string{"grpc-status", "0", "grpc-message", ""}
	const request, trailers = "te=trailers", "grpc-status=0"
	for _, tt := range []struct {
		name   string
		before func(k *talk) // the calls
		then   func(k *talk) // between them and the loss
		tells  string        // of request, trailers; without the one the other is not known to be of a call
	}{
		{name: "nothing of the kind", tells: request + trailers},
		{name: "the tables became smaller", then: func(k *talk) {
			k.client.x.SetMaxDynamicTableSize(2000)
			k.server.x.SetMaxDynamicTableSize(2000)
			k.says(3, call("/a"), fine)
		}},
		{name: "before anything was in them", before: func(k *talk) {
			k.client.x.SetMaxDynamicTableSize(3000)
			k.server.x.SetMaxDynamicTableSize(3000)
		}, tells: request + trailers},
		{name: "they became larger", then: func(k *talk) {
			k.client.x.SetMaxDynamicTableSizeLimit(8192)
			k.client.x.SetMaxDynamicTableSize(8192)
			k.says(3, call("/a"), fine)
		}, tells: request + trailers},
		{name: "the server asks for less", then: func(k *talk) { k.server.settings(settingTableSize, 2000) }},
		{name: "the client asks for less", then: func(k *talk) { k.client.settings(settingTableSize, 2000) }, tells: request},
		{name: "they ask for as much", then: func(k *talk) {
			k.client.settings(settingTableSize, 4096)
			k.server.settings(settingTableSize, 4096)
		}, tells: request + trailers},
		{name: "the client asked before", before: func(k *talk) { k.client.settings(settingTableSize, 2000) }, tells: request + trailers},
		{name: "the client's table has a field twice", then: func(k *talk) { k.client.twice(3, "te", "trailers") }},
		{name: "another content type", then: func(k *talk) {
			k.client.headers(3, true, ":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/a", "content-type", "application/grpc+proto", "te", "trailers")
			k.flush()
			k.answers(3, fine)
		}, tells: request},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newTalk(t, Config{InferFields: true})
			if tt.before != nil {
				tt.before(k)
			}
			k.says(1, call("/a"), fine)
			if tt.then != nil {
				tt.then(k)
				k.flush()
			}
			k.loses(5, call("/a"), fine)
			k.says(7, call("/a"), fine)
			k.end()
			got := ""
			for _, field := range []string{request, trailers} {
				if strings.Contains(lastOf(k), field) {
					got += field
				}
			}
			if got != tt.tells {
				t.Errorf("%q is known, want %q: %s", got, tt.tells, lastOf(k))
			}
		})
	}
}

// twice sends a call whose last field is inserted although the table has it.
func (p *peer) twice(id uint32, name, value string) {
	block := p.encode(call("/a")[:len(call("/a"))-2]...)
	fresh := newPeer()
	p.frame(frameHeaders, flagEndHeaders|flagEndStream, id, block, fresh.encode(name, value))
}

// TestRecalledIsRefuted: what calls told is taken back when a section is none that a call has.
func TestRecalledIsRefuted(t *testing.T) {
	fine := []string{"grpc-status", "0", "grpc-message", ""}
	k := newTalk(t, Config{InferFields: true})
	k.says(1, call("/a"), fine)
	k.says(3, call("/a"), fine)
	k.loses(5, call("/a"), fine)
	k.says(7, call("/a"), fine)
	if got := lastOf(k); !strings.Contains(got, "te=trailers") {
		t.Fatalf("nothing was recalled: %s", got)
	}
	k.client.headers(9, true, get("/a")...) // with what the table had for calls
	k.client.headers(11, true, call("/a")...)
	k.end()
	for _, x := range k.records {
		if x.StreamId > 7 && (x.Request.Authority != "" || x.Request.Target != "") {
			t.Errorf("told %s", tell([]*capstanv1.Exchange{x}))
		}
	}
	if k.c.half[fromClient].hpack.Steady() {
		t.Error("the encoder is trusted")
	}
}
