package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// beginnings are what connections begin with, the client's and the server's first
// bytes.
func beginnings(t testing.TB) map[string][2]string {
	h2 := http2Messages()
	hello := clientHello(t, "inner.example")
	const alert = "\x15\x03\x03\x00\x02\x02\x28"
	const upgrade = "GET /up HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	return map[string][2]string{
		"HTTP/1":                      {request, response},
		"HTTP/1, empty lines first":   {"\r\n\r\n" + request, response},
		"HTTP/1, spaces in a target":  {"GET /a b c HTTP/1.1\r\nHost: h\r\n\r\n", response},
		"HTTP/1, unknown method":      {"FROB /x HTTP/1.1\r\nHost: h\r\n\r\n", response},
		"HTTP/1, no version":          {"GET /x\r\n", "hello"},
		"HTTP/1, version alone":       {"GET HTTP/1.1\r\n\r\n", response},
		"HTTP/1, two spaces":          {"GET  /x HTTP/1.1\r\nHost: h\r\n\r\n", response},
		"HTTP/1, long target":         {"GET /" + strings.Repeat("x", 600) + " HTTP/1.1\r\nHost: h\r\n\r\n", response},
		"HTTP/1, long strange target": {"GET /" + strings.Repeat("x", 600) + "\x00\x01\x02", "no"},
		"HTTP/1, version 2":           {"GET /x HTTP/2.0\r\nHost: h\r\n\r\n", response},
		"HTTP/1, strange answer":      {request, "HTTP/1.1 2x0 OK\r\n\r\n"},
		"HTTP/1, no reason":           {request, "HTTP/1.1 204\r\n\r\n"},
		"HTTP/2":                      {h2[0], h2[1]},
		"HTTP/2, preface and more":    {"PRI * HTTP/20\r\n\r\nSM\r\n\r\n", h2[1]},
		"HTTP/2, preface to HTTP/1":   {"PRI * HTTP/1.1\r\n\r\n", response},
		"HTTP/2, preface cut":         {preface[:20], "HTTP/1.1 400 Bad Request\r\n\r\n"},
		"HTTP/2, preface changed":     {preface[:18] + "MS\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"},
		"HTTP/2, to a server of 1":    {h2[0], "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"},
		"HTTP/2, no frames":           {preface + "GET / HTTP/1.1\r\n\r\n", h2[1]},
		"HTTP/2, strange answer":      {h2[0], "\x00\x00\x06\x04\x01no"},
		"TLS":                         {hello, alert},
		"TLS, in vain":                {hello, "HTTP/1.0 400 Bad Request\r\n\r\n"},
		"TLS, strange length":         {"\x16\x03\x01\xff\xff\x01", alert},
		"WebSocket":                   {upgrade, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi\x88\x00"},
		"PROXY v1":                    {proxied1 + request, response},
		"PROXY v1, wrong":             {"PROXY TCP4 nobody\r\n", "no\r\n"},
		"PROXY v1, request":           {"PROXY /x HTTP/1.1\r\nHost: h\r\n\r\n", response},
		"PROXY v2":                    {proxied2 + request, response},
		"PROXY v2, wrong":             {proxiedStart + "\x31\x11\x00\x0c" + proxiedEnds, response},
		"PROXY v2, request":           {"\r\n\r\n" + request, response},
		"PROXY, TLS":                  {proxied2 + hello, alert},
		"PROXY, HTTP/2":               {proxied1 + h2[0], h2[1]},
		"PROXY, malformed preface":    {proxied1 + "PRI * HTTP/20\r\n\r\n", response},
		"PROXY, twice":                {proxied2 + proxied1 + request, response},
		"PROXY, and in a tunnel":      {proxied1 + "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n" + proxied2 + proxied1 + hello, "HTTP/1.1 200 OK\r\n\r\n" + alert},
		"PROXY, nothing":              {proxied2, ""},
		"a tunnel":                    {"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nSSH-2.0-a\r\n"},
		"text":                        {"HELO me\r\n", "220 mail.example\r\n"},
		"binary":                      {"\x00\x00\x00\x10binary", "\x00\x00\x00\x04\x00\x00\x00\x00\x01"},
		"SSH":                         {"SSH-2.0-a\r\n", "SSH-2.0-b\r\n"},
		"zeros":                       {strings.Repeat("\x00", 30), strings.Repeat("\x00", 30)},
		"capital letters":             {"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"},
	}
}

// FuzzDetectionStays: more bytes change no decision.
func FuzzDetectionStays(f *testing.F) {
	for _, said := range beginnings(f) {
		f.Add([]byte(said[0]))
		f.Add([]byte(said[1]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 2000)]
		late := detect(b, false)
		for cut := range b {
			if early := detect(b[:cut], false); early != Undecided && early != late {
				t.Fatalf("%q is %v, %q is %v", b[:cut], early, b, late)
			}
		}
	})
}

// TestCutsDoNotMatter holds that the same bytes are told the same however they are cut
// into segments.
func TestCutsDoNotMatter(t *testing.T) {
	for name, said := range beginnings(t) {
		t.Run(name, func(t *testing.T) {
			want := toldOf(t, "C:"+said[0], "S:"+said[1])
			for _, first := range [][2][]string{
				{byBytes("C:", said[0]), {"S:" + said[1]}},
				{{"C:" + said[0]}, byBytes("S:", said[1])},
				{byBytes("C:", said[0]), byBytes("S:", said[1])},
			} {
				if got := toldOf(t, slices.Concat(first[0], first[1])...); got != want {
					t.Errorf("byte by byte:\n%s\nwhole:\n%s", got, want)
				}
			}
			for side, prefix := range []string{"C:", "S:"} {
				for cut := 1; cut < len(said[side]); cut++ {
					pieces := []string{"C:" + said[0], "S:" + said[1]}
					pieces = slices.Replace(pieces, side, side+1, prefix+said[side][:cut], prefix+said[side][cut:])
					if got := toldOf(t, pieces...); got != want {
						t.Errorf("%s cut at %d:\n%s\nwhole:\n%s", prefix, cut, got, want)
					}
				}
			}
		})
	}
}

// TestRequestLineInManyPieces: more pieces than are held, of which the first are those of a
// request with a path.
func TestRequestLineInManyPieces(t *testing.T) {
	for _, target := range []string{"/" + strings.Repeat("x", maxHeldChunks), "/" + strings.Repeat("y", 2*maxHeldChunks)} {
		long := "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n"
		want := toldOf(t, "C:"+long, "S:"+response)
		if got := toldOf(t, append(split("C:", long), "S:"+response)...); got != want {
			t.Errorf("byte by byte:\n%s\nwhole:\n%s", got, want)
		}
	}
}

// byBytes cuts s into as many single bytes as are held of what is undecided, and the rest.
func byBytes(prefix, s string) []string {
	n := min(len(s), maxHeldChunks-1)
	return append(split(prefix, s[:n]), prefix+s[n:])
}

// toldOf is what is told of pieces, but for what they are: their times and their number.
func toldOf(t *testing.T, pieces ...string) string {
	t.Helper()
	records, e := play(t, false, slices.DeleteFunc(pieces, func(p string) bool { return len(p) == 2 })...)
	var told []string
	for _, x := range records {
		told = append(told, fmt.Sprint(words(x), x.Complete, x.Flaws, x.Proxied, x.ProxiedFurther))
	}
	for p, n := range e.shard.protocols {
		if n.Connections > 0 {
			told = append(told, fmt.Sprint(Protocol(p)))
		}
	}
	return strings.Join(told, "\n")
}
