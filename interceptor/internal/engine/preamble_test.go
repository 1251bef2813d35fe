package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/interceptor/internal/l7/proxyproto"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Headers of the PROXY protocol.
const (
	proxied1     = "PROXY TCP4 192.0.2.7 198.51.100.1 51237 443\r\n"
	proxiedStart = "\r\n\r\n\x00\r\nQUIT\n"
	proxiedEnds  = "\xc0\x00\x02\x07\xc6\x33\x64\x01\xc8\x25\x01\xbb"
	proxied2     = proxiedStart + "\x21\x11\x00\x0c" + proxiedEnds
	proxiedLocal = proxiedStart + "\x20\x00\x00\x00"
)

// TestBehindPROXY tells what connections carry behind a header of the PROXY protocol.
func TestBehindPROXY(t *testing.T) {
	hello := clientHello(t, "inner.example")
	h2 := http2Messages()
	fields := strings.Repeat("x", 20_000) // more than is held of anything undecided
	long := proxiedStart + "\x21\x11" + string([]byte{byte((12 + len(fields)) >> 8), byte(12 + len(fields))}) + proxiedEnds + fields
	const (
		exchanged, health = "HTTP1 GET /x 200", "OTHER proxy-protocol "
		connect, made     = "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"
	)
	for _, tt := range []struct {
		name      string
		midstream bool
		pieces    []string
		want      []string
	}{
		{"version 1", false, []string{"C:" + proxied1 + request, "S:" + response, "C:" + request, "S:" + response}, []string{exchanged, exchanged}},
		{"version 2", false, []string{"C:" + proxied2 + request, "S:" + response, "C:" + request, "S:" + response}, []string{exchanged, exchanged}},
		{"in a segment of its own", false, []string{"C:" + proxied2, "C:" + request, "S:" + response}, []string{exchanged}},
		{"version 1, byte by byte", false, slices.Concat(split("C:", proxied1+request), split("S:", response)), []string{exchanged}},
		{"version 2, byte by byte", false, slices.Concat(split("C:", proxied2+request), split("S:", response)), []string{exchanged}},
		{"local", false, []string{"C:" + proxiedLocal + request, "S:" + response}, []string{exchanged}},
		{"with many fields", false, []string{"C:" + long[:20], "C:" + long[20:1000], "C:" + long[1000:9000], "C:" + long[9000:] + request, "S:" + response}, []string{exchanged}},
		{"fields lost", false, []string{"C:" + long[:1000], "c:" + long[1000:], "C:" + request, "S:" + response}, []string{exchanged}},
		{"fields and more lost", false, []string{"C:" + long[:1000], "c:" + long[1000:] + "GET /", "C:lost HTTP/1.1\r\n\r\n", "S:" + response, "C:" + request, "S:" + response},
			[]string{"HTTP1   200", exchanged}},
		{"joined at the header", true, []string{"C:" + proxied1 + request, "S:" + response}, []string{exchanged}},
		{"further headers", false, []string{"C:" + proxied2 + proxied1 + proxiedLocal + proxied1 + request, "S:" + response}, []string{exchanged}},
		{"further headers, byte by byte", false, slices.Concat(split("C:", proxied2+proxied1+proxied2+request), split("S:", response)), []string{exchanged}},
		{"further headers, each in segments", false, []string{"C:" + proxied1[:9], "C:" + proxied1[9:] + proxied2[:5], "C:" + proxied2[5:], "C:" + long[:1000], "C:" + long[1000:] + request, "S:" + response}, []string{exchanged}},
		{"further headers, nothing behind", false, []string{"C:" + proxied2 + proxied1}, []string{health + fmt.Sprint(len(proxied2+proxied1), "/0")}},
		{"too many headers", false, []string{"C:" + strings.Repeat(proxied1, 5) + request}, []string{fmt.Sprintf("OTHER text %d/0", 5*len(proxied1)+len(request))}},
		{"a further header of the server", false, []string{"C:" + proxied1, "S:" + proxied1, "C:" + request}, []string{"HTTP1 GET /x 0"}},
		{"in a tunnel", false, []string{"C:" + connect, "S:" + made, "C:" + proxied1 + request, "S:" + response}, []string{"HTTP1 CONNECT h:1 200", exchanged}},
		{"in a tunnel, before the answer", false, []string{"C:" + connect + proxied2[:5], "C:" + proxied2[5:20], "S:" + made, "C:" + proxied2[20:] + hello}, []string{"HTTP1 CONNECT h:1 200", "TLS inner.example"}},
		{"in a tunnel behind one, twice", false, []string{"C:" + proxied1 + connect, "S:" + made, "C:" + proxied2 + proxied1 + "SSH-2.0-a\r\n", "S:SSH-2.0-b\r\n"},
			[]string{"HTTP1 CONNECT h:1 200", fmt.Sprintf("OTHER ssh %d/11", len(proxied2+proxied1)+11)}},
		{"in a tunnel, not of the client", false, []string{"C:" + connect, "S:" + made + proxied1, "C:" + request}, []string{"HTTP1 CONNECT h:1 200", "HTTP1 GET /x 0"}},
		{"HTTP/2", false, []string{"C:" + proxied2 + h2[0], "S:" + h2[1]}, []string{"HTTP2 GET /api/items/1 200"}},
		{"HTTP/2, byte by byte", false, slices.Concat(split("C:", proxied1+h2[0]), split("S:", h2[1])), []string{"HTTP2 GET /api/items/1 200"}},
		{"TLS", false, []string{"C:" + proxied1 + hello}, []string{"TLS inner.example"}},
		{"a tunnel", false, []string{"C:" + proxied2 + "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n", "C:" + request, "S:" + response},
			[]string{"HTTP1 CONNECT h:1 200", exchanged}},
		{"something else", false, []string{"C:" + proxied1 + "SSH-2.0-a\r\n", "S:SSH-2.0-b\r\n"}, []string{fmt.Sprintf("OTHER ssh %d/11", len(proxied1)+11)}},
		{"something else, by the server", false, []string{"C:" + proxied2, "S:220 mail.example\r\n", "C:EHLO me\r\n"}, []string{fmt.Sprintf("OTHER smtp-or-ftp %d/18", len(proxied2)+9)}},
		{"something else, before the header", false, []string{"S:220 mail.example\r\n", "C:" + proxied2 + "EHLO me\r\n"}, []string{fmt.Sprintf("OTHER smtp-or-ftp %d/18", len(proxied2)+9)}},
		{"nothing", false, []string{"C:" + proxied2}, []string{health + "28/0"}},
		{"nothing, local, in pieces", false, []string{"C:" + proxiedLocal[:3], "C:" + proxiedLocal[3:]}, []string{health + "16/0"}},
		{"nothing, with many fields", false, []string{"C:" + long[:1000], "C:" + long[1000:]}, []string{health + fmt.Sprint(len(long), "/0")}},
		{"half of a header", false, []string{"C:" + proxied1[:20]}, []string{"OTHER text 20/0"}},
		{"no header", false, []string{"C:PROXY TCP4 nobody\r\n", "S:no\r\n"}, []string{"OTHER text 19/4"}},
		{"not of the client", false, []string{"S:" + proxied1, "C:no\r\n"}, []string{fmt.Sprintf("OTHER text 4/%d", len(proxied1))}},
		{"not the first bytes", false, []string{"C:HELO\r\n", "S:yes\r\n", "C:" + proxied1}, []string{fmt.Sprintf("OTHER text %d/5", 6+len(proxied1))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, _ := play(t, tt.midstream, tt.pieces...)
			var got []string
			for _, x := range records {
				got = append(got, words(x))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

// Every record tells what the proxy said.
func TestProxiedIsTold(t *testing.T) {
	end := func(address string, port uint32) *capstanv1.Endpoint {
		return &capstanv1.Endpoint{Address: address, Port: port}
	}
	const mapped = proxiedStart + "\x21\x21\x00\x24" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\xc8\x25\x01\xbb"
	hello := clientHello(t, "inner.example")
	h2 := http2Messages()
	for _, tt := range []struct {
		header string
		want   *capstanv1.Proxied
	}{
		{"", nil},
		{proxied1, &capstanv1.Proxied{Version: 1, Source: end("192.0.2.7", 51237), Destination: end("198.51.100.1", 443)}},
		{proxied2, &capstanv1.Proxied{Version: 2, Source: end("192.0.2.7", 51237), Destination: end("198.51.100.1", 443)}},
		{mapped, &capstanv1.Proxied{Version: 2, Source: end("192.0.2.7", 51237), Destination: end("2001:db8::1", 443)}},
		{proxiedLocal, &capstanv1.Proxied{Version: 2}},
		{"PROXY UNKNOWN\r\n", &capstanv1.Proxied{Version: 1}},
	} {
		for name, behind := range map[string][]string{
			"HTTP/1": {request, response, request, response}, "HTTP/2": h2, "TLS": {hello, "\x15\x03\x03\x00\x02\x02\x28"}, "SSH": {"SSH-2.0-a\r\n", "SSH-2.0-b\r\n"},
			"a tunnel": {"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", hello},
		} {
			pieces := []string{"C:" + tt.header + behind[0]}
			for i, p := range behind[1:] {
				pieces = append(pieces, "SC"[i%2:i%2+1]+":"+p)
			}
			records, _ := play(t, false, pieces...)
			for _, x := range records {
				if !proto.Equal(x.Proxied, tt.want) {
					t.Errorf("%s behind %q: %v, want %v", name, tt.header, x.Proxied, tt.want)
				}
			}
			if len(records) == 0 {
				t.Errorf("%s behind %q: nothing told", name, tt.header)
			}
		}
	}
}

// What further headers said is told, too, of a tunnel only where the record is of what it
// carries.
func TestFurtherProxiesAreTold(t *testing.T) {
	const (
		third   = "PROXY TCP6 2001:db8::7 2001:db8::1 7 8\r\n"
		connect = "C:CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"
		made    = "S:HTTP/1.1 200 OK\r\n\r\n"
	)
	for _, tt := range []struct {
		pieces []string
		want   []string // of each record, version and source of each header
	}{
		{[]string{"C:" + proxied2 + proxiedLocal + third + request, "S:" + response, "C:" + request}, []string{"2 192.0.2.7, 2 , 1 2001:db8::7", "2 192.0.2.7, 2 , 1 2001:db8::7"}},
		{[]string{connect, made, "C:" + proxied1 + third + request}, []string{"", "1 192.0.2.7, 1 2001:db8::7"}},
		{[]string{"C:" + proxied2 + connect[2:], made, "C:" + proxied1 + connect[2:], made, "C:" + third + "SSH-2.0-a\r\n"},
			[]string{"2 192.0.2.7", "2 192.0.2.7, 1 192.0.2.7", "2 192.0.2.7, 1 192.0.2.7, 1 2001:db8::7"}},
	} {
		records, _ := play(t, false, tt.pieces...)
		var got []string
		for _, x := range records {
			var said []string
			for _, p := range append([]*capstanv1.Proxied{x.Proxied}, x.ProxiedFurther...) {
				if p != nil {
					said = append(said, fmt.Sprint(p.Version, " ", p.Source.GetAddress()))
				}
			}
			got = append(got, strings.Join(said, ", "))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: told %q, want %q", tt.pieces, got, tt.want)
		}
	}
}

// The record of a connection counts the header, and each segment once.
func TestPROXYIsCounted(t *testing.T) {
	hello := clientHello(t, "inner.example")
	for name, behind := range map[string]string{"TLS": hello, "something else": "SSH-2.0-a\r\n"} {
		for _, tt := range []struct {
			pieces   []string
			segments uint64
		}{
			{[]string{"C:" + proxied2 + behind}, 1},
			{[]string{"C:" + proxied2, "C:" + behind}, 2},
			{[]string{"C:" + proxied2[:7], "C:" + proxied2[7:20], "C:" + proxied2[20:] + behind[:3], "C:" + behind[3:]}, 4},
		} {
			records, _ := play(t, false, append(tt.pieces, "S:\x00")...)
			sent := records[0].Connection.GetClient()
			if want := uint64(len(proxied2) + len(behind)); len(records) != 1 || sent.GetBytes() != want || sent.GetSegments() != tt.segments {
				t.Errorf("%s, %d pieces: %v, want %d bytes in %d segments", name, len(tt.pieces), records, want, tt.segments)
			}
		}
	}
}

// Roles are those of who asks and who answers, whoever sent the header.
func TestReversedBehindPROXY(t *testing.T) {
	records, _ := play(t, false, "C:"+proxied2, "S:"+request, "C:"+response)
	var plain []*capstanv1.Exchange
	plain, _ = play(t, false, "S:"+request, "C:"+response)
	if len(records) != 1 || len(plain) != 1 || !records[0].Complete || records[0].Id != plain[0].Id {
		t.Errorf("told %v, want %v", records, plain)
	}
}

// The first request is known to be the first behind a header, too: a response that
// was delivered before it is its own.
func TestFirstRequestBehindPROXYComesLate(t *testing.T) {
	for _, header := range []string{"", proxied1, proxied2} {
		var records []*capstanv1.Exchange
		e := New(Config{Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
		conn := &reassembly.Conn{ClientKnown: true, Client: flow.AToB}
		conn.Handler = e.shard.newConnection(conn)
		sent := int64(len(header) + len(request))
		if header != "" {
			conn.Handler.Data(flow.AToB, reassembly.Chunk{Time: 1, Bytes: []byte(header)})
		}
		conn.Handler.Data(flow.BToA, reassembly.Chunk{Time: 3, Acked: sent, Bytes: []byte(response)})
		conn.Handler.Data(flow.AToB, reassembly.Chunk{Time: 2, Offset: int64(len(header)), Bytes: []byte(request)})
		conn.Handler.Close(4, reassembly.CloseEndOfCapture)
		if len(records) != 1 || !records[0].Complete {
			t.Errorf("behind %q: told %v", header, records)
		}
	}
}

// FuzzBehindPROXY: what is told behind a header is what is told without, wherever
// segments end.
func FuzzBehindPROXY(f *testing.F) {
	behind := []string{request, http2Messages()[0], "\x16\x03\x01\x00\x05hello", "SSH-2.0-a\r\n"}
	f.Add(proxied1, uint8(0), uint64(1))
	f.Add(proxied2, uint8(1), uint64(2))
	f.Add(proxiedLocal, uint8(2), uint64(3))
	f.Add(proxiedStart+"\x21\x11\x00\x20"+proxiedEnds+"fields of 20 bytes..", uint8(3), uint64(4))
	f.Add("PROXY TCP4 no header\r\n", uint8(3), uint64(5))
	f.Add(proxied1+proxied2+proxiedLocal, uint8(0), uint64(6))
	f.Fuzz(func(t *testing.T, header string, which uint8, seed uint64) {
		said := behind[int(which)%len(behind)]
		if len(header)+len(said) > maxHeldChunks {
			return
		}
		tell := func(front int, pieces ...string) (told []string) {
			records, _ := play(t, false, append(pieces, "S:"+response)...)
			for _, x := range records {
				if x.Connection != nil {
					x.Connection.Client.Bytes -= uint64(front)
				}
				told = append(told, fmt.Sprint(words(x), x.Complete, x.Flaws))
			}
			return told
		}
		r := rand.New(rand.NewPCG(seed, 0))
		var pieces []string
		for rest := header + said; rest != ""; {
			n := 1 + r.IntN(len(rest))
			pieces, rest = append(pieces, "C:"+rest[:n]), rest[n:]
		}
		rest := header
		for range maxHeaders {
			if h, ok, _ := proxyproto.Parse([]byte(rest)); ok && h.Len <= len(rest) {
				rest = rest[h.Len:]
			}
		}
		if header == "" || rest != "" {
			tell(0, pieces...) // it may be anything
			return
		}
		if plain, got := tell(0, "C:"+said), tell(len(header), pieces...); !slices.Equal(plain, got) {
			t.Errorf("without a header %q, behind one %q", plain, got)
		}
	})
}
