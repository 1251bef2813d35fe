package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	capstanv1 "capstan/proto/capstan/v1"
)

// said is what the two ends of one exchange have said. Each field is one line; that of
// a body without a length may be any.
type said struct {
	method, target    string
	status            uint32
	interim           []uint32
	request, response map[string]bool // fields and trailers as "name: value"
	sent, answered    string          // bodies

	// Of what has none of these:
	protocol capstanv1.Protocol
	messages int    // of a WebSocket
	name     string // that a ClientHello tells
}

// scene is what is played: connections with their exchanges, as their frames on the wire,
// the ACKs that carry nothing included.
type scene struct {
	r     *rand.Rand
	w     wire
	c     *talk
	parts []part
	said  []*said
	owed  [2]int // segments that a side has not acknowledged
	port  uint16
	hello string // a ClientHello of TLS to inner.example
}

// connect begins a connection.
func (s *scene) connect() {
	s.port++
	s.c, s.owed = s.w.connect(40000+s.port), [2]int{}
	s.keep(-1, -1)
}

// keep takes the frames written since the last call as those of an exchange; each comes a
// while after the one before.
func (s *scene) keep(side, exchange int) {
	for _, f := range s.w.frames {
		s.w.now += s.r.Int64N(2_000_000)
		f.Timestamp = s.w.now
		s.parts = append(s.parts, part{frame: f, side: side, exchange: exchange})
	}
	s.w.frames = nil
}

// say sends a message of an exchange. Its receiver acknowledges every second segment at
// once, as TCP does (RFC 9293 §3.8.6.3), and the others when it says something itself.
func (s *scene) say(side, exchange int, message string) {
	limit := mss
	if s.r.IntN(4) == 0 {
		limit = 100 + s.r.IntN(mss-100)
	}
	for len(message) > 0 {
		n := min(len(message), limit)
		s.frame(side, exchange, 0x18, message[:n])
		if s.owed[1-side]++; s.owed[1-side] == 2 {
			s.frame(1-side, -1, 0x10, "")
		}
		message = message[n:]
	}
}

func (s *scene) frame(side, exchange int, flags byte, payload string) {
	s.c.frame(side, flags, []byte(payload))
	s.owed[side] = 0
	if payload == "" {
		side = -1
	}
	s.keep(side, exchange)
}

// close has both ends close the connection, the given side first.
func (s *scene) close(side int) {
	s.frame(side, -1, 0x11, "")
	if s.r.IntN(2) == 0 {
		s.frame(1-side, -1, 0x10, "")
	}
	s.frame(1-side, -1, 0x11, "")
	s.frame(side, -1, 0x10, "")
}

// add begins another exchange.
func (s *scene) add(method string) (n int, x *said) {
	n = len(s.said)
	x = &said{method: method, target: fmt.Sprintf("/%d", n), request: map[string]bool{"Host: h": true}, response: map[string]bool{fmt.Sprintf("Id: %d", n): true}}
	s.said = append(s.said, x)
	return n, x
}

// text returns up to n bytes.
func (s *scene) text(n int) string {
	b := make([]byte, s.r.IntN(n))
	for i := range b {
		b[i] = "the rest of the text \n"[s.r.IntN(22)]
	}
	return string(b)
}

// section returns fields as they are sent.
func section(fields map[string]bool, more ...string) string {
	var b strings.Builder
	for _, f := range more {
		fields[f] = true
	}
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		b.WriteString(f + "\r\n")
	}
	return b.String()
}

// chunks returns a body in chunks, with a trailer.
func (s *scene) chunks(body string, fields map[string]bool) string {
	var b strings.Builder
	for body != "" {
		n := 1 + s.r.IntN(len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	fields["Checked: yes"] = true
	return b.String() + "0\r\nChecked: yes\r\n\r\n"
}

// request returns a request with its body, which add has begun.
func (s *scene) request(x *said, more ...string) string {
	head := func(more ...string) string {
		return x.method + " " + x.target + " HTTP/1.1\r\n" + section(x.request, more...) + "\r\n"
	}
	switch x.method {
	case "POST":
		x.sent = s.text(4000)
		return head(append(more, fmt.Sprintf("Content-Length: %d", len(x.sent)))...) + x.sent
	case "PUT":
		x.sent = s.text(4000)
		h := head(append(more, "Transfer-Encoding: chunked")...)
		return h + s.chunks(x.sent, x.request)
	}
	return head(append(more, "X-Pad: "+strings.Repeat("p", s.r.IntN(800)))...)
}

// response returns the response to x, with a length, in chunks, or without a body.
func (s *scene) response(x *said) string {
	interim := ""
	if s.r.IntN(8) == 0 {
		x.interim = append(x.interim, 103)
		interim = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
	}
	head := func(status uint32, reason string, more ...string) string {
		x.status = status
		return fmt.Sprintf("%sHTTP/1.1 %d %s\r\n%s\r\n", interim, status, reason, section(x.response, more...))
	}
	body := s.text(6000)
	switch n := s.r.IntN(8); {
	case x.method == "HEAD":
		return head(200, "OK", fmt.Sprintf("Content-Length: %d", len(body)))
	case n == 0:
		return head(304, "Not Modified", "Etag: \"a\"")
	case n == 1:
		return head(204, "No Content")
	case n < 5:
		x.answered = body
		h := head(200, "OK", "Transfer-Encoding: chunked")
		return h + s.chunks(body, x.response)
	}
	x.answered = body
	return head(200, "OK", fmt.Sprintf("Content-Length: %d", len(body))) + body
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "GET"}

// inBursts plays exchanges whose requests are sent so many at a time.
func inBursts(most int) func(s *scene) {
	return func(s *scene) {
		s.connect()
		for range 4 {
			var burst []int
			for range 1 + s.r.IntN(most) {
				n, x := s.add(methods[s.r.IntN(len(methods))])
				s.say(0, n, s.request(x))
				burst = append(burst, n)
			}
			for _, n := range burst {
				s.say(1, n, s.response(s.said[n]))
			}
		}
		s.close(s.r.IntN(2))
	}
}

// untilClose plays responses that the end of the connection ends; the FIN comes with the
// last bytes, or after them.
func untilClose(s *scene) {
	for range 4 {
		s.connect()
		n, x := s.add("GET")
		s.say(0, n, s.request(x))
		x.status, x.answered = 200, s.text(6000)+"."
		s.say(1, n, "HTTP/1.0 200 OK\r\n"+section(x.response)+"\r\n"+x.answered[:len(x.answered)/2])
		if rest := x.answered[len(x.answered)/2:]; len(rest) <= mss && s.r.IntN(2) == 0 {
			s.frame(1, n, 0x19, rest)
			s.frame(0, -1, 0x11, "")
			s.frame(1, -1, 0x10, "")
		} else {
			s.say(1, n, rest)
			s.close(1)
		}
	}
}

// expecting plays requests whose client waits for 100 (Continue) before it sends the body.
func expecting(s *scene) {
	s.connect()
	for range 4 {
		n, x := s.add("POST")
		x.interim = []uint32{100}
		q := s.request(x, "Expect: 100-continue")
		head := len(q) - len(x.sent)
		s.say(0, n, q[:head])
		s.say(1, n, "HTTP/1.1 100 Continue\r\n\r\n")
		s.say(0, n, q[head:])
		s.say(1, n, s.response(x))
	}
	s.close(0)
}

// upgrading plays an exchange, and one that leads to a WebSocket.
func upgrading(s *scene) {
	s.connect()
	n, x := s.add("GET")
	s.say(0, n, s.request(x))
	s.say(1, n, s.response(x))
	n, x = s.add("GET")
	s.say(0, n, s.request(x, "Connection: Upgrade", "Upgrade: websocket"))
	x.status = 101
	s.say(1, n, "HTTP/1.1 101 Switching Protocols\r\n"+section(x.response, "Connection: Upgrade", "Upgrade: websocket")+"\r\n")
	n, x = s.add("")
	x.protocol, x.messages = capstanv1.Protocol_PROTOCOL_WEBSOCKET, 8
	for range 3 {
		s.say(0, n, "\x81\x85\x00\x00\x00\x00hello")
		s.say(1, n, "\x81\x0bhello there")
	}
	s.say(0, n, "\x88\x82\x00\x00\x00\x00\x03\xe8")
	s.say(1, n, "\x88\x02\x03\xe8")
	s.close(1)
}

// tunnelling plays a CONNECT, and exchanges in the tunnel.
func tunnelling(s *scene) {
	s.connectTo("h:80")
	for range 3 {
		n, x := s.add(methods[s.r.IntN(len(methods))])
		s.say(0, n, s.request(x))
		s.say(1, n, s.response(x))
	}
	s.close(0)
}

// encrypting plays a CONNECT, and TLS in the tunnel.
func encrypting(s *scene) {
	s.connectTo("h:443")
	n, x := s.add("")
	x.protocol, x.name = capstanv1.Protocol_PROTOCOL_TLS, "inner.example"
	s.say(0, n, s.hello)
	s.say(1, n, "\x16\x03\x03\x00\x04\x02\x00\x00\x00")
	s.say(1, n, "\x17\x03\x03\x10\x00"+strings.Repeat("e", 4096))
	s.say(0, n, "\x17\x03\x03\x01\x00"+strings.Repeat("e", 256))
	s.close(0)
}

// throughSocks plays a handshake of SOCKS, and exchanges in the tunnel. Some clients don't
// wait for the reply.
func throughSocks(s *scene) {
	s.connect()
	handshake := handshakes[[]string{"5", "5, password", "5, at once", "4A"}[s.r.IntN(4)]]
	reply := handshake[len(handshake)-1]
	for _, p := range handshake[:len(handshake)-1] {
		s.say(strings.Index("CS", p[:1]), -1, p[2:])
	}
	waits := s.r.IntN(3) > 0
	if waits {
		s.say(1, -1, reply[2:])
	}
	for i := range 4 {
		n, x := s.add(methods[s.r.IntN(len(methods))])
		s.say(0, n, s.request(x))
		if i == 0 && !waits {
			s.say(1, -1, reply[2:])
		}
		s.say(1, n, s.response(x))
	}
	s.close(0)
}

func (s *scene) connectTo(target string) {
	s.connect()
	n, x := s.add("CONNECT")
	x.target, x.status = target, 200
	s.say(0, n, "CONNECT "+target+" HTTP/1.1\r\n"+section(x.request)+"\r\n")
	s.say(1, n, "HTTP/1.1 200 Connection established\r\n"+section(x.response)+"\r\n")
}

// framer writes the frames of one end of HTTP/2.
type framer struct {
	out, block bytes.Buffer
	f          *http2.Framer
	x          *hpack.Encoder
}

func newFramer() *framer {
	f := new(framer)
	f.f, f.x = http2.NewFramer(&f.out, nil), hpack.NewEncoder(&f.block)
	return f
}

// headers writes a header block, whose names and values take turns.
func (f *framer) headers(stream uint32, end bool, fields ...string) {
	f.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = f.x.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // a buffer takes everything
	}
	_ = f.f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.block.Bytes(), EndHeaders: true, EndStream: end})
}

func (f *framer) take() string {
	b := f.out.String()
	f.out.Reset()
	return b
}

// overHTTP2 plays streams, two at a time, which are calls of gRPC if so.
func overHTTP2(grpc bool) func(s *scene) {
	return func(s *scene) {
		s.connect()
		client, server := newFramer(), newFramer()
		_ = client.f.WriteSettings()
		_ = server.f.WriteSettings()
		s.say(0, -1, http2.ClientPreface+client.take())
		s.say(1, -1, server.take())
		_ = client.f.WriteSettingsAck()
		_ = server.f.WriteSettingsAck()
		for range 4 {
			var both []int
			for range 2 {
				n, x := s.add([]string{"POST", "GET"}[s.r.IntN(2)])
				s.ask(client, n, x, grpc)
				both = append(both, n)
			}
			for _, n := range both {
				s.reply(server, n, s.said[n], grpc)
			}
		}
		s.close(0)
	}
}

func (s *scene) ask(f *framer, n int, x *said, grpc bool) {
	stream := uint32(2*n + 1)
	if grpc {
		x.method, x.request = "POST", map[string]bool{"content-type: application/grpc": true, "te: trailers": true}
		x.sent = grpcMessage(s.text(2000))
		f.headers(stream, false, ":method", "POST", ":scheme", "http", ":path", x.target, ":authority", "h", "content-type", "application/grpc", "te", "trailers")
	} else {
		id := fmt.Sprintf("value %d", s.r.IntN(3))
		x.request = map[string]bool{"x-id: " + id: true}
		if x.method == "POST" {
			x.sent = s.text(4000) + "."
		}
		f.headers(stream, x.sent == "", ":method", x.method, ":scheme", "http", ":path", x.target, ":authority", "h", "x-id", id)
	}
	if x.sent != "" {
		_ = f.f.WriteData(stream, true, []byte(x.sent))
	}
	s.say(0, n, f.take())
}

func (s *scene) reply(f *framer, n int, x *said, grpc bool) {
	stream := uint32(2*n + 1)
	x.status = 200
	if grpc {
		x.response = map[string]bool{"content-type: application/grpc": true, "grpc-status: 0": true}
		x.answered = grpcMessage(s.text(4000))
		f.headers(stream, false, ":status", "200", "content-type", "application/grpc")
		_ = f.f.WriteData(stream, false, []byte(x.answered))
		f.headers(stream, true, "grpc-status", "0")
	} else {
		x.answered = s.text(6000) + "."
		x.response = map[string]bool{fmt.Sprintf("id: %d", n): true}
		f.headers(stream, false, ":status", "200", "id", strconv.Itoa(n))
		_ = f.f.WriteData(stream, true, []byte(x.answered))
	}
	s.say(1, n, f.take())
}

// grpcMessage returns a message as gRPC frames it.
func grpcMessage(text string) string {
	return "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}
