package pump

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

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
	for _, copied := range []bool{true, false} {
		var all []byte
		var ends []int
		for limit := 0; limit == 0 || limit <= len(all); limit++ {
			conn := &shortConn{left: limit}
			o := outbox{conn: conn}
			all, ends = nil, nil
			for i, m := range messages {
				all = append(all, post(t, &o, m.length, m.stays && !copied, uint32(i+1))...)
				ends = append(ends, len(all))
			}
			var want uint64
			for _, end := range ends {
				if end <= limit {
					want++
				}
			}
			sent, n, err := o.write()
			if sent != want || n != int64(limit) || (err == nil) != (limit == len(all)) || !bytes.Equal(conn.got, all[:limit]) {
				t.Fatalf("copied %t, cut after %d bytes: %d messages, want %d; %d bytes, %v", copied, limit, sent, want, n, err)
			}
			if !o.empty() || o.refers() {
				t.Fatal("not empty after write")
			}
		}
	}
}

// Over TCP a vector is written as it is, one as long as a call takes too, and
// without allocation.
func TestOutboxWritesVectors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
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
	if _, n, err := o.write(); n != int64(len(want)) || err != nil {
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
