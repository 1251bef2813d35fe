package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

const (
	fromClient = flow.AToB
	fromServer = flow.BToA
)

// piece is what one end wrote.
type piece struct {
	d flow.Direction
	b []byte
}

// tap records what is written to a connection.
type tap struct {
	net.Conn
	d  flow.Direction
	mu *sync.Mutex
	to *[]piece
}

func (c tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	*c.to = append(*c.to, piece{c.d, bytes.Clone(b)})
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"shop.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// connected returns both ends of a connection with buffers: at times both ends of
// a handshake write.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// handshake returns what both ends of a handshake and a little data say, and what
// the client knows in the end.
func handshake(t *testing.T, client, server *tls.Config) (pieces []piece, state tls.ConnectionState) {
	t.Helper()
	a, b := connected(t)
	var mu sync.Mutex
	c := tls.Client(tap{a, fromClient, &mu, &pieces}, client)
	s := tls.Server(tap{b, fromServer, &mu, &pieces}, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		if s.Handshake() == nil {
			_, _ = s.Write([]byte("hello"))
		}
		_, _ = io.Copy(io.Discard, s)
	}()
	if c.Handshake() == nil {
		_, _ = io.ReadFull(c, make([]byte, 5))
	}
	state = c.ConnectionState()
	a.Close()
	<-done
	return pieces, state
}

// play feeds pieces cut by next and returns the record.
func play(t testing.TB, pieces []piece, known bool, next func() int) *capstanv1.Exchange {
	t.Helper()
	key, _ := flow.NewKey(flow.EndpointFrom(netip.MustParseAddrPort("10.0.0.1:40000")), flow.EndpointFrom(netip.MustParseAddrPort("10.0.0.2:443")))
	var records []*capstanv1.Exchange
	c := New(&reassembly.Conn{Key: key, Client: fromClient, ClientKnown: known}, exchange.NewRecorder(exchange.Config{Emit: exchangetest.Keep(&records)}), nil, new(Stats))
	var offset [2]int64
	for i, p := range pieces {
		for b := p.b; len(b) > 0; {
			n := min(next(), len(b))
			c.Data(p.d, reassembly.Chunk{Time: int64(i), Offset: offset[p.d], Acked: -1, Bytes: b[:n]})
			offset[p.d] += int64(n)
			b = b[n:]
		}
	}
	c.Close(9, reassembly.CloseFIN)
	c.Close(9, reassembly.CloseFIN)
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	return records[0]
}

func whole() int { return 1 << 20 }

// TestHandshakes holds what is read against what crypto/tls says of the same
// handshake.
func TestHandshakes(t *testing.T) {
	cert := certificate(t)
	client := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{ServerName: "shop.example", InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
		change(c)
		return c
	}
	server := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
		change(c)
		return c
	}
	as := func(*tls.Config) {}
	old := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	for _, tt := range []struct {
		name           string
		client, server *tls.Config
		alpn           string
		retry          bool
		alert          uint32
	}{
		{"1.3", client(as), server(as), "", false, 0},
		{"1.2", client(old), server(as), "http/1.1", false, 0},
		{"1.2 of the server's choice", client(as), server(old), "http/1.1", false, 0},
		{"another hello asked for", client(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384} }),
			server(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }), "", true, 0},
		{"nothing in common", client(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }), server(old), "", false, 70},
		{"no name", client(func(c *tls.Config) { c.ServerName, c.NextProtos = "", nil }), server(as), "", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pieces, state := handshake(t, tt.client, tt.server)
			x := play(t, pieces, true, whole)
			r := x.Tls
			if r == nil || x.Protocol != capstanv1.Protocol_PROTOCOL_TLS || x.Connection == nil || !x.Complete {
				t.Fatalf("%v", x)
			}
			failed := tt.alert != 0
			if r.ServerName != tt.client.ServerName || !slices.Equal(r.AlpnOffered, tt.client.NextProtos) || r.Alpn != tt.alpn ||
				!r.ClientHello || r.ServerHello == failed || r.HelloRetry != tt.retry || r.Alerted != failed || r.Alert != tt.alert {
				t.Errorf("%v", r)
			}
			if !failed && (r.Version != uint32(state.Version) || r.CipherSuite != uint32(state.CipherSuite) ||
				r.CipherSuiteName != tls.CipherSuiteName(state.CipherSuite) || r.EncryptedBytes == 0 || !slices.Contains(r.VersionsOffered, r.Version)) {
				t.Errorf("%v, %x %x", r, state.Version, state.CipherSuite)
			}
			rnd := mathrand.New(mathrand.NewPCG(1, 2))
			for range 20 {
				if got := play(t, pieces, true, func() int { return 1 + rnd.IntN(30) }); !proto.Equal(got.Tls, r) {
					t.Fatalf("cut: %v\nwhole: %v", got.Tls, r)
				}
			}
			if got := play(t, pieces, false, whole); !proto.Equal(got.Tls, r) {
				t.Errorf("with roles from the content: %v\nwant %v", got.Tls, r)
			}
		})
	}
}

// TestFragmentedHello spreads a ClientHello over records of a few bytes.
func TestFragmentedHello(t *testing.T) {
	pieces, _ := handshake(t, &tls.Config{ServerName: "shop.example", InsecureSkipVerify: true}, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	hello := pieces[0].b[recordHeaderLen:]
	var records []byte
	for len(hello) > 0 {
		n := min(7, len(hello))
		records = append(append(records, typeHandshake, 3, 1, 0, byte(n)), hello[:n]...)
		hello = hello[n:]
	}
	if x := play(t, []piece{{fromClient, records}}, true, whole); x.Tls.ServerName != "shop.example" {
		t.Errorf("%v", x.Tls)
	}
}

func TestWhatIsNoHello(t *testing.T) {
	for name, b := range map[string][]byte{
		"cut":                {typeHandshake, 3, 3, 0, 8, clientHello, 0, 0, 4, 3, 3, 0, 0},
		"too long":           {typeHandshake, 3, 3, 0, 4, clientHello, 0xff, 0, 0},
		"joined inside":      {typeApplicationData, 3, 3, 0, 2, 1, 2},
		"no record behind":   append([]byte{typeHandshake, 3, 3, 0, 4, 11, 0, 0, 0}, "GET / HTTP/1.1"...),
		"extensions overrun": append(append([]byte{typeHandshake, 3, 3, 0, 47, clientHello, 0, 0, 43, 3, 3}, make([]byte, randomLen)...), 0, 0, 2, 0x13, 1, 1, 0, 0, 9),
	} {
		t.Run(name, func(t *testing.T) {
			if r := play(t, []piece{{fromClient, b}}, true, whole).Tls; r.ClientHello || r.ServerHello {
				t.Errorf("%v", r)
			}
		})
	}
}

func TestGapEndsTheClear(t *testing.T) {
	pieces, _ := handshake(t, &tls.Config{InsecureSkipVerify: true}, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	var records []*capstanv1.Exchange
	c := New(&reassembly.Conn{ClientKnown: true}, exchange.NewRecorder(exchange.Config{Emit: exchangetest.Keep(&records)}), nil, new(Stats))
	hello := pieces[0].b
	c.Data(fromClient, reassembly.Chunk{Bytes: hello[:50]})
	c.Gap(fromClient, reassembly.Gap{Offset: 50, Len: 10})
	c.Data(fromClient, reassembly.Chunk{Offset: 60, Bytes: hello[60:]})
	c.Close(1, reassembly.CloseRST)
	x := records[0]
	if x.Tls.ClientHello || x.Complete || !slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_GAP) || x.Connection.Client.GapBytes != 10 || x.Tls.EncryptedBytes != uint64(len(hello)-60) {
		t.Errorf("%v", x)
	}
}

// FuzzConn cuts both streams in two ways; the record is the same.
func FuzzConn(f *testing.F) {
	f.Add([]byte{typeHandshake, 3, 1, 0, 47, clientHello, 0, 0, 43, 3, 3, 0}, []byte{typeAlert, 3, 3, 0, 2, 2, 40}, uint64(1))
	hello := append(append([]byte{typeHandshake, 3, 3, 0, 44, serverHello, 0, 0, 40, 3, 3}, retryRandom...), 0, 0x13, 1, 0, 0, 0)
	f.Add([]byte{}, hello, uint64(2))
	f.Add(append([]byte{typeHandshake, 3, 3, 0, 47, clientHello, 0, 0, 43, 3, 3}, make([]byte, 41)...), []byte("SSH-2.0-x\r\n"), uint64(4))
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64) {
		pieces := []piece{{fromClient, client}, {fromServer, server}}
		if len(client)+len(server) == 0 {
			return
		}
		r := mathrand.New(mathrand.NewPCG(seed, 0))
		a, b := play(t, pieces, seed%2 == 0, whole), play(t, pieces, seed%2 == 0, func() int { return 1 + r.IntN(9) })
		if !proto.Equal(a.Tls, b.Tls) || a.Connection.LooksLike != b.Connection.LooksLike {
			t.Errorf("whole: %v\ncut: %v", a, b)
		}
		if _, err := proto.Marshal(a); err != nil {
			t.Error(err)
		}
	})
}

// TestHellosAreCounted: what waits for its end, and what is too long to.
func TestHellosAreCounted(t *testing.T) {
	stats := new(Stats)
	begin := func() *Conn {
		return New(&reassembly.Conn{ClientKnown: true}, exchange.NewRecorder(exchange.Config{Emit: func(*capstanv1.Exchange) {}}), nil, stats)
	}
	hello := func(length int) []byte {
		return append([]byte{typeHandshake, 3, 1, 0x40, 0, clientHello, byte(length >> 16), byte(length >> 8), byte(length)}, make([]byte, 100)...)
	}
	a, b, c := begin(), begin(), begin()
	a.Data(fromClient, reassembly.Chunk{Bytes: hello(2000)})
	b.Data(fromClient, reassembly.Chunk{Bytes: hello(maxHelloLen)})
	if *stats != (Stats{Held: 208}) {
		t.Errorf("two that wait: %+v", stats)
	}
	c.Data(fromClient, reassembly.Chunk{Bytes: hello(maxHelloLen + 1)})
	if *stats != (Stats{Held: 208, Unread: 1}) {
		t.Errorf("one that is too long: %+v", stats)
	}
	b.Gap(fromClient, reassembly.Gap{Offset: 109, Len: 1})
	if *stats != (Stats{Held: 104, Unread: 1}) {
		t.Errorf("one has no end: %+v", stats)
	}
	for _, x := range []*Conn{a, b, c, a} {
		x.Close(1, reassembly.CloseFIN)
	}
	if *stats != (Stats{Unread: 1}) {
		t.Errorf("behind the end: %+v", stats)
	}
}
