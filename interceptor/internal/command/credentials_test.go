package command

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"capstan/interceptor/internal/sink/otlp/otlptest"
	"capstan/pkg/addrtest"
)

// http2Peer says things in HTTP/2.
type http2Peer struct {
	t      *testing.T
	from   int
	framer *http2.Framer
	out    bytes.Buffer
	encode *hpack.Encoder
	block  bytes.Buffer
}

func newHTTP2Peer(t *testing.T, from int) *http2Peer {
	p := &http2Peer{t: t, from: from}
	p.framer = http2.NewFramer(&p.out, nil)
	p.encode = hpack.NewEncoder(&p.block)
	if from == 0 {
		p.out.WriteString(http2.ClientPreface)
	}
	if err := p.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return p
}

// headers sends fields in the order name, value, name, value…
func (p *http2Peer) headers(end bool, fields ...string) {
	p.t.Helper()
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := p.encode.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: end}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *http2Peer) data(end bool, text string) {
	p.t.Helper()
	if err := p.framer.WriteData(1, end, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// said returns what was written since the last call.
func (p *http2Peer) said() said {
	s := said{p.from, p.out.String()}
	p.out.Reset()
	return s
}

// credentialConnections have credentials wherever a protocol has a place for
// them.
func credentialConnections(t *testing.T) [][]said {
	t.Helper()
	http1 := []said{
		{0, "GET /cookies?x=1&access_token=" + planted + " HTTP/1.1\r\nHost: shop\r\nReferer: http://shop/?pin=" + planted + "\r\nCookie: a=" + planted + "; b=2\r\ncookie: c=" + planted + "\r\nX-API-KEY: " + planted +
			"\r\nProxy-Authorization: Basic " + planted + "\r\n\r\n"},
		{1, "HTTP/1.1 401 No\r\nSet-Cookie: s=" + planted + "\r\nSet-Cookie: t=" + planted + "\r\nAuthentication-Info: nextnonce=" + planted + "\r\nContent-Length: 0\r\n\r\n"},
		{0, "POST /trailers HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nX-Customer-Pin: " + planted + "\r\n\r\n2\r\nok\r\n0\r\nAuthorization: " + planted + "\r\n\r\n"},
		{1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: u=" + planted + "\r\n\r\n"},
		{0, "GET http://user:" + planted + "@shop/absolute HTTP/1.1\r\nHost: user:" + planted + "@shop\r\n\r\n"},
		{1, "HTTP/1.1 204 None\r\n\r\n"},
		{0, "GET /host HTTP/1.1\r\nHost: user:" + planted + "@shop\r\n\r\n"},
		{1, "HTTP/1.1 204 None\r\n\r\n"},
	}
	upgrade := []said{
		{0, "GET /socket HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer " + planted + "\r\nCookie: w=" + planted + "\r\n\r\n"},
		{1, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: v=" + planted + "\r\n\r\n"},
		{1, "\x81\x02hi"},
	}
	cut := []said{{0, "GET /unanswered HTTP/1.1\r\nHost: shop\r\nAuthorization: " + planted}} // not even whole

	client, server := newHTTP2Peer(t, 0), newHTTP2Peer(t, 1)
	client.headers(true, ":method", "GET", ":scheme", "http", ":authority", "user:"+planted+"@shop", ":path", "/two?sig="+planted, "authorization", "Bearer "+planted, "cookie", "a="+planted, "cookie", "b="+planted)
	ask := client.said()
	server.headers(false, ":status", "200", "set-cookie", "s="+planted)
	server.data(false, "ok")
	server.headers(true, "authentication-info", planted)
	two := []said{ask, server.said()}

	client, server = newHTTP2Peer(t, 0), newHTTP2Peer(t, 1)
	client.headers(false, ":method", "POST", ":scheme", "http", ":authority", "shop", ":path", "/shop.Shop/Buy", "content-type", "application/grpc", "te", "trailers",
		"authorization", "Bearer "+planted, "x-customer-pin", planted)
	client.data(true, "\x00\x00\x00\x00\x00")
	ask = client.said()
	server.headers(false, ":status", "200", "content-type", "application/grpc", "x-auth-token", planted)
	server.data(false, "\x00\x00\x00\x00\x00")
	server.headers(true, "grpc-status", "0", "x-session-token", planted)
	grpc := []said{ask, server.said()}
	connections := [][]said{http1, upgrade, cut, two, grpc}
	for _, target := range credentialTargets {
		connections = append(connections, requestHTTP1(target), requestHTTP2(t, target))
	}
	for _, field := range credentialFields {
		connections = append(connections, fieldHTTP1(field), fieldHTTP2(t, field))
	}
	for _, field := range brokenFields {
		connections = append(connections, fieldHTTP2(t, field))
	}
	for _, head := range brokenHeads {
		connections = append(connections, []said{{0, "GET /broken HTTP/1.1\r\n" + head + "\r\n\r\n"}, {1, "HTTP/1.1 200 OK\r" + head + "\r\n" + head + "\r\nContent-Length: 0\r\n\r\n"}})
	}
	return append(connections, promise(t), echo(),
		[]said{{0, "CONNECT user:" + planted + "@shop:443 HTTP/1.1\r\nHost: shop:443\r\n\r\n"}, {1, "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate " + planted + "\r\nContent-Length: 0\r\n\r\n"}},
		[]said{{0, "GET /cut?x=1&token=" + planted}},
		[]said{{0, "GET /cut?x=1&token=" + planted + " HTTP/1.1\r\nHost: user:" + planted + "@shop\r\nX-Token: " + planted}})
}

// credentialTargets are targets with credentials wherever a server may look for them.
var credentialTargets = []string{
	"/t?+token=" + planted, "/t?%74oken=" + planted, "/t?TOKEN[]=" + planted, "/t?a[token]=" + planted, "/t?a;token=" + planted, "/t?accessToken=" + planted + ";b",
	"/t?token=" + planted + "?" + planted, "/t?token=" + planted + ";" + planted, "//user:" + planted + "@shop/t", "/t?next=//user:" + planted + "@shop/",
	"/t?next=https%3A%2F%2Fh%2F%3Ftoken%3D" + planted, "/t?next=https%3A%2F%2Fuser%3A" + planted + "%40h%2F%3Ft", "/t?a=%252F%253Ftoken%253D" + planted,
	"/t;jsessionid=" + planted + "?a=b", "/t?X-Amz-Security-Token=" + planted + "&X-Amz-Signature=" + planted + "&X-Amz-Credential=" + planted + "%2F2030",
	"/t?sv=2022-11-02&sig=" + planted, "/t?x=eyJhbGciOiJub25lIn0." + planted + ".", "/t/eyJhbGciOiJub25lIn0." + planted + ".x/y",
}

// credentialFields are fields, name and value, with credentials.
var credentialFields = [][2]string{
	{"Refresh", "1; url=/?token=" + planted}, {"Link", "</?token=" + planted + ">; rel=next"}, {"Content-Location", "//user:" + planted + "@shop/"},
	{"X-Forwarded-Host", "user:" + planted + "@shop"}, {"X-Shop-Token", planted}, {"X-Shop", "Bearer " + planted}, {"X-Shop", "/t?token=" + planted},
	{"Authorization-Bin", planted}, {"X_Api_Key", planted}, {"Authorization", "Digest username=\"" + planted + "\", response=\"" + planted + "\""},
	{"Proxy-Authorization", "Negotiate " + planted}, {"WWW-Authenticate", "Negotiate " + planted}, {"Sec-WebSocket-Protocol", "access_token, " + planted},
}

// brokenFields have names that no field may have.
var brokenFields = [][2]string{{"cookie\x00", planted}, {"cookie ", planted}, {"x", "y\r\ncookie: " + planted}}

// brokenHeads are lines of HTTP/1 in which some see a credential.
var brokenHeads = []string{
	"Host: shop\r\n Authorization: Basic " + planted, "Host: shop\rCookie: a=" + planted, "Cookie : " + planted, "X: y\r\n\tCookie:" + planted,
	"Authorization:\r\n Basic\r\n " + planted,
}

func requestHTTP1(target string) []said {
	return []said{{0, "GET " + target + " HTTP/1.1\r\nHost: shop\r\n\r\n"}, {1, "HTTP/1.1 302 Found\r\nLocation: " + target + "\r\nContent-Length: 0\r\n\r\n"}}
}

func requestHTTP2(t *testing.T, target string) []said {
	client, server := newHTTP2Peer(t, 0), newHTTP2Peer(t, 1)
	client.headers(true, ":method", "GET", ":scheme", "http", ":authority", "shop", ":path", target, "content-type", "application/grpc")
	server.headers(true, ":status", "302", "location", target)
	return []said{client.said(), server.said()}
}

func fieldHTTP1(field [2]string) []said {
	line := field[0] + ": " + field[1] + "\r\n"
	return []said{
		{0, "POST /field HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n" + line + "\r\n0\r\n" + line + "\r\n"},
		{1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + line + "\r\n0\r\n" + line + "\r\n"},
	}
}

func fieldHTTP2(t *testing.T, field [2]string) []said {
	client, server := newHTTP2Peer(t, 0), newHTTP2Peer(t, 1)
	name := strings.ToLower(field[0])
	client.headers(false, ":method", "POST", ":scheme", "http", ":authority", "shop", ":path", "/field", name, field[1])
	client.headers(true, name, field[1])
	server.headers(false, ":status", "200", name, field[1])
	server.headers(true, name, field[1])
	return []said{client.said(), server.said()}
}

// promise has a server push what it was not asked for.
func promise(t *testing.T) []said {
	client, server := newHTTP2Peer(t, 0), newHTTP2Peer(t, 1)
	client.headers(true, ":method", "GET", ":scheme", "http", ":authority", "shop", ":path", "/pushing")
	server.block.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "user:" + planted + "@shop"}, {":path", "/pushed?token=" + planted}, {"cookie", planted}} {
		if err := server.encode.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: server.block.Bytes(), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	server.headers(true, ":status", "204")
	return []said{client.said(), server.said()}
}

// echo has a server choose the subprotocol that is a token.
func echo() []said {
	const protocol = "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + planted + "\r\n\r\n"
	return []said{
		{0, "GET /echo HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + protocol},
		{1, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" + protocol},
		{1, "\x81\x02hi"},
	}
}

// TestCredentialsNeverLeave: whatever the protocol, and the place in it, the
// values of fields that carry credentials, and user information, are in no format
// of a record.
func TestCredentialsNeverLeave(t *testing.T) {
	capture := writeConnections(t, 20000, credentialConnections(t))
	dir := t.TempDir()
	receiver := &otlptest.Receiver{}
	config := writeFile(t, fmt.Sprintf(`
mask_header: [X-Customer-Pin]
mask_query: [pin]
sinks:
- stdout: {format: json}
- {name: plain, file: {path: %q}}
- {name: packed, file: {path: %q, zstd: true}}
- {policy: block, otlp: {endpoint: %q}}
- {name: nobody, spool_dir: %q, kafka: {brokers: [%q], topic: http}}
`, filepath.Join(dir, "plain"), filepath.Join(dir, "packed"), receiver.ServeGRPC(t), filepath.Join(dir, "spool"), addrtest.Free(t)))
	status, out, problems := runCommandLine(t, "read", "--config", config, "--drain-timeout", "1s", "--ledger", capture)
	if status != ExitDone {
		t.Fatalf("status %d\n%s", status, problems)
	}
	status, asText, moreProblems := runCommandLine(t, "read", "-o", "text", "--mask-header", "X-Customer-Pin", "--mask-query", "pin", "--log-format", "json", capture)
	if status != ExitDone {
		t.Fatalf("status %d\n%s", status, moreProblems)
	}
	for _, path := range []string{"/cookies", "/trailers", "/absolute", "/socket", "/unanswered", "/two", "/shop.Shop/Buy", "/t?next=", "/field", "/broken", "/pushed", "/echo", "/cut"} {
		if !strings.Contains(out, path) || !strings.Contains(asText, path) {
			t.Errorf("%s is not told", path)
		}
	}
	packed, err := os.Open(filepath.Join(dir, "packed"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	decoder, err := zstd.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	unpacked, err := io.ReadAll(decoder)
	if err != nil || len(unpacked) == 0 {
		t.Fatalf("%d bytes, %v", len(unpacked), err)
	}
	spans := fmt.Sprint(receiver.Spans())
	if !strings.Contains(spans, "/two") {
		t.Error("there are no spans")
	}
	for name, text := range map[string]string{"standard output": out, "log": problems + moreProblems, "text": asText, "packed file": string(unpacked), "spans": spans} {
		if i := strings.Index(text, planted); i >= 0 {
			t.Errorf("%s: a credential: …%s", name, text[max(i-300, 0):i+len(planted)])
		}
	}
	searchFiles(t, dir)
}

// FuzzCredentials cuts what is said in other places: cuts are the lengths of segments, one
// after the other, and 0 is one that was not captured.
func FuzzCredentials(f *testing.F) {
	f.Add([]byte{255})
	f.Add([]byte{1})
	f.Add([]byte{7, 1, 30, 200, 2})
	f.Add([]byte{40, 0, 90, 13, 60})
	f.Fuzz(func(t *testing.T, cuts []byte) {
		if len(cuts) == 0 {
			return
		}
		connections, lost, n := credentialConnections(t), make(map[[2]int]bool), 0
		for i, says := range connections {
			var pieces []said
			for _, s := range says {
				for rest := s.what; rest != ""; n++ {
					size := min(max(int(cuts[n%len(cuts)]), 1), len(rest))
					lost[[2]int{i, len(pieces)}] = cuts[n%len(cuts)] == 0
					pieces = append(pieces, said{s.from, rest[:size]})
					rest = rest[size:]
				}
			}
			connections[i] = pieces
		}
		capture := writeCaptured(t, 20000, connections, lost)
		status, out, problems := runCommandLine(t, "read", "-o", "json", "--mask-header", "X-Customer-Pin", "--mask-query", "pin", "--ledger", capture)
		if status != ExitDone {
			t.Fatalf("status %d\n%s", status, problems)
		}
		if i := strings.Index(out+problems, planted); i >= 0 {
			t.Errorf("a credential: …%s", (out + problems)[max(i-600, 0):i+len(planted)])
		}
	})
}
