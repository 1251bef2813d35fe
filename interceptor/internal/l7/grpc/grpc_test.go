package grpc

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	capstanv1 "capstan/proto/capstan/v1"

	"google.golang.org/protobuf/proto"
)

func TestKindOf(t *testing.T) {
	for contentType, want := range map[string]Kind{
		"application/grpc": Plain, "application/grpc+proto": Plain, "Application/GRPC; charset=utf-8": Plain,
		"application/grpc-web": Web, "application/grpc-web+json": Web, "application/grpc-web-text+proto": WebText,
		"application/grpc-web-text": WebText, "application/grpcx": None, "application/grpc-other": None, "text/plain": None, "": None,
	} {
		if got := KindOf(contentType); got != want {
			t.Errorf("%q: %v, want %v", contentType, got, want)
		}
	}
}

func TestTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"100m": 100 * time.Millisecond, "1H": time.Hour, "3M": 3 * time.Minute, "5S": 5 * time.Second, "7u": 7 * time.Microsecond, "99999999n": 99999999,
		"99999999H": maxHours * time.Hour, "": 0, "m": 0, "1": 0, "1x": 0, "-1S": 0, "123456789S": 0, "1.5S": 0,
	} {
		if got := parseTimeout(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestFields(t *testing.T) {
	var c Call
	c.SetRequest(Plain)
	c.SetPath("/pkg.Service/Method")
	c.RequestField("grpc-timeout", "2S")
	c.RequestField("grpc-encoding", "gzip")
	c.RequestField("te", "trailers")
	c.ResponseField("grpc-encoding", "identity")
	c.ResponseField("grpc-status", "13")
	c.ResponseField("grpc-message", "50%25 of %E2%82%AC, 100% %zz%4")
	want := &capstanv1.Grpc{Service: "pkg.Service", Method: "Method", TimeoutNs: 2e9, RequestEncoding: "gzip", ResponseEncoding: "identity",
		StatusKnown: true, Status: 13, StatusMessage: "50% of €, 100% %zz%4",
		RequestMessages: &capstanv1.GrpcMessages{}, ResponseMessages: &capstanv1.GrpcMessages{}}
	if got := c.Record(); !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for path, want := range map[string][2]string{"/S/M": {"S", "M"}, "/prefix/S/M?x": {"prefix/S", "M"}, "/nothing": {}, "": {}, "*": {}} {
		var c Call
		c.SetPath(path)
		if got := [2]string{c.rec.Service, c.rec.Method}; got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
	var bad Call
	bad.ResponseField("grpc-status", "x")
	if bad.rec.StatusKnown {
		t.Error("a status that is no number is known")
	}
}

// message returns a message of n bytes behind its prefix.
func message(flags byte, n int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(n)), bytes.Repeat([]byte{0xAA}, n)...)
}

func follow(kind Kind, pieces ...[]byte) *capstanv1.GrpcMessages {
	var c Call
	c.SetRequest(kind)
	for _, p := range pieces {
		if p == nil {
			c.Request.Gap(10)
			continue
		}
		c.Request.Data(p)
	}
	return c.Record().RequestMessages
}

func TestMessages(t *testing.T) {
	three := slices.Concat(message(0, 3), message(flagCompressed, 300), message(0, 0))
	tests := []struct {
		name   string
		kind   Kind
		pieces [][]byte
		want   *capstanv1.GrpcMessages
	}{
		{"three", Plain, [][]byte{three}, &capstanv1.GrpcMessages{Count: 3, Bytes: 303, Compressed: 1, Lengths: []uint32{3, 300, 0}}},
		{"cut short", Plain, [][]byte{three[:20]}, &capstanv1.GrpcMessages{Count: 2, Bytes: 303, Compressed: 1, Lengths: []uint32{3, 300}, Incomplete: true}},
		{"prefix cut short", Plain, [][]byte{three[:9]}, &capstanv1.GrpcMessages{Count: 1, Bytes: 3, Lengths: []uint32{3}, Incomplete: true}},
		{"a gap inside a message", Plain, [][]byte{three[:20], nil, three[30:]}, &capstanv1.GrpcMessages{Count: 3, Bytes: 303, Compressed: 1, Lengths: []uint32{3, 300, 0}}},
		{"a gap over a prefix", Plain, [][]byte{three[:7], nil, three[17:]}, &capstanv1.GrpcMessages{Count: 1, Bytes: 3, Lengths: []uint32{3}, Incomplete: true}},
		{"no messages", Plain, [][]byte{[]byte("<html>not gRPC</html>")}, &capstanv1.GrpcMessages{Incomplete: true}},
		{"trailers are for the web only", Plain, [][]byte{message(flagTrailers, 3)}, &capstanv1.GrpcMessages{Incomplete: true}},
		{"web", Web, [][]byte{three, message(flagTrailers, 30)}, &capstanv1.GrpcMessages{Count: 3, Bytes: 303, Compressed: 1, Lengths: []uint32{3, 300, 0}}},
		{"web as text", WebText, [][]byte{[]byte(base64.StdEncoding.EncodeToString(message(0, 4)) + base64.StdEncoding.EncodeToString(three))},
			&capstanv1.GrpcMessages{Count: 4, Bytes: 307, Compressed: 1, Lengths: []uint32{4, 3, 300, 0}}},
		{"text that is none", WebText, [][]byte{[]byte("AAAA*AAA")}, &capstanv1.GrpcMessages{Incomplete: true}},
		{"many", Plain, [][]byte{bytes.Repeat(message(0, 1), 20)}, &capstanv1.GrpcMessages{Count: 20, Bytes: 20, Lengths: slices.Repeat([]uint32{1}, keepLengths)}},
		{"not gRPC", None, [][]byte{three}, &capstanv1.GrpcMessages{}},
	}
	for _, tt := range tests {
		if got := follow(tt.kind, tt.pieces...); !proto.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		// The same byte by byte.
		var single [][]byte
		for _, p := range tt.pieces {
			if p == nil {
				single = append(single, nil)
			}
			for i := range p {
				single = append(single, p[i:i+1])
			}
		}
		if got := follow(tt.kind, single...); !proto.Equal(got, tt.want) {
			t.Errorf("%s, byte by byte: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWebTrailers(t *testing.T) {
	var c Call
	c.SetResponse(Web)
	text := "grpc-status:7\r\ngrpc-message: no%20way\r\nx-more: 1\r\nnonsense\r\n"
	c.Response.Data(slices.Concat(message(0, 2), []byte{flagTrailers, 0, 0, 0, byte(len(text))}, []byte(text)))
	var got []string
	c.WebTrailers(nil, func(name, value string) { got = append(got, name+"="+value) })
	rec := c.Record()
	if strings.Join(got, " ") != "grpc-status=7 grpc-message=no%20way x-more=1" || rec.Status != 7 || rec.StatusMessage != "no way" || !rec.Web {
		t.Errorf("%q, %v", got, rec)
	}
	if rec.ResponseMessages.Count != 1 || rec.ResponseMessages.Incomplete {
		t.Errorf("%v", rec.ResponseMessages)
	}

	var endless Call
	endless.SetResponse(Web)
	endless.Response.Data(message(flagTrailers, 10*maxTrailersLen))
	if n := len(endless.Response.trailer); n != maxTrailersLen {
		t.Errorf("%d bytes of trailers kept", n)
	}
}

// Trailers that a server compressed are told if their coding can be undone, and of
// trailers that were cut no line that may have gone on.
func TestWebTrailersNotPlain(t *testing.T) {
	reversed := func(encoded []byte, whole bool, coding string) ([]byte, bool) {
		if coding != "reversed" {
			return nil, false
		}
		b := bytes.Clone(encoded)
		slices.Reverse(b)
		return b, whole
	}
	const text, packed = "grpc-message: no\r\ngrpc-status: 13", "31 :sutats-cprg\n\ron :egassem-cprg"
	trailers := func(flags byte, text string) []byte {
		return append([]byte{flags, 0, 0, 0, byte(len(text))}, text...)
	}
	for _, tt := range []struct {
		name, coding string
		body         []byte
		want         string
	}{
		{"plain", "", trailers(flagTrailers, text), "grpc-message=no grpc-status=13"},
		{"cut", "", trailers(flagTrailers, text)[:prefixLen+len(text)-1], "grpc-message=no"},
		{"cut in the first line", "", trailers(flagTrailers, text)[:prefixLen+10], ""},
		{"compressed", "reversed", trailers(flagTrailers|flagCompressed, packed), "grpc-message=no grpc-status=13"},
		{"compressed as nobody knows", "other", trailers(flagTrailers|flagCompressed, packed), ""},
		{"compressed, empty", "reversed", trailers(flagTrailers|flagCompressed, ""), ""},
		{"behind a compressed message", "reversed", slices.Concat(message(flagCompressed, 3), trailers(flagTrailers, text)), "grpc-message=no grpc-status=13"},
	} {
		var c Call
		c.SetResponse(Web)
		c.ResponseField("grpc-encoding", tt.coding)
		c.Response.Data(tt.body)
		var got []string
		c.WebTrailers(reversed, func(name, value string) { got = append(got, name+"="+value) })
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if rec := c.Record(); rec.StatusKnown != strings.Contains(tt.want, "status") || rec.StatusKnown && rec.Status != 13 {
			t.Errorf("%s: status %d, known %v", tt.name, rec.Status, rec.StatusKnown)
		}
	}
}

// TestResetForgets uses a call again that has seen all there is to see.
func TestResetForgets(t *testing.T) {
	tell := func(c *Call) *capstanv1.Grpc {
		c.SetRequest(Plain)
		c.SetResponse(Web)
		c.Request.Data(message(0, 3))
		return proto.CloneOf(c.Record())
	}
	var c Call
	c.SetRequest(WebText)
	c.SetPath("/S/M")
	c.RequestField("grpc-timeout", "2S")
	c.RequestField("grpc-encoding", "gzip")
	c.ResponseField("grpc-encoding", "gzip")
	c.ResponseField("grpc-status", "13")
	c.ResponseField("grpc-message", "no")
	c.Request.Data([]byte("AAA"))
	c.SetResponse(Web)
	c.Response.Data(slices.Concat(bytes.Repeat(message(flagCompressed, 1), 5), message(flagTrailers, 4)[:7]))
	c.Record()
	c.Reset()
	if got, want := tell(&c), tell(new(Call)); !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if n := testing.AllocsPerRun(10, func() { c.Reset(); c.SetRequest(Plain); c.Request.Data(message(0, 0)) }); n > 1 { // the message itself
		t.Errorf("%v allocations for a call that is used again", n)
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	var c Call
	c.SetRequest(Plain)
	b := message(0, 100)
	c.Request.Data(bytes.Repeat(b, keepLengths))
	if n := testing.AllocsPerRun(100, func() { c.Request.Data(b[:50]); c.Request.Data(b[50:]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// trailersOf returns the fields of the trailers of a body, whose compression changes
// nothing but order.
func trailersOf(pieces ...[]byte) (fields string) {
	var c Call
	c.SetResponse(Web)
	for _, p := range pieces {
		c.Response.Data(p)
	}
	undo := func(encoded []byte, whole bool, _ string) ([]byte, bool) {
		slices.Reverse(encoded)
		return encoded, whole
	}
	c.WebTrailers(undo, func(name, value string) { fields += name + ":" + value + "\n" })
	return fields
}

// FuzzMessages cuts a body in two ways, and holds text against the bytes that
// encoding/base64 makes of it.
func FuzzMessages(f *testing.F) {
	f.Add(slices.Concat(message(0, 3), message(1, 70), message(flagTrailers, 5)), uint64(1))
	f.Add(slices.Concat(message(1, 3), []byte("\x81\x00\x00\x00\x0d1:sutats-cprg")), uint64(2))
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		cut := func(b []byte) (pieces [][]byte) {
			for len(b) > 0 {
				n := 1 + r.IntN(len(b))
				pieces = append(pieces, b[:n])
				b = b[n:]
			}
			return pieces
		}
		for _, kind := range []Kind{Plain, Web, WebText} {
			if whole, pieces := follow(kind, body), follow(kind, cut(body)...); !proto.Equal(whole, pieces) {
				t.Errorf("kind %d: whole %v, cut %v", kind, whole, pieces)
			}
		}
		if whole, pieces := trailersOf(body), trailersOf(cut(body)...); whole != pieces {
			t.Errorf("trailers %q, cut %q", whole, pieces)
		}
		text := []byte(base64.StdEncoding.EncodeToString(body))
		if want, got := follow(Web, body), follow(WebText, cut(text)...); !proto.Equal(want, got) {
			t.Errorf("bytes %v, text %v", want, got)
		}
	})
}
