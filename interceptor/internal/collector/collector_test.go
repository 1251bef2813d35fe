package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/delivery"
	"capstan/pkg/addrtest"
	"capstan/pkg/leaktest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// store keeps what it is given.
type store struct {
	mu      sync.Mutex
	records []string
	err     error
	reject  int
	gate    chan struct{} // if not nil, each call waits for it
}

func (s *store) put(ctx context.Context, node string, records [][]byte) (int, error) {
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	for _, r := range records {
		s.records = append(s.records, node+" "+string(r))
	}
	return s.reject, nil
}

func (s *store) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.records, "\n")
}

// serve serves a Server on address ("127.0.0.1:0": any port) until stop.
func serve(t *testing.T, s *Server, address string) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(MaxMessage))
	capstanv1.RegisterCollectorServer(g, s)
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		_ = g.Serve(l)
	}()
	stop = sync.OnceFunc(func() { g.Stop(); <-done })
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func newSink(t *testing.T, address, node string) *Sink {
	t.Helper()
	s, err := NewSink(SinkConfig{Address: address, Node: node, Agent: "test/1", Credentials: insecure.NewCredentials(), Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func batch(texts ...string) (b []*delivery.Record) {
	for _, text := range texts {
		b = append(b, &delivery.Record{Raw: []byte(text)})
	}
	return b
}

func TestDeliverAndStatus(t *testing.T) {
	st := new(store)
	server := NewServer(st.put, Limits{})
	now := time.Unix(1000, 0)
	server.now = func() time.Time { return now }
	address, _ := serve(t, server, "127.0.0.1:0")
	sink := newSink(t, address, "node-1")
	for i := range 3 {
		if err := sink.Deliver(t.Context(), batch(fmt.Sprint("a", i), fmt.Sprint("b", i))); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := st.all(), "node-1 a0\nnode-1 b0\nnode-1 a1\nnode-1 b1\nnode-1 a2\nnode-1 b2"; got != want {
		t.Errorf("stored\n%s", got)
	}
	raw, err := proto.Marshal(&capstanv1.Exchange{StartTimeUnixNs: 997e9, DurationNs: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Deliver(t.Context(), batch(string(raw))); err != nil {
		t.Fatal(err)
	}
	nodes := server.Nodes()
	if len(nodes) != 1 {
		t.Fatal(nodes)
	}
	n := nodes[0]
	if n.Name != "node-1" || n.Agent != "test/1" || n.Streams != 1 || n.Batches != 4 || n.Records != 7 || n.Lag != 2*time.Second {
		t.Errorf("%+v", n)
	}
	sink.Close()
	for server.Nodes()[0].Streams != 0 {
		time.Sleep(time.Millisecond)
	}
}

// A server that goes away costs an error, and the sink finds it again.
func TestServerComesBack(t *testing.T) {
	first, second := new(store), new(store)
	address, stop := serve(t, NewServer(first.put, Limits{}), addrtest.Free(t).String())
	sink := newSink(t, address, "n")
	if err := sink.Deliver(t.Context(), batch("1")); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := sink.Deliver(t.Context(), batch("2")); err == nil {
		t.Fatal("delivered to nobody")
	}
	serve(t, NewServer(second.put, Limits{}), address)
	for {
		err := sink.Deliver(t.Context(), batch("2"))
		if err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := second.all(); got != "n 2" {
		t.Errorf("%q", got)
	}
}

// What isn't stored isn't acknowledged.
func TestStoreFails(t *testing.T) {
	st := &store{err: errors.New("disk full")}
	address, _ := serve(t, NewServer(st.put, Limits{}), "127.0.0.1:0")
	sink := newSink(t, address, "n")
	if err := sink.Deliver(t.Context(), batch("1")); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("%v", err)
	}
	st.mu.Lock()
	st.err, st.reject = nil, 1
	st.mu.Unlock()
	var reject *delivery.RejectError
	if err := sink.Deliver(t.Context(), batch("1", "2")); !errors.As(err, &reject) || reject.Rejected != 1 {
		t.Errorf("%v", err)
	}
}

// A delivery that waits ends with its context, and the next one works.
func TestBackPressure(t *testing.T) {
	st := &store{gate: make(chan struct{})}
	address, _ := serve(t, NewServer(st.put, Limits{}), "127.0.0.1:0")
	sink := newSink(t, address, "n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := sink.Deliver(ctx, batch("1")); err == nil {
		t.Fatal("acknowledged before it was stored")
	}
	close(st.gate)
	if err := sink.Deliver(t.Context(), batch("1")); err != nil {
		t.Fatal(err)
	}
}

// What a sender may not do is refused by name.
func TestProtocol(t *testing.T) {
	address, _ := serve(t, NewServer(new(store).put, Limits{Nodes: 2, Stream: 2}), "127.0.0.1:0")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hello := func(node string) *capstanv1.DeliverRequest {
		return &capstanv1.DeliverRequest{Message: &capstanv1.DeliverRequest_Hello{Hello: &capstanv1.Hello{Node: node}}}
	}
	numbered := func(n uint64) *capstanv1.DeliverRequest {
		return &capstanv1.DeliverRequest{Message: &capstanv1.DeliverRequest_Batch{Batch: &capstanv1.Batch{Sequence: n}}}
	}
	for _, tt := range []struct {
		name string
		send []*capstanv1.DeliverRequest
		want string
	}{
		{"no hello", []*capstanv1.DeliverRequest{numbered(1)}, "hello"},
		{"nothing", []*capstanv1.DeliverRequest{{}}, "hello"},
		{"no name", []*capstanv1.DeliverRequest{hello("")}, "node of 1 to 253 bytes"},
		{"long name", []*capstanv1.DeliverRequest{hello(strings.Repeat("x", 300))}, "node of 1 to 253 bytes"},
		{"hole", []*capstanv1.DeliverRequest{hello("n"), numbered(2)}, "batch 1 was to come, not 2"},
		{"two hellos", []*capstanv1.DeliverRequest{hello("n"), hello("n")}, "batch 1 was to come"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := capstanv1.NewCollectorClient(conn).Deliver(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tt.send {
			if err := stream.Send(m); err != nil {
				break
			}
		}
		if _, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		cancel()
	}
}

// Streams without a hello count as others do, and don't stay.
func TestSilentStreamsEnd(t *testing.T) {
	server := NewServer(new(store).put, Limits{Nodes: 2, Stream: 2})
	server.helloTimeout = 50 * time.Millisecond
	address, _ := serve(t, server, "127.0.0.1:0")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said := make(map[string]int)
	var streams []grpc.BidiStreamingClient[capstanv1.DeliverRequest, capstanv1.DeliverResponse]
	for range 5 {
		stream, err := capstanv1.NewCollectorClient(conn).Deliver(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	for _, stream := range streams {
		_, err := stream.Recv()
		said[status.Convert(err).Message()]++
	}
	if said["no hello within 50ms"] < 2 || said["2 streams are open already"]+said["no hello within 50ms"] != 5 {
		t.Errorf("%v", said)
	}
	if err := newSink(t, address, "n").Deliver(t.Context(), batch("1")); err != nil {
		t.Errorf("the places are not free again: %v", err)
	}
}

// Nodes that are gone make room for new ones; those connected don't.
func TestNodesAreBounded(t *testing.T) {
	server := NewServer(new(store).put, Limits{Nodes: 2, Stream: 10})
	address, _ := serve(t, server, "127.0.0.1:0")
	a, b, c := newSink(t, address, "a"), newSink(t, address, "b"), newSink(t, address, "c")
	for _, s := range []*Sink{a, b} {
		if err := s.Deliver(t.Context(), batch("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Deliver(t.Context(), batch("x")); err == nil || !strings.Contains(err.Error(), "2 nodes are connected already") {
		t.Errorf("%v", err)
	}
	a.Close()
	for {
		if err := c.Deliver(t.Context(), batch("x")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := len(server.Nodes()); n != 2 {
		t.Errorf("%d nodes", n)
	}
}

// A delivery ends with its context also while the server is being connected to.
func TestDeliverEndsWhileConnecting(t *testing.T) {
	dialing, end := make(chan struct{}, 1), make(chan struct{})
	defer close(end)
	sink, err := NewSink(SinkConfig{
		Address: "192.0.2.1:4417", Node: "n", Credentials: insecure.NewCredentials(),
		Dial: func(context.Context, string) (net.Conn, error) {
			dialing <- struct{}{}
			<-end
			return nil, errors.New("nobody there")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Deliver(ctx, batch("1")) }() // ended by cancel
	<-dialing
	cancel()
	if err := <-done; err == nil {
		t.Error("delivered to nobody")
	}
	closed := make(chan struct{})
	go func() { defer close(closed); sink.Close() }() // ended by end, at the latest
	end <- struct{}{}
	<-closed
}

// A server that is gone without a word is found out: by pings, and where there
// is no proxy by the kernel, which is told the same limit.
func TestDeadServerIsGivenUp(t *testing.T) {
	address, _ := serve(t, NewServer(new(store).put, Limits{}), "127.0.0.1:0")
	conns := make(chan *net.TCPConn, 1)
	sink, err := NewSink(SinkConfig{
		Address: address, Node: "n", Credentials: insecure.NewCredentials(),
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dial(ctx, address)
			if err == nil {
				conns <- conn.(*net.TCPConn)
			}
			return conn, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if err := sink.Deliver(t.Context(), batch("1")); err != nil {
		t.Fatal(err)
	}
	raw, err := (<-conns).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var limit int
	if cerr := raw.Control(func(fd uintptr) { limit, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if want := int(pingTimeout.Milliseconds()); limit != want {
		t.Errorf("the kernel's limit is %d ms, want %d", limit, want)
	}
}

// A batch that is longer than a message is sent in several, and a record that
// is, is rejected: sent again and again it would hold up all that follow.
func TestLongRecords(t *testing.T) {
	long := make([]byte, MaxMessage)
	st := new(store)
	address, _ := serve(t, NewServer(st.put, Limits{}), "127.0.0.1:0")
	sink := newSink(t, address, "n")
	var reject *delivery.RejectError
	err := sink.Deliver(t.Context(), []*delivery.Record{{Raw: []byte("a")}, {Raw: long}, {Raw: []byte("b")}})
	if !errors.As(err, &reject) || reject.Rejected != 1 || !strings.Contains(err.Error(), "longer than a message may be") {
		t.Errorf("%v", err)
	}
	if got := st.all(); got != "n a\nn b" {
		t.Errorf("stored %q", got)
	}
	if err := sink.Deliver(t.Context(), []*delivery.Record{{Raw: long}}); !errors.As(err, &reject) || reject.Rejected != 1 {
		t.Errorf("%v", err)
	}

	half := &delivery.Record{Raw: long[:MaxMessage/2]}
	tooLong := &delivery.Record{Raw: long}
	longest := &delivery.Record{Raw: long[:recordsLen-recordOverhead]}
	for _, tt := range []struct {
		batch                []*delivery.Record
		sent, taken, tooLong int
	}{
		{[]*delivery.Record{half, half}, 1, 1, 0},
		{[]*delivery.Record{half, tooLong, {}, half}, 2, 3, 1},
		{[]*delivery.Record{longest, {}}, 1, 1, 0},
		{[]*delivery.Record{tooLong, tooLong}, 0, 2, 2},
	} {
		exchanges, taken, tooLong := pack(tt.batch)
		if len(exchanges) != tt.sent || taken != tt.taken || tooLong != tt.tooLong {
			t.Errorf("%d sent, %d taken, %d too long, want %d, %d, %d", len(exchanges), taken, tooLong, tt.sent, tt.taken, tt.tooLong)
		}
		m := &capstanv1.DeliverRequest{Message: &capstanv1.DeliverRequest_Batch{Batch: &capstanv1.Batch{Sequence: 1<<64 - 1, Exchanges: exchanges}}}
		if n := proto.Size(m); n > MaxMessage {
			t.Errorf("a message of %d bytes", n)
		}
	}
}
