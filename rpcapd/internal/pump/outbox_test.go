package pump

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
)

// messages are lengths of frames, and whether the message stays where it is.
var messages = []struct {
	length int
	stays  bool
}{{60, false}, {1400, true}, {1400, true}, {0, false}, {61, false}, {3000, true}, {100, false}}

// post puts a message about a frame of n bytes into o and returns its bytes.
func post(t testing.TB, o *outbox, n int, stays bool, number uint32) []byte {
	t.Helper()
	message := bytes.Repeat([]byte{byte(number)}, rpcap.PacketOverhead+n)
	h := rpcap.PacketHeader{CapLen: uint32(n), Len: uint32(n), Number: number}
	h.Put(message)
	if stays {
		o.refer(message)
		return message
	}
	space := o.space(len(message))
	if space == nil {
		t.Fatal("no space")
	}
	o.add(copy(space, message))
	return message
}

// shortConn takes so many bytes and then fails.
type shortConn struct {
	net.Conn
	left int
	got  []byte
}

var errShort = errors.New("no more")

func (c *shortConn) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.left -= n
	c.got = append(c.got, b[:n]...)
	if n < len(b) {
		return n, errShort
	}
	return n, nil
}

// Wherever a connection breaks, what got through is what is counted.
func TestOutboxCountsWholeMessages(t *testing.T) {
	for limit, length := 0, 1; limit <= length; limit++ {
		conn := &shortConn{left: limit}
		o := outbox{conn: conn}
		all, ends := postAll(t, &o, false)
		length = len(all)
		want := countUpTo(ends, limit)
		sent, n, err := o.write()
		if sent != want || n != int64(limit) || (err == nil) != (limit == length) || !bytes.Equal(conn.got, all[:limit]) {
			t.Fatalf("cut after %d bytes: %d messages, want %d; %d bytes, %v", limit, sent, want, n, err)
		}
		if !o.empty() || o.refers() {
			t.Fatal("not empty after write")
		}
		var mixed outbox
		postAll(t, &mixed, true)
		mixed.list()
		if got := wholeMessages(mixed.pieces, int64(limit)); got != want {
			t.Fatalf("in pieces, cut after %d bytes: %d messages, want %d", limit, got, want)
		}
	}
}

// postAll puts messages into o and returns their bytes and where each ends. If
// mixed is true, those that may stay where they are.
func postAll(t testing.TB, o *outbox, mixed bool) (all []byte, ends []int) {
	for i, m := range messages {
		all = append(all, post(t, o, m.length, m.stays && mixed, uint32(i+1))...)
		ends = append(ends, len(all))
	}
	return all, ends
}

// countUpTo counts the ends that are at most limit.
func countUpTo(ends []int, limit int) (count uint64) {
	for _, end := range ends {
		if end <= limit {
			count++
		}
	}
	return count
}

// A vector that the socket has no room for is written bit by bit; if its time is
// over before, what got through is counted.
func TestOutboxWritesInParts(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		server, client := connected(t, network)
		var o outbox
		o.open(server)
		var all []byte
		var ends []int
		for i := range 1000 { // megabytes: more than the buffers hold
			all = append(all, post(t, &o, 8000+i, true, uint32(i+1))...)
			ends = append(ends, len(all))
		}
		_ = server.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		sent, n, err := o.write()
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n >= int64(len(all)) || sent != countUpTo(ends, int(n)) || sent == 0 {
			t.Fatalf("%s: %d messages, %d of %d bytes, %v", network, sent, n, len(all), err)
		}
		// The rest, while the client reads.
		_ = server.SetWriteDeadline(time.Time{})
		rest := all[n:]
		for _, piece := range [][]byte{rest[:len(rest)/2], rest[len(rest)/2:]} {
			o.refer(piece)
		}
		received := make(chan []byte, 1)
		go func() { // ended by server.Close, or the client's at the end of the test
			got, _ := io.ReadAll(client)
			received <- got
		}()
		if _, m, err := o.write(); m != int64(len(rest)) || err != nil {
			t.Fatalf("%s: %d of %d bytes, %v", network, m, len(rest), err)
		}
		server.Close()
		if got := <-received; !bytes.Equal(got, all) {
			t.Fatalf("%s: other bytes arrived", network)
		}
		postAll(t, &o, true)
		if sent, n, err := o.write(); sent != 0 || n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s, closed: %d messages, %d bytes, %v", network, sent, n, err)
		}
	}
}

// connected returns the ends of a connection, which are closed at the end.
func connected(t testing.TB, network string) (server, client net.Conn) {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}

// Over TCP a vector is written as it is, one as long as a call takes too, and
// without allocation.
func TestOutboxWritesVectors(t *testing.T) {
	server, client := connected(t, "tcp")
	var o outbox
	o.open(server)
	if !o.vectored {
		t.Fatal("the connection takes no vector")
	}
	var want []byte
	for i := uint32(1); !o.full(); i++ {
		m := messages[int(i)%len(messages)]
		want = append(want, post(t, &o, m.length, m.stays, i)...)
	}
	received := make(chan []byte, 1)
	go func() { // ended by server.Close
		var got bytes.Buffer
		_, _ = io.CopyN(&got, client, int64(len(want)))
		received <- got.Bytes()
		_, _ = io.Copy(io.Discard, client)
		close(received)
	}()
	_, n, err := o.write()
	if n != int64(len(want)) || err != nil {
		t.Fatalf("%d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(<-received, want) {
		t.Error("other bytes arrived")
	}
	message := want[:rpcap.PacketOverhead+messages[1].length]
	if allocs := testing.AllocsPerRun(50, func() {
		o.refer(message)
		o.refer(message)
		_, _, err = o.write()
	}); allocs > 0 || err != nil {
		t.Errorf("%v allocations, %v", allocs, err)
	}
	server.Close()
	<-received
}

// The short way of the most frequent frames leads to the same bytes.
func TestCopyWholeIsDeliver(t *testing.T) {
	const snapLen = 400
	everything := &program{judged: sockfilter.Judged{Untagged: true, Tagged: true}}
	short, long := New(Input{}, Config{SnapLen: snapLen}), New(Input{}, Config{SnapLen: snapLen})
	for n := range 500 {
		f := afpacket.Frame{Timestamp: 1_700_000_000_123_456_789 + int64(n)*1e6, Data: bytes.Repeat([]byte{byte(n)}, n), Len: n + n%3}
		if !short.asIs(everything) || short.copyWhole(&f) != (n <= snapLen) {
			t.Fatalf("%d bytes: not as expected", n)
		}
		if n <= snapLen {
			long.deliver(&f, everything)
		}
	}
	if !bytes.Equal(short.out.buf[:short.out.fill], long.out.buf[:long.out.fill]) || short.out.queued != long.out.queued || short.out.queued != snapLen+1 {
		t.Errorf("%d messages of %d bytes, %d of %d", short.out.queued, short.out.fill, long.out.queued, long.out.fill)
	}
}
