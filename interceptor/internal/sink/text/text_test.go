package text

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"
)

func record() *capstanv1.Exchange {
	return &capstanv1.Exchange{
		Client: &capstanv1.Endpoint{Address: "10.0.0.2", Port: 4711}, Server: &capstanv1.Endpoint{Address: "2001:db8::1", Port: 8080},
		StartTimeUnixNs: 1_700_000_000_123_456_789, DurationNs: 3_400_000,
		Request:  &capstanv1.HttpRequest{Method: "GET", Target: "/cart?id=1", Authority: "shop", Body: &capstanv1.Body{}},
		Response: &capstanv1.HttpResponse{Status: 200, Body: &capstanv1.Body{Size: 1229}},
	}
}

func TestLines(t *testing.T) {
	const ends = "22:13:20.123 10.0.0.2:4711 → [2001:db8::1]:8080 "
	for _, tc := range []struct {
		name   string
		change func(*capstanv1.Exchange)
		want   string
	}{
		{"whole", func(*capstanv1.Exchange) {}, "GET http://shop/cart?id=1 200 0 B/1.2 KiB 3.4ms"},
		{"no response", func(x *capstanv1.Exchange) {
			x.Response, x.Flaws = nil, []capstanv1.Flaw{capstanv1.Flaw_FLAW_NO_RESPONSE, capstanv1.Flaw_FLAW_TIMEOUT}
		}, "GET http://shop/cart?id=1 – 0 B/– 3.4ms (response not seen, timed out)"},
		{"no request", func(x *capstanv1.Exchange) {
			x.Request, x.Flaws = nil, []capstanv1.Flaw{capstanv1.Flaw_FLAW_NO_REQUEST}
		},
			"– – 200 –/1.2 KiB 3.4ms (request not seen)"},
		{"absolute target", func(x *capstanv1.Exchange) { x.Request.Target = "http://other/x" }, "GET http://other/x 200 0 B/1.2 KiB 3.4ms"},
		{"authority unknown", func(x *capstanv1.Exchange) { x.Request.Authority = "" }, "GET /cart?id=1 200 0 B/1.2 KiB 3.4ms"},
		{"scheme", func(x *capstanv1.Exchange) { x.Request.Scheme = "https" }, "GET https://shop/cart?id=1 200 0 B/1.2 KiB 3.4ms"},
		{"gRPC", func(x *capstanv1.Exchange) { x.Grpc = &capstanv1.Grpc{StatusKnown: true, Status: 5} }, "GET http://shop/cart?id=1 200 grpc=5 0 B/1.2 KiB 3.4ms"},
		{"headers unknown", func(x *capstanv1.Exchange) {
			x.Request.Method, x.Request.Target, x.Response.Status = "", "", 0
			x.Flaws = []capstanv1.Flaw{capstanv1.Flaw_FLAW_HEADERS_UNKNOWN, capstanv1.Flaw_FLAW_RESET}
		}, "– – – 0 B/1.2 KiB 3.4ms (headers unknown, reset)"},
		{"asterisk", func(x *capstanv1.Exchange) { x.Request.Method, x.Request.Target = "OPTIONS", "*" }, "OPTIONS * 200 0 B/1.2 KiB 3.4ms"},
		{"TLS", func(x *capstanv1.Exchange) {
			x.Protocol, x.Tls = capstanv1.Protocol_PROTOCOL_TLS, &capstanv1.Tls{Version: 0x0304, ServerName: "shop\n", Alpn: "h2", CipherSuiteName: "TLS_AES_128_GCM_SHA256", Alerted: true, Alert: 40}
			x.Connection = &capstanv1.Connection{Close: capstanv1.Close_CLOSE_FIN, Client: &capstanv1.Traffic{Bytes: 10}, Server: &capstanv1.Traffic{Bytes: 2048}}
		}, `TLS 1.3 shop\n h2 TLS_AES_128_GCM_SHA256 alert=40 fin 10 B/2.0 KiB 3.4ms`},
		{"WebSocket", func(x *capstanv1.Exchange) {
			x.Protocol, x.Websocket = capstanv1.Protocol_PROTOCOL_WEBSOCKET, &capstanv1.WebSocket{
				Client: &capstanv1.WebSocketTraffic{TextMessages: 1, BinaryMessages: 2}, Server: &capstanv1.WebSocketTraffic{Closed: true, CloseCode: 1001}}
			x.Connection = &capstanv1.Connection{Close: capstanv1.Close_CLOSE_CAPTURE_ENDED}
		}, "WebSocket 3/0 messages code=1001 capture-ended 0 B/0 B 3.4ms"},
		{"another protocol", func(x *capstanv1.Exchange) {
			x.Protocol, x.Connection = capstanv1.Protocol_PROTOCOL_OTHER, &capstanv1.Connection{Close: capstanv1.Close_CLOSE_RESET, LooksLike: "ssh"}
		}, "TCP ssh reset 0 B/0 B 3.4ms"},
		{"sizes", func(x *capstanv1.Exchange) { x.Request.Body.Size, x.Response.Body.Size = 1023, 5<<30 }, "GET http://shop/cart?id=1 200 1023 B/5.0 GiB 3.4ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := record()
			tc.change(x)
			if got := string(Encoder{Location: time.UTC}.Append(nil, x)); got != ends+tc.want+"\n" {
				t.Errorf("got  %qwant %q", got, ends+tc.want+"\n")
			}
		})
	}
}

// A proxy is told with whom it speaks for, if it says so.
func TestProxied(t *testing.T) {
	x := record()
	x.Proxied = &capstanv1.Proxied{Version: 2, Source: &capstanv1.Endpoint{Address: "2001:db8::7", Port: 9}}
	for columns, want := range map[bool]string{
		false: "22:13:20.123 10.0.0.2:4711 (for [2001:db8::7]:9) → [2001:db8::1]:8080 GET",
		true:  " 10.0.0.2:4711 (for [2001:db8::7]:9) → [2001:db8::1]:8080\n",
	} {
		if got := string(Encoder{Location: time.UTC, Columns: columns}.Append(nil, x)); !strings.Contains(got, want) {
			t.Errorf("got  %q, want %q", got, want)
		}
	}
	x.ProxiedFurther = []*capstanv1.Proxied{{Version: 2}, {Version: 1, Source: &capstanv1.Endpoint{Address: "192.0.2.7", Port: 8}}}
	if got := string(Encoder{Location: time.UTC}.Append(nil, x)); !strings.Contains(got, "4711 (for [2001:db8::7]:9) (for 192.0.2.7:8) → ") {
		t.Errorf("got  %q", got)
	}
	x.Proxied.Source, x.ProxiedFurther = nil, nil
	if got := string(Encoder{Location: time.UTC}.Append(nil, x)); strings.Contains(got, "(for") {
		t.Errorf("for nobody: %q", got)
	}
}

// A SOCKS proxy is told with whom it was asked for.
func TestSocks(t *testing.T) {
	x := record()
	x.Socks = &capstanv1.Socks{Target: "\u202e[2001:db8::7]:9", Outer: &capstanv1.Socks{Outer: &capstanv1.Socks{Target: "inner:80"}}}
	for columns, want := range map[bool]string{
		false: "10.0.0.2:4711 → [2001:db8::1]:8080 (to inner:80) (to \\u202e[2001:db8::7]:9) GET",
		true:  " 10.0.0.2:4711 → [2001:db8::1]:8080 (to inner:80) (to \\u202e[2001:db8::7]:9)\n",
	} {
		if got := string(Encoder{Location: time.UTC, Columns: columns}.Append(nil, x)); !strings.Contains(got, want) {
			t.Errorf("got  %q, want %q", got, want)
		}
	}
}

// sgr matches the only control sequences we write ourselves.
var sgr = regexp.MustCompile("\x1b\\[[0-9]+m")

func TestColourAddsNothingButColour(t *testing.T) {
	for _, status := range []uint32{101, 204, 301, 404, 503} {
		x := record()
		x.Response.Status = status
		x.Flaws = []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP}
		plain := string(Encoder{Location: time.UTC}.Append(nil, x))
		coloured := string(Encoder{Location: time.UTC, Color: true}.Append(nil, x))
		if coloured == plain || sgr.ReplaceAllString(coloured, "") != plain {
			t.Errorf("coloured %q, plain %q", coloured, plain)
		}
		if i := strings.LastIndex(coloured, "\x1b["); !strings.HasPrefix(coloured[i:], reset) {
			t.Errorf("colour runs on past the line: %q", coloured)
		}
	}
}

// harmless reports whether a terminal prints line as it stands.
func harmless(line string) bool {
	if !utf8.ValidString(line) || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		return false
	}
	for _, r := range strings.TrimSuffix(line, "\n") {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Bidi_Control, r) {
			return false
		}
	}
	return true
}

func hostile(s string) *capstanv1.Exchange {
	x := record()
	x.Request.Method, x.Request.Target, x.Request.Authority = s, "/"+s, s
	return x
}

func TestHostileBytesAreEscaped(t *testing.T) {
	for _, s := range []string{
		"\x1b[2J", "\x1b]0;title\x07", "a\nb", "a\rb", "\x00", "\x7f", "\u009b31m", "\u202egpj.exe", "\u2066x\u2069", "\u200b", "\u2028", "\xff\xfe", "\ufeff", "\\x1b",
	} {
		line := string(Encoder{}.Append(nil, hostile(s)))
		if !harmless(line) {
			t.Errorf("%q gives %q", s, line)
		}
		if strings.Contains(line, s) && s != "\\x1b" {
			t.Errorf("%q came through: %q", s, line)
		}
	}
	a, b := Encoder{}.Append(nil, hostile("\x1b")), Encoder{}.Append(nil, hostile(`\x1b`))
	if string(a) == string(b) {
		t.Errorf("an escaped byte and its spelling look the same: %q", a)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if line := string(Encoder{}.Append(nil, hostile(string(b)+string(rune(r.IntN(0x30000)))))); !harmless(line) {
			t.Fatalf("%q gives %q", b, line)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("\x1b[31m", uint64(1), int64(2), uint32(3))
	f.Add("\u202e\xff", uint64(1)<<63, int64(-1), uint32(999))
	f.Fuzz(func(t *testing.T, s string, size uint64, duration int64, status uint32) {
		x := hostile(s)
		x.Request.Body.Size, x.DurationNs, x.Response.Status, x.StartTimeUnixNs = size, duration, status, size
		line := string(Encoder{Location: time.UTC}.Append(nil, x))
		if !harmless(line) {
			t.Errorf("%q", line)
		}
		if clock := time.Unix(0, int64(size)).UTC().Format("15:04:05.000 "); !strings.HasPrefix(line, clock) {
			t.Errorf("%q, want at %q", line, clock)
		}
	})
}
