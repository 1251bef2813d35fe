package ndjson

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"

	"github.com/google/go-cmp/cmp"
)

// The shape of a line as encoding/json reads it.
type line struct {
	ID         string    `json:"id"`
	Protocol   string    `json:"protocol"`
	Client     endpoint  `json:"client"`
	Server     endpoint  `json:"server"`
	StartTime  string    `json:"startTime"`
	DurationNs int64     `json:"durationNs"`
	Complete   bool      `json:"complete"`
	Flaws      []string  `json:"flaws"`
	Source     string    `json:"source"`
	StreamID   uint32    `json:"streamId"`
	ErrorCode  uint32    `json:"errorCode"`
	Pushed     bool      `json:"pushed"`
	Request    *request  `json:"request"`
	Response   *response `json:"response"`
	Grpc       *grpc     `json:"grpc"`
}

type grpc struct {
	Service          string   `json:"service"`
	Method           string   `json:"method"`
	Web              bool     `json:"web"`
	RequestMessages  messages `json:"requestMessages"`
	ResponseMessages messages `json:"responseMessages"`
	Status           *uint32  `json:"status"`
	StatusMessage    string   `json:"statusMessage"`
	TimeoutNs        int64    `json:"timeoutNs"`
	RequestEncoding  string   `json:"requestEncoding"`
	ResponseEncoding string   `json:"responseEncoding"`
}

type messages struct {
	Count      uint64   `json:"count"`
	Bytes      uint64   `json:"bytes"`
	Compressed uint64   `json:"compressed"`
	Lengths    []uint32 `json:"lengths"`
	Incomplete bool     `json:"incomplete"`
}

type endpoint struct {
	Address string `json:"address"`
	Port    uint32 `json:"port"`
}

type field struct {
	Name  string `json:"name"`
	Value string `json:"value"`

	NameUnknown  bool `json:"nameUnknown"`
	ValueUnknown bool `json:"valueUnknown"`
}

type common struct {
	Version       string  `json:"version"`
	Headers       []field `json:"headers"`
	Trailers      []field `json:"trailers"`
	BodySize      uint64  `json:"bodySize"`
	BodyGapBytes  uint64  `json:"bodyGapBytes"`
	Body          []byte  `json:"body"`
	BodyTruncated bool    `json:"bodyTruncated"`
	Decoding      string  `json:"decoding"`
	DecodedSize   uint64  `json:"decodedSize"`
	Decoded       []byte  `json:"decoded"`
	FirstByteNs   int64   `json:"firstByteNs"`
	LastByteNs    int64   `json:"lastByteNs"`
}

type request struct {
	Method    string `json:"method"`
	Target    string `json:"target"`
	Authority string `json:"authority"`
	Scheme    string `json:"scheme"`
	Protocol  string `json:"protocol"`
	common
}

type response struct {
	Status          uint32   `json:"status"`
	Reason          string   `json:"reason"`
	InterimStatuses []uint32 `json:"interimStatuses"`
	common
}

// expected says what x should read as, by other means than the encoder's.
func expected(x *capstanv1.Exchange) line {
	l := line{
		ID: x.GetId(), Protocol: strings.TrimPrefix(x.GetProtocol().String(), "PROTOCOL_"), Source: x.GetSource(),
		Client:     endpoint{x.GetClient().GetAddress(), x.GetClient().GetPort()},
		Server:     endpoint{x.GetServer().GetAddress(), x.GetServer().GetPort()},
		StartTime:  time.Unix(0, 0).Add(time.Duration(x.GetStartTimeUnixNs())).UTC().Format("2006-01-02T15:04:05.000000000Z07:00"),
		DurationNs: x.GetDurationNs(), Complete: x.GetComplete(), Flaws: []string{},
	}
	for _, f := range x.GetFlaws() {
		words := strings.Split(strings.ToLower(strings.TrimPrefix(f.String(), "FLAW_")), "_")
		for i := 1; i < len(words); i++ {
			words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
		}
		l.Flaws = append(l.Flaws, strings.Join(words, ""))
	}
	start := x.GetStartTimeUnixNs()
	shared := func(version string, hs, ts []*capstanv1.Header, b *capstanv1.Body, first, last uint64) common {
		c := common{Version: version, Headers: fields(hs), Trailers: fields(ts), BodySize: b.GetSize(), BodyGapBytes: b.GetGapBytes(),
			Body: b.GetContent(), BodyTruncated: b.GetTruncated(), FirstByteNs: int64(first - start), LastByteNs: int64(last - start)}
		if b.GetDecoding() != 0 {
			c.Decoding, c.DecodedSize, c.Decoded = strings.ToLower(strings.TrimPrefix(b.Decoding.String(), "DECODING_")), b.DecodedSize, b.Decoded
		}
		return c
	}
	if q := x.GetRequest(); q != nil {
		l.Request = &request{q.Method, q.Target, q.Authority, q.Scheme, q.Protocol, shared(q.Version, q.Headers, q.Trailers, q.Body, q.FirstByteUnixNs, q.LastByteUnixNs)}
	}
	if s := x.GetResponse(); s != nil {
		l.Response = &response{s.Status, s.Reason, append([]uint32{}, s.InterimStatuses...), shared(s.Version, s.Headers, s.Trailers, s.Body, s.FirstByteUnixNs, s.LastByteUnixNs)}
	}
	l.StreamID, l.Pushed = x.GetStreamId(), x.GetPushed()
	for _, f := range x.GetFlaws() {
		if f == capstanv1.Flaw_FLAW_RESET {
			l.ErrorCode = x.GetErrorCode()
		}
	}
	if g := x.GetGrpc(); g != nil {
		l.Grpc = &grpc{g.Service, g.Method, g.Web, counted(g.RequestMessages), counted(g.ResponseMessages), nil, g.StatusMessage, g.TimeoutNs, g.RequestEncoding, g.ResponseEncoding}
		if g.StatusKnown {
			l.Grpc.Status = &g.Status
		}
	}
	return l
}

func counted(m *capstanv1.GrpcMessages) messages {
	return messages{m.GetCount(), m.GetBytes(), m.GetCompressed(), append([]uint32{}, m.GetLengths()...), m.GetIncomplete()}
}

func fields(hs []*capstanv1.Header) []field {
	fs := []field{}
	for _, h := range hs {
		fs = append(fs, field{h.Name, h.Value, h.NameUnknown, h.ValueUnknown})
	}
	return fs
}

// decode reads a line strictly: one object, known members only, one line feed.
func decode(t *testing.T, b []byte) (l line) {
	t.Helper()
	if n := bytes.Count(b, []byte("\n")); n != 1 || b[len(b)-1] != '\n' {
		t.Fatalf("%d line feeds in %q", n, b)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if d.More() {
		t.Fatalf("more than one value in %s", b)
	}
	return l
}

// nasty is what strings are made of in random records.
var nasty = func() (s []string) {
	for r := rune(0); r < 0xa1; r++ {
		s = append(s, string(r))
	}
	return append(s, "\u2028", "\u2029", "\u202e", "\u2066", "\u061c", "\uFFFD", "\U0001F600", "ä", "日本", "</script>", `\u0041`, "plain text", "\x1b[31m", "")
}()

func randomString(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString(nasty[r.IntN(len(nasty))])
	}
	return b.String()
}

func randomFields(r *rand.Rand) (hs []*capstanv1.Header) {
	for range r.IntN(4) {
		hs = append(hs, &capstanv1.Header{Name: randomString(r), Value: randomString(r), NameUnknown: r.IntN(9) == 0, ValueUnknown: r.IntN(9) == 0})
	}
	return hs
}

func randomBody(r *rand.Rand) *capstanv1.Body {
	if r.IntN(4) == 0 {
		return nil
	}
	b := &capstanv1.Body{Size: r.Uint64() >> r.IntN(64), GapBytes: r.Uint64() >> r.IntN(64), Truncated: r.IntN(2) == 0}
	for range r.IntN(20) {
		b.Content = append(b.Content, byte(r.Uint32()))
	}
	b.Decoding, b.DecodedSize = capstanv1.Decoding(r.IntN(6)), r.Uint64()>>r.IntN(64)
	for range r.IntN(20) {
		b.Decoded = append(b.Decoded, byte(r.Uint32()))
	}
	return b
}

func randomMessages(r *rand.Rand) *capstanv1.GrpcMessages {
	if r.IntN(4) == 0 {
		return nil
	}
	m := &capstanv1.GrpcMessages{Count: r.Uint64() >> r.IntN(64), Bytes: r.Uint64() >> r.IntN(64), Compressed: r.Uint64N(3), Incomplete: r.IntN(2) == 0}
	for range r.IntN(4) {
		m.Lengths = append(m.Lengths, r.Uint32())
	}
	return m
}

func randomRecord(r *rand.Rand) *capstanv1.Exchange {
	start := r.Uint64N(math.MaxInt64 / 2)
	x := &capstanv1.Exchange{
		Id: randomString(r), Protocol: capstanv1.Protocol(r.IntN(7)), Source: randomString(r), Complete: r.IntN(2) == 0,
		Client: &capstanv1.Endpoint{Address: "192.0.2.1", Port: r.Uint32()}, StartTimeUnixNs: start, DurationNs: r.Int64(),
	}
	for range r.IntN(4) {
		x.Flaws = append(x.Flaws, capstanv1.Flaw(r.IntN(12)))
	}
	if r.IntN(2) == 0 {
		x.StreamId, x.ErrorCode, x.Pushed = r.Uint32(), r.Uint32(), r.IntN(2) == 0
	}
	if r.IntN(3) == 0 {
		x.Grpc = &capstanv1.Grpc{
			Service: randomString(r), Method: randomString(r), Web: r.IntN(2) == 0, RequestMessages: randomMessages(r), ResponseMessages: randomMessages(r),
			StatusKnown: r.IntN(2) == 0, Status: r.Uint32N(17), StatusMessage: randomString(r), TimeoutNs: r.Int64N(3), RequestEncoding: randomString(r), ResponseEncoding: randomString(r),
		}
	}
	if r.IntN(3) > 0 {
		x.Server = &capstanv1.Endpoint{Address: "2001:db8::1", Port: 80}
		x.Request = &capstanv1.HttpRequest{
			Method: randomString(r), Target: randomString(r), Authority: randomString(r), Version: randomString(r), Scheme: randomString(r), Protocol: randomString(r),
			Headers: randomFields(r), Trailers: randomFields(r), Body: randomBody(r), FirstByteUnixNs: start, LastByteUnixNs: start + r.Uint64N(1e9),
		}
	}
	if r.IntN(3) > 0 {
		x.Response = &capstanv1.HttpResponse{
			Status: r.Uint32(), Reason: randomString(r), Version: randomString(r), Headers: randomFields(r), Trailers: randomFields(r),
			Body: randomBody(r), FirstByteUnixNs: start + r.Uint64N(1e9), LastByteUnixNs: start,
		}
		for range r.IntN(3) {
			x.Response.InterimStatuses = append(x.Response.InterimStatuses, 100+r.Uint32N(100))
		}
	}
	return x
}

func TestEncodingJSONReadsTheSameValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		x := randomRecord(r)
		b := Append(nil, x)
		if d := cmp.Diff(expected(x), decode(t, b), cmp.AllowUnexported(request{}, response{})); d != "" {
			t.Fatalf("%s\n%s", b, d)
		}
		for _, c := range string(b[:len(b)-1]) {
			if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == 0x2028 || c == 0x2029 {
				t.Fatalf("character %U is not escaped in %q", c, b)
			}
		}
	}
}

func TestLineIsAsDocumented(t *testing.T) {
	x := &capstanv1.Exchange{
		Id: "ab-0", Protocol: capstanv1.Protocol_PROTOCOL_HTTP1, Client: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 40000},
		Server: &capstanv1.Endpoint{Address: "::1", Port: 80}, StartTimeUnixNs: 1_700_000_000_000_001_000, DurationNs: 5000,
		Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP, capstanv1.Flaw_FLAW_CLOSED_EARLY, 77}, Source: "f.pcap",
		Request: &capstanv1.HttpRequest{
			Method: "GET", Target: "/", Authority: "h", Version: "HTTP/1.1", Headers: []*capstanv1.Header{{Name: "Host", Value: "h"}},
			Body: &capstanv1.Body{}, FirstByteUnixNs: 1_700_000_000_000_001_000, LastByteUnixNs: 1_700_000_000_000_002_000,
		},
		Response: &capstanv1.HttpResponse{
			Status: 200, Reason: "OK", Version: "HTTP/1.1", InterimStatuses: []uint32{100, 103},
			Body:            &capstanv1.Body{Size: 9, GapBytes: 2, Content: []byte("abc"), Truncated: true},
			FirstByteUnixNs: 1_700_000_000_000_003_000, LastByteUnixNs: 1_700_000_000_000_006_000,
		},
	}
	const want = `{"id":"ab-0","protocol":"HTTP1","client":{"address":"10.0.0.1","port":40000},"server":{"address":"::1","port":80},` +
		`"startTime":"2023-11-14T22:13:20.000001000Z","durationNs":5000,"complete":false,"flaws":["gap","closedEarly","unspecified"],"source":"f.pcap",` +
		`"request":{"method":"GET","target":"/","authority":"h","version":"HTTP/1.1","headers":[{"name":"Host","value":"h"}],"trailers":[],` +
		`"bodySize":0,"bodyGapBytes":0,"bodyTruncated":false,"firstByteNs":0,"lastByteNs":1000},` +
		`"response":{"status":200,"reason":"OK","version":"HTTP/1.1","headers":[],"trailers":[],"bodySize":9,"bodyGapBytes":2,"body":"YWJj",` +
		`"bodyTruncated":true,"interimStatuses":[100,103],"firstByteNs":2000,"lastByteNs":5000}}` + "\n"
	if got := string(Append(nil, x)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	x.StreamId, x.ErrorCode, x.Flaws = 3, 8, []capstanv1.Flaw{capstanv1.Flaw_FLAW_HEADERS_UNKNOWN, capstanv1.Flaw_FLAW_RESET}
	x.Request = &capstanv1.HttpRequest{Method: "CONNECT", Scheme: "http", Protocol: "websocket", Headers: []*capstanv1.Header{{NameUnknown: true, Value: "***"}},
		FirstByteUnixNs: x.StartTimeUnixNs, LastByteUnixNs: x.StartTimeUnixNs}
	x.Response = nil
	x.Grpc = &capstanv1.Grpc{Service: "p.S", Method: "M", StatusKnown: true, TimeoutNs: 9, RequestMessages: &capstanv1.GrpcMessages{Count: 2, Bytes: 7, Lengths: []uint32{3, 4}}}
	const wantStream = `"flaws":["headersUnknown","reset"],"source":"f.pcap","streamId":3,"errorCode":8,` +
		`"request":{"method":"CONNECT","target":"","authority":"","version":"","scheme":"http","protocol":"websocket",` +
		`"headers":[{"name":"","value":"***","nameUnknown":true}],"trailers":[],"bodySize":0,"bodyGapBytes":0,"bodyTruncated":false,"firstByteNs":0,"lastByteNs":0},` +
		`"grpc":{"service":"p.S","method":"M","web":false,"requestMessages":{"count":2,"bytes":7,"compressed":0,"lengths":[3,4],"incomplete":false},` +
		`"responseMessages":{"count":0,"bytes":0,"compressed":0,"lengths":[],"incomplete":false},"status":0,"timeoutNs":9}}` + "\n"
	if got := string(Append(nil, x)); !strings.HasSuffix(got, wantStream) {
		t.Errorf("got\n%swant\n%s", got, wantStream)
	}
	x.Flaws, x.Request, x.Grpc = nil, nil, nil
	for _, tt := range []struct {
		proxied []*capstanv1.Proxied
		want    string
	}{
		{[]*capstanv1.Proxied{{Version: 2, Source: &capstanv1.Endpoint{Address: "192.0.2.7", Port: 9}, Destination: &capstanv1.Endpoint{Address: "::1", Port: 80}}},
			`"streamId":3,"proxied":{"version":2,"source":{"address":"192.0.2.7","port":9},"destination":{"address":"::1","port":80}}}` + "\n"},
		{[]*capstanv1.Proxied{{Version: 1}}, `"streamId":3,"proxied":{"version":1}}` + "\n"},
		{[]*capstanv1.Proxied{{Version: 1}, {Version: 2}, {Version: 1}}, `,"proxied":{"version":1},"proxiedFurther":[{"version":2},{"version":1}]}` + "\n"},
	} {
		x.Proxied, x.ProxiedFurther = tt.proxied[0], tt.proxied[1:]
		if got := string(Append(nil, x)); !strings.HasSuffix(got, tt.want) {
			t.Errorf("got\n%swant\n%s", got, tt.want)
		}
	}
	x.Proxied, x.ProxiedFurther = nil, nil
	x.Socks = &capstanv1.Socks{Version: 5, Command: 1, Target: "inner:80", Replied: true, Outer: &capstanv1.Socks{Version: 4}}
	const wantSocks = `"streamId":3,"socks":{"version":5,"command":1,"target":"inner:80","reply":0,"outer":{"version":4,"command":0,"target":""}}}` + "\n"
	if got := string(Append(nil, x)); !strings.HasSuffix(got, wantSocks) {
		t.Errorf("got\n%swant\n%s", got, wantSocks)
	}
	x = &capstanv1.Exchange{Source: "f.pcap"}
	if got := string(Append(nil, x)); !strings.HasSuffix(got, `"flaws":[],"source":"f.pcap"}`+"\n") {
		t.Errorf("without halves and flaws: %s", got)
	}
}

func TestNoAllocationBeyondTheBuffer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := randomRecord(r)
	for x.Request == nil || x.Response == nil || len(x.Flaws) == 0 {
		x = randomRecord(r)
	}
	buf := make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range nasty {
		f.Add(s, []byte(s), uint64(1), true)
	}
	f.Add("\xff\xc3(\xed\xa0\x80", []byte{0}, uint64(math.MaxUint64), false)
	f.Fuzz(func(t *testing.T, s string, content []byte, n uint64, b bool) {
		x := &capstanv1.Exchange{
			Id: s, Source: s, DurationNs: int64(n), Complete: b,
			Request:  &capstanv1.HttpRequest{Method: s, Target: s, Authority: s, Version: s, Headers: []*capstanv1.Header{{Name: s, Value: s}}, LastByteUnixNs: n},
			Response: &capstanv1.HttpResponse{Status: uint32(n), Reason: s, Body: &capstanv1.Body{Size: n, Content: content, Truncated: b}, FirstByteUnixNs: n},
		}
		got := decode(t, Append(nil, x))
		if !utf8.ValidString(s) {
			if want := string([]rune(s)); got.Source != want { // each bad byte becomes U+FFFD
				t.Errorf("%q read as %q, want %q", s, got.Source, want)
			}
			return
		}
		if len(content) == 0 {
			x.Response.Body.Content = nil
		}
		if d := cmp.Diff(expected(x), got, cmp.AllowUnexported(request{}, response{})); d != "" {
			t.Error(d)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	x := &capstanv1.Exchange{
		Id: "3420e26d2d2768a400e1c318cd7b83b3-17", Client: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 40000}, Server: &capstanv1.Endpoint{Address: "10.0.0.2", Port: 80},
		Request: &capstanv1.HttpRequest{Method: "GET", Target: "/index.html?x=1", Authority: "www.example.com", Version: "HTTP/1.1",
			Headers: []*capstanv1.Header{{Name: "Host", Value: "www.example.com"}, {Name: "User-Agent", Value: "curl/8.5.0"}, {Name: "Accept", Value: "*/*"}}},
		Response: &capstanv1.HttpResponse{Status: 200, Reason: "OK", Version: "HTTP/1.1", Headers: []*capstanv1.Header{{Name: "Content-Type", Value: "text/plain"}, {Name: "Content-Length", Value: "5"}}},
	}
	for _, n := range []int{0, 4096} { // of a body
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x.Response.Body = &capstanv1.Body{Content: make([]byte, n), Size: uint64(n)}
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = Append(buf[:0], x)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}
