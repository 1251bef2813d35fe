package engine

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestHTTP1ThatTellsNothing: a connection with an interim response, and none that it is
// of, has a record of its own.
func TestHTTP1ThatTellsNothing(t *testing.T) {
	const interim = "S:HTTP/1.1 100 Continue\r\n\r\n"
	for _, tt := range []struct {
		pieces []string
		want   string
	}{
		{[]string{interim}, "OTHER http 0/25"},
		{[]string{"S:HTTP/1.1 100 Continue\r\n", "C:the rest of a body"}, "OTHER http 18/23"},
		{[]string{interim, interim}, "OTHER http 0/50"},
		{[]string{interim, "S:HTTP/1.1 204 No Content\r\n\r\n"}, "HTTP1   204"},
	} {
		records, _ := play(t, true, tt.pieces...)
		if len(records) != 1 || words(records[0]) != tt.want {
			t.Errorf("%q: %v, want %s", tt.pieces, records, tt.want)
		}
	}
}

// TestWhateverComesIsToldOnce: whatever a connection carries, and whatever is missing, it
// has a record, and none of the connection besides those of messages.
func TestWhateverComesIsToldOnce(t *testing.T) {
	texts := []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HT", "TP/1.1\r\n\r\n", "\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", "GET  HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n", "HTTP/1.1 x\r\n\r\n",
		"CONNECT h:443 HTTP/1.1\r\n\r\n", "GET /up HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
		string(preface), "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x87", "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP4 1.2", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "\x00\x01\x02", "whatever",
	}
	for seed := range uint64(10000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var pieces []string
		for range 1 + r.IntN(6) {
			text := texts[r.IntN(len(texts))]
			if r.IntN(8) == 0 {
				text = text[:1+r.IntN(len(text))]
			}
			pieces = append(pieces, []string{"C:", "S:", "C:", "S:", "c:", "s:"}[r.IntN(6)]+text)
		}
		records, _ := play(t, r.IntN(2) == 0, pieces...)
		silent := 0
		for _, x := range records {
			if x.Connection != nil && strings.HasPrefix(x.Connection.LooksLike, "http") {
				silent++
			}
		}
		if len(records) == 0 || silent > 0 && len(records) > 1 {
			t.Fatalf("%q: %v", pieces, records)
		}
	}
}
