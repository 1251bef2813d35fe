package engine

import (
	"cmp"
	"slices"
	"testing"

	"capstan/pkg/packet"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestReversedRoles has the end that was connected to send the requests.
func TestReversedRoles(t *testing.T) {
	h2 := http2Messages()
	for name, tt := range map[string]struct {
		messages []string // in turn, from the one that was connected to
		each     int      // bytes of a segment; 0: as many as fit
		protocol capstanv1.Protocol
		records  int
	}{
		"HTTP/1":              {[]string{get(1), answer(20), get(2), answer(3000)}, 0, capstanv1.Protocol_PROTOCOL_HTTP1, 2},
		"HTTP/1 byte by byte": {[]string{get(1), answer(20), get(2), answer(30)}, 1, capstanv1.Protocol_PROTOCOL_HTTP1, 2},
		"HTTP/2":              {h2, 0, capstanv1.Protocol_PROTOCOL_HTTP2, 1},
		"HTTP/2 byte by byte": {h2, 1, capstanv1.Protocol_PROTOCOL_HTTP2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var w wire
			c := w.connect(40000)
			for i, m := range tt.messages {
				for b := range slices.Chunk([]byte(m), cmp.Or(tt.each, len(m))) {
					c.say(1-i%2, string(b))
				}
			}
			records, _ := run(t, packet.Config{}, w.frames)
			if len(records) != tt.records {
				t.Fatalf("%d records: %v", len(records), records)
			}
			for _, x := range records {
				if x.Protocol != tt.protocol || !x.Complete || len(x.Flaws) > 0 || x.Request.GetMethod() != "GET" || x.Response.GetStatus() != 200 ||
					x.Client.GetPort() != 80 || x.Server.GetPort() != 40000 {
					t.Errorf("told %v", x)
				}
			}
		})
	}
}

// Roles stay as the handshake has them where the end that connected spoke first.
func TestRolesStay(t *testing.T) {
	for _, pieces := range [][]string{
		{"C:HELO me\r\n", "S:" + request, "C:" + response},
		{"C:" + request, "S:" + request}, // an echo
	} {
		records, _ := play(t, false, pieces...)
		for _, x := range records {
			if x.Complete || x.Response != nil && x.Request != nil {
				t.Errorf("%q: told %v", pieces, x)
			}
		}
	}
}

// TestHelloInVain has a TLS client meet a server that speaks something else.
func TestHelloInVain(t *testing.T) {
	hello := "C:" + clientHello(t, "shop.example")
	for _, tt := range []struct {
		pieces []string
		want   string
	}{
		{[]string{hello, "S:HTTP/1.0 400 Bad Request\r\n\r\n"}, "http"},
		{[]string{hello, "S:SSH-2.0-x\r\n", "S:y"}, "ssh"},
		{[]string{hello, "S:S", "S:SH-2.0-x\r\n"}, "ssh"},
		{[]string{"S:SSH-2.0-x\r\n", hello}, "ssh"}, // who speaks first
		{[]string{hello, "S:no\r\n"}, "text"},
		{[]string{hello, "S:\x16", "S:\xff"}, "binary"},
		{[]string{hello, "S:\x16\x03"}, ""},
		{[]string{hello, "S:\x15\x03\x03\x00\x02\x02\x28"}, ""},                   // an alert
		{[]string{hello, "s:lost", "S:HTTP/1.0 400 Bad Request\r\n\r\n"}, ""},     // not the first bytes
		{[]string{"C:\x17\x03\x03\x00\x45rest", "S:HTTP/1.0 400 no\r\n\r\n"}, ""}, // no hello
	} {
		records, _ := play(t, false, tt.pieces...)
		if len(records) != 1 || records[0].Tls == nil || records[0].Connection.LooksLike != tt.want {
			t.Errorf("%q: told %v, want an answer like %q", tt.pieces[1:], records, tt.want)
		}
	}
}
