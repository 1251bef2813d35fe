package proxyproto

import (
	"net/netip"
	"strings"
	"testing"
)

const (
	v4 = signature2 + "\x21\x11\x00\x0c" + "\xc0\x00\x02\x07" + "\xc6\x33\x64\x01" + "\xc8\x25" + "\x01\xbb"
	v6 = signature2 + "\x21\x21\x00\x24" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\xc8\x25" + "\x01\xbb"
)

func TestParse(t *testing.T) {
	unix := signature2 + "\x21\x31\x00\xd8"
	for _, tt := range []struct {
		name, header        string
		version, len        int
		source, destination string
	}{
		{"version 1, IPv4", "PROXY TCP4 192.0.2.7 198.51.100.1 51237 443\r\n", 1, 45, "192.0.2.7:51237", "198.51.100.1:443"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 51237 443\r\n", 1, 46, "[2001:db8::7]:51237", "[2001:db8::1]:443"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", 1, 15, "", ""},
		{"version 1, unknown, with something", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", 1, 35, "", ""},
		{"version 1, the longest", "PROXY UNKNOWN " + strings.Repeat("x", maxLen1-16) + "\r\n", 1, maxLen1, "", ""},
		{"version 2, IPv4", v4, 2, 28, "192.0.2.7:51237", "198.51.100.1:443"},
		{"version 2, IPv6", v6, 2, 52, "[2001:db8::7]:51237", "[2001:db8::1]:443"},
		{"version 2, with fields", strings.Replace(v4, "\x00\x0c", "\x12\x00", 1), 2, 16 + 0x1200, "192.0.2.7:51237", "198.51.100.1:443"},
		{"version 2, datagrams", strings.Replace(v4, "\x21\x11", "\x21\x12", 1), 2, 28, "192.0.2.7:51237", "198.51.100.1:443"},
		{"version 2, unix", unix, 2, 232, "", ""},
		{"version 2, local", signature2 + "\x20\x00\x00\x00", 2, 16, "", ""},
		{"version 2, local, with addresses", strings.Replace(v4, "\x21\x11", "\x20\x11", 1), 2, 28, "", ""},
		{"version 2, unknown", signature2 + "\x21\x00\x00\x05", 2, 21, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h Header
			for behind := range 3 {
				var ok bool
				h, ok, _ = Parse([]byte(tt.header + "GET"[:behind]))
				if !ok || h.Version != tt.version || h.Len != tt.len || said(h.Source) != tt.source || said(h.Destination) != tt.destination {
					t.Errorf("%v %+v", ok, h)
				}
			}
			for n := range len(tt.header) {
				if early, ok, more := Parse([]byte(tt.header[:n])); ok && early != h || !ok && !more {
					t.Errorf("of %d bytes: %+v, ok %v, needs more %v", n, early, ok, more)
				}
			}
		})
	}
}

func said(e netip.AddrPort) string {
	if !e.IsValid() {
		return ""
	}
	return e.String()
}

// Nothing else is taken for a header.
func TestNoHeader(t *testing.T) {
	for _, b := range []string{
		"GET / HTTP/1.1\r\n", "PROXIED", "PROXY / HTTP/1.1\r\n", "PROXY\r\n", "PROXY \r\n", "PROXY TCP\r\n", "PROXY unknown\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 51237\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 51237 443 \r\n",
		"PROXY TCP4  192.0.2.7 198.51.100.1 51237 443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 51237 +443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100 51237 443\r\n",
		"PROXY TCP4 192.0.2.7 2001:db8::1 51237 443\r\n",
		"PROXY TCP6 192.0.2.7 198.51.100.1 51237 443\r\n",
		"PROXY TCP6 fe80::1%eth0 fe80::2 51237 443\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", maxLen1-15) + "\r\n",
		"\r\n\r\nGET", "\r\n\r\n\x00\r\nQUIT\r",
		signature2 + "\x11\x11\x00\x0c", // version 1
		signature2 + "\x22\x11\x00\x0c", // no such command
		signature2 + "\x21\x41\x00\x0c", // nor family
		signature2 + "\x21\x13\x00\x0c", // nor transport
		signature2 + "\x21\x11\x00\x0b", // too short for its addresses
		signature2 + "\x21\x21\x00\x0c",
		signature2 + "\x21\x31\x00\xd7",
	} {
		if h, ok, more := Parse([]byte(b)); ok || more {
			t.Errorf("%q: %+v, ok %v, needs more %v", b, h, ok, more)
		}
	}
}

// FuzzParse: what is a header stays one, the same, whatever follows; what is none
// becomes none; and no more is asked for than tells.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 51237 443\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v4 + "GET"))
	f.Add([]byte(v6))
	f.Add([]byte(signature2 + "\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wantOK, more := Parse(b)
		switch {
		case more && (wantOK || len(b) >= maxLen1):
			t.Fatalf("asks for more than %d bytes", len(b))
		case wantOK && (want.Len < len("PROXY UNKNOWN\r\n") || want.Source.IsValid() != want.Destination.IsValid()):
			t.Fatalf("impossible: %+v", want)
		case wantOK && want.Version == 1 && (want.Len > len(b) || !strings.HasSuffix(string(b[:want.Len]), "\r\n")):
			t.Fatalf("not a line: %+v", want)
		}
		for n := range min(len(b), 2*maxLen1) {
			h, ok, needMore := Parse(b[:n])
			switch {
			case ok && (!wantOK || h != want), !ok && !needMore && (wantOK || more):
				t.Fatalf("%d bytes: %v %+v, all: %v %+v", n, ok, h, wantOK, want)
			}
		}
	})
}
