package engine

import (
	"slices"
	"strings"
	"testing"
)

// TestEndsOfDifferentProtocols: one end speaks HTTP/2 and the other HTTP/1. What each says is
// told, and a server's response to the preface as one to that.
func TestEndsOfDifferentProtocols(t *testing.T) {
	const (
		settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		get      = "\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x86" // HEADERS of stream 1, its end: GET / by http
		ok       = "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"
		refusal  = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
		proxied  = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
	)
	for _, tt := range []struct {
		name   string
		pieces []string
		want   []string
	}{
		{"both of HTTP/2", []string{"C:" + preface + settings + get, "S:" + settings + ok}, []string{"HTTP2 GET / 200"}},
		{"the server first", []string{"S:" + settings, "C:" + preface + settings + get, "S:" + ok}, []string{"HTTP2 GET / 200"}},
		{"a server of HTTP/1", []string{"C:" + preface + settings + get, "S:" + refusal}, []string{"HTTP2 GET / 0", "HTTP1 PRI * 400"}},
		{"that says what it means in a body", []string{"C:" + preface, "C:" + settings, "S:" + refusal + "what", "S: is this?", "C:" + get}, []string{"HTTP2 GET / 0", "HTTP1 PRI * 400"}},
		{"nothing but the preface", []string{"C:" + preface + settings, "S:" + response}, []string{"HTTP1 PRI * 200"}},
		{"behind a proxy", []string{"C:" + proxied + preface + settings + get, "S:" + refusal}, []string{"HTTP2 GET / 0", "HTTP1 PRI * 400"}},
		{"a server of something else", []string{"C:" + preface + settings + get, "S:SSH-2.0-x\r\n"}, []string{"HTTP2 GET / 0"}},
		{"the server's start is missing", []string{"C:" + preface + settings + get, "s:123", "S:" + refusal}, []string{"HTTP2 GET / 0"}},
		{"a client of HTTP/1", []string{"S:" + settings, "C:" + request, "S:\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"}, []string{"HTTP1 GET /x 0"}},
		{"that asks more", []string{"S:" + settings, "C:" + request[:20], "C:" + request[20:] + request}, []string{"HTTP1 GET /x 0", "HTTP1 GET /x 0"}},
		{"a client of something else", []string{"S:" + settings, "C:SSH-2.0-x\r\n"}, []string{"OTHER http2 11/9"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, e := play(t, false, tt.pieces...)
			var got []string
			ids := make(map[string]bool)
			for _, x := range records {
				got = append(got, words(x))
				ids[x.Id] = true
			}
			if !slices.Equal(got, tt.want) || len(ids) != len(got) {
				t.Errorf("got %q of %d ids, want %q", got, len(ids), tt.want)
			}
			if s := e.Snapshot(); s.HTTP1.Waiting != 0 || s.HTTP2.Open != 0 || s.Undecided.Held != 0 {
				t.Errorf("%d requests wait, %d streams are open, %d bytes are held", s.HTTP1.Waiting, s.HTTP2.Open, s.Undecided.Held)
			}
			var bytewise []string
			for _, piece := range tt.pieces {
				if strings.HasPrefix(piece, "s:") { // a gap
					bytewise = append(bytewise, piece)
					continue
				}
				bytewise = append(bytewise, split(piece[:2], piece[2:])...)
			}
			records, _ = play(t, false, bytewise...)
			got = got[:0]
			for _, x := range records {
				got = append(got, words(x))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("byte by byte: got %q, want %q", got, tt.want)
			}
		})
	}
}
