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
	capstanv1 "capstan/proto/capstan/v1"
)

// Messages of SOCKS.
const (
	offersNone     = "\x05\x01\x00"
	offersPassword = "\x05\x02\x00\x02"
	choosesNone    = "\x05\x00"
	asksPassword   = "\x05\x02"
	sendsPassword  = "\x01\x04user\x06secret"
	admits         = "\x01\x00"
	asksName       = "\x05\x01\x00\x03\x0dinner.example\x01\xbb"
	grants         = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	refuses        = "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"
	asks4A         = "\x04\x01\x00\x50\x00\x00\x00\x01root\x00inner.example\x00"
	grants4        = "\x00\x5a\x00\x00\x00\x00\x00\x00"
	refuses4       = "\x00\x5b\x00\x00\x00\x00\x00\x00"
)

// handshakes of SOCKS that make a tunnel.
var handshakes = map[string][]string{
	"5":           {"C:" + offersNone, "S:" + choosesNone, "C:" + asksName, "S:" + grants},
	"5, password": {"C:" + offersPassword, "S:" + asksPassword, "C:" + sendsPassword, "S:" + admits, "C:" + asksName, "S:" + grants},
	"5, at once":  {"C:" + offersNone + asksName, "S:" + choosesNone + grants},
	"4A":          {"C:" + asks4A, "S:" + grants4},
}

// socketed is a WebSocket with its upgrade.
var socketed = []string{"C:" + asksForSocket, "S:" + makesSocket, "C:\x81\x82\x00\x00\x00\x00hi", "C:" + clientEnds, "S:" + serverEnds}

// inside is what tunnels carry, and what is told of it.
func inside(t *testing.T) map[string]struct{ pieces, want []string } {
	hello := clientHello(t, "inner.example")
	h2 := http2Messages()
	return map[string]struct{ pieces, want []string }{
		"HTTP/1":    {[]string{"C:" + request, "S:" + response, "C:" + request, "S:" + response}, []string{"HTTP1 GET /x 200", "HTTP1 GET /x 200"}},
		"HTTP/2":    {[]string{"C:" + h2[0], "S:" + h2[1]}, []string{"HTTP2 GET /api/items/1 200"}},
		"TLS":       {[]string{"C:" + hello, "S:\x16\x03\x03\x00\x7a\x02"}, []string{"TLS inner.example"}},
		"WebSocket": {socketed, []string{"HTTP1 GET /up 101", "WEBSOCKET 3/1000"}},
		"SSH":       {[]string{"S:SSH-2.0-b\r\n", "C:SSH-2.0-a\r\n"}, []string{"OTHER ssh 11/11"}},
		"CONNECT": {[]string{"C:CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n", "C:" + request, "S:" + response},
			[]string{"HTTP1 CONNECT h:1 200", "HTTP1 GET /x 200"}},
		"PROXY": {[]string{"C:" + proxied1 + request, "S:" + response}, []string{"HTTP1 GET /x 200"}},
	}
}

// tellWords plays pieces and returns the words of each record.
func tellWords(t *testing.T, midstream bool, pieces ...string) (got []string) {
	t.Helper()
	records, _ := play(t, midstream, pieces...)
	for _, x := range records {
		got = append(got, words(x))
	}
	return got
}

// byteByByte cuts pieces into bytes.
func byteByByte(pieces []string) (cut []string) {
	for _, p := range pieces {
		cut = append(cut, split(p[:2], p[2:])...)
	}
	return cut
}

// TestBehindSocks tells what tunnels of SOCKS carry.
func TestBehindSocks(t *testing.T) {
	for name, handshake := range handshakes {
		for what, in := range inside(t) {
			for form, pieces := range map[string][]string{
				"in segments":  slices.Concat(handshake, in.pieces),
				"byte by byte": slices.Concat(byteByByte(handshake), in.pieces),
				"behind PROXY": slices.Concat([]string{"C:" + proxied2 + handshake[0][2:]}, handshake[1:], in.pieces),
				"in a tunnel":  slices.Concat(handshakes["5"], handshake, in.pieces),
			} {
				if got := tellWords(t, false, pieces...); !slices.Equal(got, in.want) {
					t.Errorf("%s, %s, %s: told %q, want %q", name, what, form, got, in.want)
				}
			}
		}
	}
}

// TestSocks tells of handshakes that are not usual, and of what only seems to be one.
func TestSocks(t *testing.T) {
	const exchanged = "HTTP1 GET /x 200"
	hello := clientHello(t, "inner.example")
	greeted := []string{"C:" + offersNone, "S:" + choosesNone} // which append copies
	asked := slices.Clip(append(greeted, "C:"+asksName))
	made := slices.Clip(append(asked, "S:"+grants))
	connected := []string{"C:CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n"}
	for _, tt := range []struct {
		name      string
		midstream bool
		pieces    []string
		want      []string
	}{
		{"in a tunnel of CONNECT", false, slices.Concat(connected, made, []string{"C:" + request, "S:" + response}), []string{"HTTP1 CONNECT h:1 200", exchanged}},
		{"in a tunnel of CONNECT, nothing in it", false, slices.Concat(connected, made), []string{"HTTP1 CONNECT h:1 200", "OTHER socks5 23/12"}},
		{"a request before the reply", false, append(asked, "C:"+request, "S:"+grants, "S:"+response, "C:"+request, "S:"+response), []string{exchanged, exchanged}},
		{"a request with that for the tunnel", false, append(greeted, "C:"+asksName+request, "S:"+grants+response, "C:"+request, "S:"+response), []string{exchanged, exchanged}},
		{"all at once", false, []string{"C:" + offersNone + asksName + request, "S:" + choosesNone + grants + response}, []string{exchanged}},
		{"TLS before the reply, in pieces", false, append(asked, "C:"+hello[:100], "C:"+hello[100:], "S:"+grants), []string{"TLS inner.example"}},
		{"4A, a request before the reply", false, []string{"C:" + asks4A + request, "S:" + grants4 + response}, []string{exchanged}},

		{"nothing in it", false, made, []string{"OTHER socks5 23/12"}},
		{"4A, nothing in it", false, handshakes["4A"], []string{"OTHER socks4 27/8"}},
		{"too little in it", false, append(made, "C:"+request[:5]), []string{"OTHER text 5/0"}},
		{"not answered", false, []string{"C:" + offersNone}, []string{"OTHER socks5 3/0"}},
		{"4A, not answered", false, []string{"C:" + asks4A}, []string{"OTHER socks4 27/0"}},
		{"the reply does not come", false, append(asked, "C:"+request), []string{"OTHER socks5 51/2"}},
		{"refused", false, append(asked, "S:"+refuses), []string{"OTHER socks5 23/12"}},
		{"refused, with a request behind", false, append(asked, "C:"+request, "S:"+refuses), []string{"OTHER socks5 51/12"}},
		{"no method", false, []string{"C:" + offersPassword, "S:\x05\xff"}, []string{"OTHER socks5 4/2"}},
		{"wrong password", false, []string{"C:" + offersPassword, "S:" + asksPassword, "C:" + sendsPassword, "S:\x01\x01"}, []string{"OTHER socks5 17/4"}},
		{"4A, refused", false, []string{"C:" + asks4A, "S:" + refuses4}, []string{"OTHER socks4 27/8"}},
		{"GSS-API", false, []string{"C:\x05\x02\x00\x01", "S:\x05\x01", "C:\x01\x01\x00\x03tok", "S:\x01\x01\x00\x03tok", "C:\x01\x03\x00\x20" + request, "S:\x01\x03\x00\x20" + response},
			[]string{"OTHER socks5 43/53"}},
		{"BIND", false, append(greeted, "C:\x05\x02"+asksName[2:], "S:"+grants, "S:"+grants, "S:220 ftp\r\n"), []string{"OTHER socks5 23/31"}},
		{"UDP ASSOCIATE", false, append(greeted, "C:\x05\x03"+asksName[2:], "S:"+grants), []string{"OTHER socks5 23/12"}},
		{"too much before the reply", false, append(asked, "C:"+request, "C:"+strings.Repeat("x", maxHeld), "S:"+grants), []string{fmt.Sprint("OTHER socks5 ", 51+maxHeld, "/12")}},

		{"another answer", false, []string{"C:" + offersNone, "S:" + response}, []string{"HTTP1   200"}},
		{"another answer, then a request", false, []string{"C:" + offersNone, "S:" + response, "C:" + request, "S:" + response}, []string{"HTTP1   200", exchanged}},
		{"no request behind it", false, append(greeted, "C:hello there", "S:binary \x00"), []string{"OTHER socks5 14/10"}},
		{"the server begins", false, []string{"S:" + choosesNone, "C:" + offersNone}, []string{"OTHER binary 3/2"}},
		{"too much of a greeting", false, []string{"C:\x04\x01\x00\x50\xc0\x00\x02\x07" + strings.Repeat("u", 300)}, []string{"OTHER binary 308/0"}},

		{"joined at the greeting", true, append(made, "C:"+request, "S:"+response, "C:"+request, "S:"+response), []string{exchanged, exchanged}},
		{"joined at the request", true, []string{"C:" + asksName, "S:" + grants, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, []string{exchanged, exchanged}},
		{"joined at the reply", true, []string{"S:" + grants, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, []string{exchanged, exchanged}},
		{"joined behind it", true, []string{"C:" + request, "S:" + response, "C:" + request, "S:" + response}, []string{exchanged, exchanged}},
		{"joined at something like it", true, []string{"C:" + offersNone, "S:" + response, "C:" + request, "S:" + response}, []string{"HTTP1   200", exchanged}},

		{"greeting lost", false, []string{"c:" + offersNone, "S:" + choosesNone, "C:" + asksName, "S:" + grants, "C:" + request, "S:" + response}, []string{exchanged}},
		{"choice lost", false, []string{"C:" + offersNone, "s:" + choosesNone, "C:" + asksName, "S:" + grants, "C:" + request, "S:" + response}, []string{exchanged}},
		{"request lost", false, append(greeted, "c:"+asksName, "S:"+grants, "C:"+request, "S:"+response, "C:"+request, "S:"+response), []string{exchanged, exchanged}},
		{"reply lost", false, append(asked, "s:"+grants, "C:"+request, "S:"+response), []string{exchanged}},
		{"reply lost, and the response", false, append(asked, "s:"+grants, "C:"+request, "s:"+response, "C:"+request, "S:"+response), []string{"HTTP1 GET /x 0", exchanged}},
		{"reply lost, nothing behind", false, append(asked, "s:"+grants), []string{"OTHER socks5 23/2"}},
		{"request and reply lost", false, append(greeted, "c:"+asksName, "s:"+grants, "C:"+request, "S:"+response, "C:"+request, "S:"+response), []string{exchanged, exchanged}},
		{"all lost", false, []string{"c:" + offersNone, "s:" + choosesNone, "c:" + asksName, "s:" + grants, "C:" + request, "S:" + response, "C:" + request, "S:" + response}, []string{exchanged, exchanged}},
		{"one end alone", false, []string{"C:" + offersNone, "s:" + choosesNone, "C:" + asksName, "s:" + grants, "C:" + request, "s:" + response, "C:" + request}, []string{"HTTP1 GET /x 0", "HTTP1 GET /x 0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tellWords(t, tt.midstream, tt.pieces...); !slices.Equal(got, tt.want) {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// Every record tells whom the proxies were asked for, and none who asked.
func TestSocksIsTold(t *testing.T) {
	five := &capstanv1.Socks{Version: 5, Command: 1, Target: "inner.example:443", Replied: true}
	four := &capstanv1.Socks{Version: 4, Command: 1, Target: "inner.example:80", Replied: true, Reply: 90}
	refused := &capstanv1.Socks{Version: 5, Command: 1, Target: "inner.example:443", Replied: true, Reply: 5}
	in := func(outer, s *capstanv1.Socks) *capstanv1.Socks {
		s = proto.CloneOf(s)
		s.Outer = outer
		return s
	}
	for what, carried := range inside(t) {
		for _, tt := range []struct {
			handshake []string
			want      *capstanv1.Socks
		}{
			{handshakes["5"], five},
			{handshakes["5, password"], five},
			{handshakes["4A"], four},
			{slices.Concat(handshakes["4A"], handshakes["5"]), in(four, five)},
			{slices.Concat(handshakes["4A"], []string{"C:" + offersPassword, "S:" + asksPassword, "C:" + sendsPassword + asksName, "S:" + admits + refuses}), in(four, refused)},
		} {
			records, _ := play(t, false, slices.Concat(tt.handshake, carried.pieces)...)
			if len(records) == 0 {
				t.Errorf("%s: nothing told", what)
			}
			for _, x := range records {
				if !proto.Equal(x.Socks, tt.want) {
					t.Errorf("%s behind %q: %v, want %v", what, tt.handshake, x.Socks, tt.want)
				}
				if s := fmt.Sprint(x); strings.Contains(s, "secret") || strings.Contains(s, "root") {
					t.Errorf("tells a credential: %s", s)
				}
			}
		}
	}
}

// A pair is no more certain than without a tunnel, nor less; what is told of it is complete.
func TestComplete(t *testing.T) {
	for name, handshake := range handshakes {
		records, e := play(t, false, slices.Concat(handshake, []string{"C:" + request, "S:" + response})...)
		if len(records) != 1 || !records[0].Complete || e.shard.protocols[HTTP1].Connections != 1 {
			t.Errorf("%s: told %v, counted as %+v", name, records, e.shard.protocols)
		}
	}
}

// Without records of connections, none is told of a handshake, and all of what is behind.
func TestSocksWithoutConnectionRecords(t *testing.T) {
	for name, want := range map[string][]string{"HTTP/1": {"HTTP1 GET /x 200", "HTTP1 GET /x 200"}, "SSH": nil, "": nil} {
		var records []*capstanv1.Exchange
		e := New(Config{NoConnectionRecords: true, Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
		e.play(false, slices.Concat(handshakes["5"], inside(t)[name].pieces)...)
		if len(records) != len(want) {
			t.Errorf("%s: told %v, want %q", name, records, want)
		}
	}
}

// FuzzBehindSocks: what is told behind a handshake is what is told without, wherever
// segments end, and whether the client waits for the reply or not.
func FuzzBehindSocks(f *testing.F) {
	f.Add(uint8(0), uint8(0), true, uint64(1))
	f.Add(uint8(1), uint8(1), false, uint64(2))
	f.Add(uint8(2), uint8(2), true, uint64(3))
	f.Add(uint8(3), uint8(3), false, uint64(4))
	f.Fuzz(func(t *testing.T, which, what uint8, waits bool, seed uint64) {
		said := []string{request + request, http2Messages()[0], "\x16\x03\x01\x00\x05hello", "SSH-2.0-a\r\n"}[what%4]
		name := []string{"5", "5, password", "5, at once", "4A"}[which%4]
		r := rand.New(rand.NewPCG(seed, 0))
		tell := func(pieces ...string) (told []string) {
			records, _ := play(t, false, append(pieces, "S:"+response)...)
			for _, x := range records {
				told = append(told, fmt.Sprint(words(x), x.Complete, x.Flaws))
			}
			return told
		}
		var pieces []string
		add := func(end, s string) {
			for s != "" {
				n := 1 + r.IntN(len(s))
				pieces, s = append(pieces, end+s[:n]), s[n:]
			}
		}
		handshake := handshakes[name]
		for _, p := range handshake[:len(handshake)-1] {
			add(p[:2], p[2:])
		}
		reply := handshake[len(handshake)-1][2:]
		if waits {
			add("S:", reply)
			add("C:", said)
		} else {
			add("C:", said)
			add("S:", reply)
		}
		if plain, got := tell("C:"+said), tell(pieces...); len(pieces) < maxHeldChunks && !slices.Equal(plain, got) {
			t.Errorf("without a handshake %q, behind one %q", plain, got)
		}
	})
}
