package exchange

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// testConn is a connection whose client is A.
func testConn() *reassembly.Conn {
	return &reassembly.Conn{
		Key: flow.Key{
			A: flow.EndpointFrom(netip.MustParseAddrPort("192.0.2.1:40000")),
			B: flow.EndpointFrom(netip.MustParseAddrPort("[2001:db8::1]:80")),
		},
		InitialSeq: [2]uint32{1, 2}, InitialSeqKnown: [2]bool{true, true},
	}
}

func testConnection() *Connection { return connection(testConn(), flow.AToB) }

// connection returns that of conn.
func connection(conn *reassembly.Conn, client flow.Direction) *Connection {
	return new(Connection).Identity(conn, client)
}

// record emits x through a recorder of cfg and returns what came out.
func record(t *testing.T, cfg Config, c *Connection, x *capstanv1.Exchange) (*capstanv1.Exchange, Stats) {
	t.Helper()
	var got []*capstanv1.Exchange
	cfg.Emit = func(x *capstanv1.Exchange) { got = append(got, x) } // nothing follows that could reuse it
	r := NewRecorder(cfg)
	r.Emit(c, x, Screened{})
	if len(got) != 1 {
		t.Fatalf("%d records from one Emit", len(got))
	}
	return got[0], r.Stats()
}

func TestIDsNameConnectionAndOrdinal(t *testing.T) {
	c := testConnection()
	first, _ := record(t, Config{}, c, &capstanv1.Exchange{})
	second, _ := record(t, Config{}, c, &capstanv1.Exchange{})
	if !regexp.MustCompile(`^[0-9a-f]{32}-0$`).MatchString(first.Id) {
		t.Errorf("id %q is not 32 hexadecimal digits and -0", first.Id)
	}
	if want := strings.TrimSuffix(first.Id, "0") + "1"; second.Id != want {
		t.Errorf("second id %q, want %q", second.Id, want)
	}
	// The published form: changing it changes every stored id.
	if want := "d138e6e962d7b09aed56a662cd950301-0"; first.Id != want {
		t.Errorf("id of the test connection %q, want %q", first.Id, want)
	}
	if first.Client.Address != "192.0.2.1" || first.Client.Port != 40000 || first.Server.Address != "2001:db8::1" || first.Server.Port != 80 {
		t.Errorf("endpoints %v and %v", first.Client, first.Server)
	}
}

// A connection may have more records than 32 bits count.
func TestIDsGoOn(t *testing.T) {
	c := testConnection()
	c.next, c.wraps = math.MaxUint32, 1
	for _, want := range []string{"-8589934591", "-8589934592", "-8589934593"} {
		if x, _ := record(t, Config{}, c, &capstanv1.Exchange{}); x.Id[2*idLen:] != want {
			t.Errorf("id %q, want one that ends in %s", x.Id, want)
		}
	}
}

// What a proxy said is told with each record of the connection, and changes no id.
func TestProxiedIsTold(t *testing.T) {
	plain := testConnection()
	said := &capstanv1.Proxied{Version: 1, Source: &capstanv1.Endpoint{Address: "192.0.2.7"}}
	c := (*Connection)(nil).Proxied(said).Identity(plain.conn, plain.client)
	for range 2 {
		want, _ := record(t, Config{}, plain, &capstanv1.Exchange{Proxied: said}) // of another connection before
		got, _ := record(t, Config{}, c.Identity(plain.conn, plain.client), &capstanv1.Exchange{})
		if got.Proxied != said || want.Proxied != nil || got.Id != want.Id {
			t.Errorf("%s %v, and %s %v without", got.Id, got.Proxied, want.Id, want.Proxied)
		}
	}
}

// So is what a SOCKS proxy was asked for, from then on.
func TestSocksIsTold(t *testing.T) {
	plain := testConnection()
	c := (*Connection)(nil).Through(&capstanv1.Socks{Target: "a:1"}).Identity(plain.conn, plain.client)
	for _, told := range [][2]string{{"a:1", ""}, {"b:2", "a:1"}} {
		got, _ := record(t, Config{}, c, &capstanv1.Exchange{})
		want, _ := record(t, Config{}, plain, &capstanv1.Exchange{Socks: got.Socks}) // of another connection before
		if got.Socks.Target != told[0] || got.Socks.Outer.GetTarget() != told[1] || got.Proxied != nil || want.Socks != nil || got.Id != want.Id {
			t.Errorf("%s %v, and %s %v without", got.Id, got.Socks, want.Id, want.Socks)
		}
		c = c.Through(&capstanv1.Socks{Target: "b:2"})
	}
}

func TestSourceIsUTF8(t *testing.T) {
	for source, want := range map[string]string{"": "", "café.pcap": "café.pcap", "caf\xe9.pcap": "caf\uFFFD.pcap"} {
		if x, _ := record(t, Config{Source: source}, testConnection(), &capstanv1.Exchange{}); x.Source != want {
			t.Errorf("%q became %q", source, x.Source)
		}
	}
}

func TestIDsDependOnEveryPartOfTheIdentity(t *testing.T) {
	seen := map[[idLen]byte]string{testConnection().prefix: "unchanged"}
	for name, change := range map[string]func(*reassembly.Conn){
		"client port":       func(c *reassembly.Conn) { c.Key.A.Port++ },
		"client address":    func(c *reassembly.Conn) { c.Key.A.Addr[15]++ },
		"server port":       func(c *reassembly.Conn) { c.Key.B.Port++ },
		"server address":    func(c *reassembly.Conn) { c.Key.B.Addr[0]++ },
		"scope":             func(c *reassembly.Conn) { c.Key.Scope++ },
		"swapped ends":      func(c *reassembly.Conn) { c.Key.A, c.Key.B = c.Key.B, c.Key.A },
		"client seq":        func(c *reassembly.Conn) { c.InitialSeq[0]++ },
		"server seq":        func(c *reassembly.Conn) { c.InitialSeq[1]++ },
		"client seq zero":   func(c *reassembly.Conn) { c.InitialSeq[0] = 0 },
		"client seq hidden": func(c *reassembly.Conn) { c.InitialSeqKnown[0] = false },
		"server seq hidden": func(c *reassembly.Conn) { c.InitialSeqKnown[1] = false },
	} {
		conn := testConn()
		change(conn)
		p := connection(conn, flow.AToB).prefix
		if other, ok := seen[p]; ok {
			t.Errorf("%s and %s give the same id", name, other)
		}
		seen[p] = name
	}
	conn := testConn()
	conn.Key.A, conn.Key.B = conn.Key.B, conn.Key.A
	conn.InitialSeq = [2]uint32{2, 1}
	if got := connection(conn, flow.BToA).prefix; got != testConnection().prefix {
		t.Error("the id depends on the order of the ends in the key")
	}
}

func TestConnectionsWithoutSequenceNumbersAreToldApart(t *testing.T) {
	prefix := func(start int64, known bool) [idLen]byte {
		conn := testConn()
		conn.Start, conn.InitialSeqKnown[1] = start, known
		return connection(conn, flow.AToB).prefix
	}
	const start = 1_700_000_000_000_001_999
	if prefix(start, true) != prefix(start+1000, true) {
		t.Error("the same handshake gives two names")
	}
	if prefix(start, false) == prefix(start+1000, false) {
		t.Error("two connections joined midstream have one name")
	}
	if prefix(start, false) != prefix(start/1000*1000, false) {
		t.Error("a source of microseconds gives another name")
	}
}

// TestEndpointsOfManyHosts: more of them than the recorder remembers.
func TestEndpointsOfManyHosts(t *testing.T) {
	var got *capstanv1.Exchange
	r := NewRecorder(Config{Emit: func(x *capstanv1.Exchange) { got = x }})
	for range 2 {
		for i := range 3 * addressPlaces {
			conn := testConn()
			client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(i))
			conn.Key.A = flow.EndpointFrom(client)
			r.Emit(connection(conn, flow.AToB), &capstanv1.Exchange{}, Screened{})
			if got.Client.Address != client.Addr().String() || got.Client.Port != uint32(i) || got.Server.Address != "2001:db8::1" || got.Server.Port != 80 {
				t.Fatalf("endpoints %v and %v of a connection from %v", got.Client, got.Server, client)
			}
		}
	}
}

func TestMaskReplacesCredentialValues(t *testing.T) {
	fields := func() []*capstanv1.Header {
		return []*capstanv1.Header{
			{Name: "Host", Value: "a"}, {Name: "aUTHORIZATION", Value: "Basic c2VjcmV0"}, {Name: "X-Custom", Value: "secret"},
			{Name: "Set-Cookie", Value: "secret"}, {Name: "X-Api-Key", Value: ""}, {Name: "Authorization2", Value: "b"},
		}
	}
	values := func(hs []*capstanv1.Header) (vs []string) {
		for _, h := range hs {
			vs = append(vs, h.Value)
		}
		return vs
	}
	for _, tc := range []struct {
		name string
		mask []string
		want []string
	}{
		{"default", nil, []string{"a", masked, "secret", masked, masked, "b"}},
		{"configured", []string{"x-custom", " HOST "}, []string{masked, "Basic ***", masked, "secret", "", "b"}},
		{"but two", append(DefaultMaskHeaders(), "-set_cookie", "-*authorization"), []string{"a", "Basic ***", "secret", "secret", masked, "b"}},
		{"none", []string{}, []string{"a", "Basic c2VjcmV0", "secret", "secret", "", "b"}},
		{"long name", []string{strings.Repeat("x", 99)}, []string{"a", "Basic ***", "secret", "secret", "", "b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := &capstanv1.Exchange{
				Request:  &capstanv1.HttpRequest{Headers: fields(), Trailers: fields()},
				Response: &capstanv1.HttpResponse{Headers: fields(), Trailers: fields()},
			}
			got, stats := record(t, Config{Keep: NewKeep(0, tc.mask, nil)}, testConnection(), x)
			for _, hs := range [][]*capstanv1.Header{got.Request.Headers, got.Request.Trailers, got.Response.Headers, got.Response.Trailers} {
				if v := values(hs); !slices.Equal(v, tc.want) {
					t.Errorf("values %q, want %q", v, tc.want)
				}
			}
			var want uint64
			for _, v := range tc.want {
				if strings.HasSuffix(v, masked) {
					want += 4
				}
			}
			if stats.MaskedHeaders != want {
				t.Errorf("%d masked, want %d", stats.MaskedHeaders, want)
			}
		})
	}
}

// TestMaskUnknownFields: a value whose name is unknown may be a credential.
func TestMaskUnknownFields(t *testing.T) {
	for _, tc := range []struct {
		mask  []string
		value string
		want  string
	}{{nil, "secret", "***"}, {[]string{}, "public", "public"}, {nil, "", ""}} {
		var got *capstanv1.Exchange
		r := NewRecorder(Config{Keep: NewKeep(0, tc.mask, nil), Emit: func(x *capstanv1.Exchange) { got = x }})
		r.Emit(testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{
			Headers: []*capstanv1.Header{{NameUnknown: true, Value: tc.value}}}}, Screened{})
		if v := got.Request.Headers[0].Value; v != tc.want {
			t.Errorf("masking %v: %q became %q, want %q", tc.mask, tc.value, v, tc.want)
		}
	}
}

func TestEmitTimesFlawsAndOutcome(t *testing.T) {
	const (
		gap, noReq, noResp = capstanv1.Flaw_FLAW_GAP, capstanv1.Flaw_FLAW_NO_REQUEST, capstanv1.Flaw_FLAW_NO_RESPONSE
		malformed, timeout = capstanv1.Flaw_FLAW_MALFORMED, capstanv1.Flaw_FLAW_TIMEOUT
	)
	req := func(first, last uint64) *capstanv1.HttpRequest {
		return &capstanv1.HttpRequest{FirstByteUnixNs: first, LastByteUnixNs: last}
	}
	resp := func(first, last uint64) *capstanv1.HttpResponse {
		return &capstanv1.HttpResponse{FirstByteUnixNs: first, LastByteUnixNs: last}
	}
	for _, tc := range []struct {
		name     string
		x        *capstanv1.Exchange
		start    uint64
		duration int64
		complete bool
		flaws    []capstanv1.Flaw
		stats    Stats
	}{
		{"whole", &capstanv1.Exchange{Complete: true, Request: req(10, 20), Response: resp(30, 45)}, 10, 35, true, nil, Stats{Complete: 1}},
		{"malformed but whole", &capstanv1.Exchange{Complete: true, Flaws: []capstanv1.Flaw{malformed}, Request: req(10, 20), Response: resp(30, 45)},
			10, 35, true, []capstanv1.Flaw{malformed}, Stats{Complete: 1}},
		{"sorted and unique", &capstanv1.Exchange{Complete: true, Flaws: []capstanv1.Flaw{timeout, gap, timeout, gap}, Request: req(10, 20), Response: resp(30, 45)},
			10, 35, false, []capstanv1.Flaw{gap, timeout}, Stats{Incomplete: 1}},
		{"not to the end", &capstanv1.Exchange{Flaws: []capstanv1.Flaw{malformed}, Request: req(10, 20), Response: resp(30, 45)},
			10, 35, false, []capstanv1.Flaw{malformed}, Stats{Incomplete: 1}},
		{"no request", &capstanv1.Exchange{Complete: true, Response: resp(30, 45)}, 30, 15, false, []capstanv1.Flaw{noReq}, Stats{NoRequest: 1}},
		{"no response", &capstanv1.Exchange{Complete: true, Flaws: []capstanv1.Flaw{noResp}, Request: req(10, 20)}, 10, 10, false, []capstanv1.Flaw{noResp}, Stats{NoResponse: 1}},
		{"response before request", &capstanv1.Exchange{Complete: true, Request: req(50, 60), Response: resp(30, 45)}, 30, 30, true, nil, Stats{Complete: 1}},
		{"clock stepped back", &capstanv1.Exchange{Complete: true, Request: req(50, 40)}, 50, 0, false, []capstanv1.Flaw{noResp}, Stats{NoResponse: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x, stats := record(t, Config{Source: "s"}, testConnection(), tc.x)
			if x.StartTimeUnixNs != tc.start || x.DurationNs != tc.duration || x.Complete != tc.complete || !slices.Equal(x.Flaws, tc.flaws) {
				t.Errorf("start %d duration %d complete %v flaws %v", x.StartTimeUnixNs, x.DurationNs, x.Complete, x.Flaws)
			}
			if stats != tc.stats {
				t.Errorf("stats %+v, want %+v", stats, tc.stats)
			}
			if x.Source != "s" {
				t.Errorf("source %q", x.Source)
			}
		})
	}
}

func TestEmitAllocatesNothing(t *testing.T) {
	r := NewRecorder(Config{Emit: func(*capstanv1.Exchange) {}})
	c := testConnection()
	x := &capstanv1.Exchange{
		Request:  &capstanv1.HttpRequest{Headers: []*capstanv1.Header{{Name: "Host"}, {Name: "Cookie"}}},
		Response: &capstanv1.HttpResponse{Headers: []*capstanv1.Header{{Name: "Content-Length"}, {Name: "Set-Cookie"}}},
	}
	if n := testing.AllocsPerRun(100, func() { r.Emit(c, x, Screened{}) }); n != 0 {
		t.Errorf("%v allocations, want 0 but for ids, of which many are made at once", n)
	}
}

func TestWhatIsKeptChangesWhileItRuns(t *testing.T) {
	keep := NewKeep(5, nil, nil)
	var got *capstanv1.Exchange
	r := NewRecorder(Config{Keep: keep, Emit: func(x *capstanv1.Exchange) { got = x }})
	emit := func() string {
		r.Emit(testConnection(), &capstanv1.Exchange{Request: &capstanv1.HttpRequest{Headers: []*capstanv1.Header{{Name: "X-Pin", Value: "1234"}}}}, Screened{})
		return got.Request.Headers[0].Value
	}
	if v := emit(); v != "1234" || r.BodyLimit() != 5 {
		t.Errorf("%q, limit %d", v, r.BodyLimit())
	}
	keep.Set(-1, []string{"x-pin"}, nil)
	if v := emit(); v != "***" || r.BodyLimit() != 0 {
		t.Errorf("after the change: %q, limit %d", v, r.BodyLimit())
	}
}
