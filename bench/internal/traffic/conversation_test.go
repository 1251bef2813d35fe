package traffic

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"

	"capstan/pkg/capture"
	"capstan/pkg/flow"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// conversation is what a reassembler made of one connection.
type conversation struct {
	bytes  [2]bytes.Buffer // by side
	conn   *reassembly.Conn
	gaps   int
	ends   int
	reason reassembly.CloseReason
	closed bool
}

func (c *conversation) Data(d flow.Direction, chunk reassembly.Chunk) {
	s := server
	if d == c.conn.Client {
		s = client
	}
	c.bytes[s].Write(chunk.Bytes)
}

func (c *conversation) Gap(flow.Direction, reassembly.Gap) { c.gaps++ }
func (c *conversation) End(flow.Direction, int64)          { c.ends++ }
func (c *conversation) Close(_ int64, r reassembly.CloseReason) {
	c.reason, c.closed = r, true
}

// converse makes all the frames of a plan and reassembles them.
func converse(t *testing.T, p Plan) ([]*conversation, Counts) {
	t.Helper()
	g := newGenerator(t, p)
	var conversations []*conversation
	a := reassembly.New(reassembly.Config{}, func(conn *reassembly.Conn, _ flow.Direction, _ []byte) reassembly.Handler {
		c := &conversation{conn: conn}
		conversations = append(conversations, c)
		return c
	})
	var f Frame
	var bytes uint64
	frames := uint64(0)
	for ; g.Next(&f); frames++ {
		var s packet.Segment
		frame := capture.Frame{Data: f.Data, Len: len(f.Data), LinkType: capture.LinkTypeEthernet}
		if outcome := new(packet.Decoder).Decode(&frame, &s); outcome != packet.OutcomeTCP {
			t.Fatalf("frame %d: %v", frames, outcome)
		}
		if want := reserialized(t, f.Data); string(want) != string(f.Data) {
			t.Fatalf("frame %d:\n%x\ngopacket writes\n%x", frames, f.Data, want)
		}
		a.Segment(&s, int64(frames)*1000)
		bytes += uint64(len(f.Data))
	}
	a.CloseAll(int64(frames)*1000, reassembly.CloseEndOfCapture)
	c := g.Counts()
	if c.Frames != frames || c.Bytes != bytes || c.Connections != uint64(len(conversations)) {
		t.Errorf("%+v, but made %d frames, %d bytes, %d connections", c, frames, bytes, len(conversations))
	}
	for i, v := range conversations {
		if v.gaps != 0 || v.ends != 2 || !v.closed || v.reason != reassembly.CloseFIN || !v.conn.ClientKnown || v.conn.Midstream {
			t.Errorf("connection %d: %d gaps, %d ends, closed %v by %v, %+v", i, v.gaps, v.ends, v.closed, v.reason, v.conn)
		}
	}
	return conversations, c
}

func TestHTTP1ConversationsAreWhatNetHTTPReads(t *testing.T) {
	for _, p := range []Plan{
		{Connections: 1, Exchanges: 1},
		{Connections: 30, Flows: 7, Exchanges: 9, RequestLen: 333, ResponseLen: 10_000, Seed: 4},
		{Connections: 3, Flows: 10, ResponseLen: 5000, IPv6: true, VLAN: []uint16{5}, Size: Fixed(300)},
		{Connections: 2, Flows: 2, ResponseLen: 200_000, Size: Fixed(maxFrameLen)},
	} {
		p.Kind = HTTP1
		t.Run(p.name(), func(t *testing.T) {
			conversations, counts := converse(t, p)
			exchanges := 0
			for _, c := range conversations {
				exchanges += readHTTP1(t, c, p)
			}
			want := int(p.Connections) * max(p.Exchanges, 0)
			if p.Exchanges == 0 {
				want = int(p.Connections) * 10
			}
			if exchanges != want || counts.Exchanges != uint64(want) {
				t.Errorf("read %d exchanges, counted %d, want %d", exchanges, counts.Exchanges, want)
			}
		})
	}
}

func readHTTP1(t *testing.T, c *conversation, p Plan) (exchanges int) {
	t.Helper()
	requests, responses := bufio.NewReader(&c.bytes[client]), bufio.NewReader(&c.bytes[server])
	for {
		req, err := http.ReadRequest(requests)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, req.Body)
		if err != nil || int(n) != p.RequestLen {
			t.Fatalf("request body of %d bytes, %v", n, err)
		}
		resp, err := http.ReadResponse(responses, req)
		if err != nil {
			t.Fatal(err)
		}
		n, err = io.Copy(io.Discard, resp.Body)
		if err != nil || int(n) != p.ResponseLen {
			t.Fatalf("response body of %d bytes, %v", n, err)
		}
		exchanges++
	}
	if n := responses.Buffered() + c.bytes[server].Len(); n != 0 {
		t.Errorf("%d bytes after the last response", n)
	}
	return exchanges
}

// TestHTTP2RequestsAreWhatNetHTTPServes feeds the clients' bytes to the
// standard library's server.
func TestHTTP2RequestsAreWhatNetHTTPServes(t *testing.T) {
	for _, p := range []Plan{
		{Kind: HTTP2, Connections: 5, Flows: 3, Exchanges: 11, Seed: 1},
		{Kind: HTTP2, Connections: 2, Exchanges: 5, RequestLen: 70_000, ResponseLen: 70_000, Streams: 3},
		{Kind: GRPC, Connections: 3, Flows: 3, Exchanges: 7, RequestLen: 130, ResponseLen: 20_000, IPv6: true},
		{Kind: GRPC, Connections: 1},
	} {
		t.Run(fmt.Sprintf("%s/%d", p.name(), p.RequestLen), func(t *testing.T) {
			t.Parallel()
			conversations, counts := converse(t, p)
			want := uint64(len(conversations) * newGenerator(t, p).Plan().Exchanges)
			var served, wrong atomic.Int64
			length := p.RequestLen
			if p.Kind == GRPC {
				length += 5
			}
			handler := func(w http.ResponseWriter, r *http.Request) {
				if n, err := io.Copy(io.Discard, r.Body); err != nil || int(n) != length || r.ProtoMajor != 2 {
					wrong.Add(1)
				}
				served.Add(1)
			}
			said := make([][]byte, len(conversations))
			for i, c := range conversations {
				said[i] = c.bytes[client].Bytes()
			}
			serveHTTP2(t, said, handler)
			if uint64(served.Load()) != want || wrong.Load() != 0 || counts.Exchanges != want {
				t.Errorf("served %d, %d of them wrong, counted %d, want %d", served.Load(), wrong.Load(), counts.Exchanges, want)
			}
		})
	}
}

// serveHTTP2 lets net/http serve what clients said, until they have said all.
func serveHTTP2(t *testing.T, said [][]byte, handler http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }() // ends with Close
	defer func() {
		_ = s.Close()
		<-done
	}()
	var group errgroup.Group // one client each; the server takes a second to hang up
	for _, b := range said {
		group.Go(func() error { return say(l.Addr().String(), b) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// say says all to a server and waits until that closes the connection, which it
// does after the client's GOAWAY, when the last stream is done.
func say(address string, b []byte) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(b); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

func TestConversationsAreFinishedAtTheEnd(t *testing.T) {
	for name, p := range map[string]Plan{
		"finish": {Kind: HTTP1, Flows: 8, ResponseLen: 3000},
		"count":  {Kind: HTTP1, Flows: 8, ResponseLen: 3000, Count: 1000},
	} {
		g := newGenerator(t, p)
		var f Frame
		made := 0
		for g.Next(&f) {
			if made++; made == 1000 && p.Count == 0 {
				g.Finish()
			}
			if made > 10_000 {
				t.Fatalf("%s: no end", name)
			}
		}
		c := g.Counts()
		if made < 1000 || c.Connections == 0 || c.Exchanges != 10*c.Connections {
			t.Errorf("%s: %d frames, %+v", name, made, c)
		}
	}
}

func TestProtobufOfEveryLength(t *testing.T) {
	r := random(1)
	for _, n := range []int{0, 2, 3, 4, 100, 128, 129, 130, 131, 132, 16384, 16385, 16386, 16387, 16388, 16389, 2097157, 2097158} {
		if got := len(grpcMessage(&r, n)) - 5; got != n {
			t.Errorf("message of %d bytes, want %d", got, n)
		}
	}
	for n := 2; n < 300; n++ {
		b := grpcMessage(&r, n)[5:]
		for len(b) > 0 {
			_, _, used := protowire.ConsumeField(b)
			if used < 0 {
				t.Fatalf("message of %d bytes: %v", n, protowire.ParseError(used))
			}
			b = b[used:]
		}
	}
}
