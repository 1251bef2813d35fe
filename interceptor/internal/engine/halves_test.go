package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/packet"
)

// TestHalfOrderDoesNotMatter captures segments before those of the other end that they
// answer: where a response's framing, or what follows it, depends on its request, it is
// still told the same.
func TestHalfOrderDoesNotMatter(t *testing.T) {
	h2 := http2Messages()
	const made = "HTTP/1.1 200 OK\r\n\r\n"
	for name, said := range map[string][]string{
		"HEAD":      {"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", request, response},
		"CONNECT":   {"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", made, request, response, request, response},
		"WebSocket": {"GET /up HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi", "\x88\x82\x00\x00\x00\x00\x03\xe8", "\x88\x02\x03\xe8"},
		"HTTP/2":    h2,
		"tunnel":    {proxied1 + "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", made, "SSH-2.0-a\r\n", "SSH-2.0-b\r\n"},
		"SMTP":      {"EHLO me\r\n", "250 STARTTLS\r\n", "STARTTLS\r\n", "220 go\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			const handshake = 3
			var w wire
			c := w.connect(40000)
			for i, m := range said {
				c.say(i%2, m)
			}
			want := toldInOrder(t, w.frames)
			for from := handshake; from < len(w.frames); from++ {
				for to := from + 2; to <= len(w.frames); to++ {
					frames := slices.Clone(w.frames)
					slices.Reverse(frames[from:to])
					if got := toldInOrder(t, frames); got != want {
						t.Errorf("frames %d to %d backwards:\n%s\nin order:\n%s", from, to, got, want)
					}
					compareShards(t, name, frames)
				}
			}
		})
	}
}

// toldInOrder is what is told of frames, in whose order time passes.
func toldInOrder(t *testing.T, frames []capture.Frame) string {
	for i := range frames {
		frames[i].Timestamp = int64(1+i) * 10_000
	}
	records, _ := run(t, packet.Config{}, frames)
	var told []string
	for _, x := range records {
		told = append(told, fmt.Sprint(x.Id, " ", words(x), x.Complete, x.Flaws))
	}
	return strings.Join(told, "\n")
}
