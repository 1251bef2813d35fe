package collector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capstanv1 "capstan/proto/capstan/v1"
)

// Store makes the records of a batch safe. It returns when a crash doesn't lose
// them. It may keep the slices. It waits while there is no room, until ctx ends:
// that is the back-pressure. rejected are those that it never takes. Several
// goroutines may call it.
type Store func(ctx context.Context, node string, records [][]byte) (rejected int, err error)

// Limits of a [Server].
type Limits struct {
	Nodes  int // that are remembered and may be connected; 0 = 2,000
	Stream int // streams at a time; 0 = 2 for each node
	// Memory is how many bytes messages may have together, from their arrival
	// until they are stored; 0 = [DefaultMemory]. Decoding takes as much again,
	// for a moment.
	Memory int64
}

// DefaultMemory is four of the longest messages.
const DefaultMemory = 4 * MaxMessage

// Server serves Collector over HTTP/2, as an [http.Handler].
type Server struct {
	store  Store
	limits Limits
	now    func() time.Time
	// helloTimeout is how long a sender may take to introduce itself.
	helloTimeout time.Duration
	intake       intake
	readers      sync.Pool // of *gzip.Reader

	mu      sync.Mutex
	nodes   map[string]*Node // guarded by mu
	count   int              // streams now, those without a hello too; guarded by mu
	stopped bool             // guarded by mu
	calls   sync.WaitGroup   // count of them; added to by who holds mu
}

// Node is what is known of one sender.
type Node struct {
	Name     string    `json:"node"`
	Agent    string    `json:"agent"`
	Peer     string    `json:"peer"`
	Streams  int       `json:"streams"` // now
	Since    time.Time `json:"since"`   // of the latest connection
	Batches  uint64    `json:"batches"`
	Records  uint64    `json:"records"`
	Bytes    uint64    `json:"bytes"`
	Rejected uint64    `json:"rejected"`
	// LastArrival is when the latest batch came, LastRecord the end of its
	// last exchange, and Lag the time between.
	LastArrival time.Time     `json:"lastArrival,omitzero"`
	LastRecord  time.Time     `json:"lastRecord,omitzero"`
	Lag         time.Duration `json:"lagNs"`
}

// NewServer returns a server that stores by store.
func NewServer(store Store, l Limits) *Server {
	if l.Nodes <= 0 {
		l.Nodes = 2000
	}
	if l.Stream <= 0 {
		l.Stream = 2 * l.Nodes
	}
	if l.Memory <= 0 {
		l.Memory = DefaultMemory
	}
	return &Server{
		store: store, limits: l, now: time.Now, helloTimeout: defaultHelloTimeout, nodes: make(map[string]*Node), intake: intake{limit: l.Memory},
	}
}

const defaultHelloTimeout = 20 * time.Second

// maxName bounds what a sender says of itself, maxHello the message in which it
// does: what anybody may send.
const (
	maxName  = 253
	maxHello = 4 << 10
)

// ServeHTTP implements http.Handler: it serves Deliver to clients of gRPC.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 || r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		http.Error(w, "here is capstan.v1.Collector, for gRPC", http.StatusUnsupportedMediaType)
		return
	}
	c := s.newCall(w, r)
	if r.URL.Path != capstanv1.Collector_Deliver_FullMethodName {
		c.end(status.Errorf(codes.Unimplemented, "no method %.100q", r.URL.Path))
		return
	}
	c.end(s.deliver(r.Context(), c, r.RemoteAddr))
}

// HTTP returns a server for s, over TLS if cfg isn't nil. log is told of
// handshakes that fail.
func (s *Server) HTTP(cfg *tls.Config, log *log.Logger) *http.Server {
	h := &http.Server{
		Handler: s, TLSConfig: cfg, ErrorLog: log, Protocols: new(http.Protocols),
		ReadHeaderTimeout: 20 * time.Second, // of the handshake, too
		// A connection without a stream is nobody's: senders keep theirs.
		IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 16, // of one connection; senders have one
			// What may come before anybody reads it.
			MaxReceiveBufferPerConnection: window, MaxReceiveBufferPerStream: window,
			SendPingTimeout: time.Minute, PingTimeout: 20 * time.Second,
		},
	}
	h.Protocols.SetHTTP2(cfg != nil)
	h.Protocols.SetUnencryptedHTTP2(cfg == nil)
	return h
}

// window holds what is on its way in networks, compressed.
const window = 256 << 10

// deliver stores what comes until an error: io.EOF after the last batch.
func (s *Server) deliver(ctx context.Context, c *call, peer string) error {
	if err := s.open(); err != nil {
		return err
	}
	defer s.close()
	hello, err := s.receiveHello(c)
	if err != nil {
		return err
	}
	node, err := s.enter(peer, hello)
	if err != nil {
		return err
	}
	defer s.leave(node)
	c.share.of = &s.intake
	for last := uint64(0); ; {
		m, err := c.receive(MaxMessage, time.Time{})
		if err != nil {
			return err
		}
		batch := m.GetBatch()
		if batch == nil || batch.GetSequence() != last+1 {
			return status.Errorf(codes.InvalidArgument, "batch %d was to come, not %d", last+1, batch.GetSequence())
		}
		last++
		rejected, err := s.store(ctx, hello.GetNode(), batch.GetExchanges())
		c.done()
		if err != nil {
			return storeError(err)
		}
		s.arrived(node, batch, rejected)
		if err := c.send(&capstanv1.DeliverResponse{Acknowledged: last, Rejected: uint64(rejected)}); err != nil {
			return err
		}
	}
}

// open counts a stream, before anything is known of its sender: it has a place
// in memory already.
func (s *Server) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return status.Error(codes.Unavailable, "the server ends")
	case s.count >= s.limits.Stream:
		return status.Errorf(codes.ResourceExhausted, "%d streams are open already", s.count)
	}
	s.count++
	s.calls.Add(1)
	return nil
}

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	s.calls.Done()
}

// Stop takes no more streams, and waits for those that there are: whoever serves
// HTTP has to close their connections.
func (s *Server) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.calls.Wait()
}

// Intake is what messages take that are being received, or stored.
type Intake struct {
	Bytes, Limit int64
	Denied       uint64 // messages for which there was no room: their senders come again
}

// Intake returns what messages take now.
func (s *Server) Intake() Intake {
	return Intake{Bytes: s.intake.held.Load(), Limit: s.intake.limit, Denied: s.intake.denied.Load()}
}

// receiveHello waits for a sender's introduction, for a while: a stream without
// takes another's place.
func (s *Server) receiveHello(c *call) (*capstanv1.Hello, error) {
	first, err := c.receive(maxHello, time.Now().Add(s.helloTimeout))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, status.Errorf(codes.DeadlineExceeded, "no hello within %v", s.helloTimeout)
	}
	if err != nil {
		return nil, err
	}
	hello := first.GetHello()
	if hello == nil || hello.GetNode() == "" || len(hello.GetNode()) > maxName || len(hello.GetAgent()) > maxName {
		return nil, status.Errorf(codes.InvalidArgument, "the first message has to be a hello with a node of 1 to %d bytes", maxName)
	}
	return hello, nil
}

func storeError(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unavailable, fmt.Sprintf("the records can't be stored: %v", err))
}

// enter notes a stream of a node.
func (s *Server) enter(peer string, hello *capstanv1.Hello) (*Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[hello.GetNode()]
	switch {
	case n == nil && len(s.nodes) >= s.limits.Nodes && !s.forget():
		return nil, status.Errorf(codes.ResourceExhausted, "%d nodes are connected already", len(s.nodes))
	case n == nil:
		n = &Node{Name: hello.GetNode()}
		s.nodes[n.Name] = n
	}
	n.Agent, n.Since, n.Peer = hello.GetAgent(), s.now(), peer
	n.Streams++
	return n, nil
}

// forget forgets the node that has been gone longest, if any is. mu is held.
func (s *Server) forget() bool {
	var oldest *Node
	for _, n := range s.nodes {
		if n.Streams == 0 && (oldest == nil || n.LastArrival.Before(oldest.LastArrival)) {
			oldest = n
		}
	}
	if oldest != nil {
		delete(s.nodes, oldest.Name)
	}
	return oldest != nil
}

func (s *Server) leave(n *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Streams--
}

// arrived counts a batch that is stored.
func (s *Server) arrived(n *Node, b *capstanv1.Batch, rejected int) {
	var last time.Time
	if r := b.GetExchanges(); len(r) > 0 {
		last = endOf(r[len(r)-1])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Batches++
	n.Rejected += uint64(rejected)
	n.LastArrival = s.now()
	for _, r := range b.GetExchanges() {
		n.Records++
		n.Bytes += uint64(len(r))
	}
	if !last.IsZero() {
		n.LastRecord, n.Lag = last, n.LastArrival.Sub(last)
	}
}

// endOf is when the exchange ended; zero if raw is none.
func endOf(raw []byte) time.Time {
	x := new(capstanv1.Exchange)
	if proto.Unmarshal(raw, x) != nil || x.GetStartTimeUnixNs() == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(x.GetStartTimeUnixNs())+x.GetDurationNs())
}

// Nodes returns what is known of the senders, in no order.
func (s *Server) Nodes() []Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Node, 0, len(s.nodes))
	for _, n := range s.nodes {
		all = append(all, *n)
	}
	return all
}
