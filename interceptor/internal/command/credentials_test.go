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
	return [][]said{http1, upgrade, cut, two, grpc}
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
	for _, path := range []string{"/cookies", "/trailers", "/absolute", "/socket", "/unanswered", "/two", "/shop.Shop/Buy"} {
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
