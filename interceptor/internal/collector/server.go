package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
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
}

// Server serves Collector.
type Server struct {
	capstanv1.UnimplementedCollectorServer
	store  Store
	limits Limits
	now    func() time.Time
	// helloTimeout is how long a sender may take to introduce itself.
	helloTimeout time.Duration

	mu    sync.Mutex
	nodes map[string]*Node // guarded by mu
	count int              // streams now, those without a hello too; guarded by mu
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
	return &Server{store: store, limits: l, now: time.Now, helloTimeout: defaultHelloTimeout, nodes: make(map[string]*Node)}
}

const defaultHelloTimeout = 20 * time.Second

// maxName bounds what a sender says of itself.
const maxName = 253

// Deliver implements the service.
func (s *Server) Deliver(stream grpc.BidiStreamingServer[capstanv1.DeliverRequest, capstanv1.DeliverResponse]) error {
	if err := s.open(); err != nil {
		return err
	}
	defer s.close()
	hello, err := s.receiveHello(stream)
	if err != nil {
		return err
	}
	node, err := s.enter(stream.Context(), hello)
	if err != nil {
		return err
	}
	defer s.leave(node)
	for last := uint64(0); ; {
		m, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		batch := m.GetBatch()
		if batch == nil || batch.GetSequence() != last+1 {
			return status.Errorf(codes.InvalidArgument, "batch %d was to come, not %d", last+1, batch.GetSequence())
		}
		last++
		rejected, err := s.store(stream.Context(), hello.GetNode(), batch.GetExchanges())
		if err != nil {
			return storeError(err)
		}
		s.arrived(node, batch, rejected)
		if err := stream.Send(&capstanv1.DeliverResponse{Acknowledged: last, Rejected: uint64(rejected)}); err != nil {
			return err
		}
	}
}

// open counts a stream, before anything is known of its sender: it has a place
// in memory already.
func (s *Server) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= s.limits.Stream {
		return status.Errorf(codes.ResourceExhausted, "%d streams are open already", s.count)
	}
	s.count++
	return nil
}

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
}

// receiveHello waits for a sender's introduction, for a while: a stream without
// takes another's place.
func (s *Server) receiveHello(stream grpc.BidiStreamingServer[capstanv1.DeliverRequest, capstanv1.DeliverResponse]) (*capstanv1.Hello, error) {
	var first *capstanv1.DeliverRequest
	var err error
	came := make(chan struct{})
	go func() { // ended by the first message, or with the stream
		defer close(came)
		first, err = stream.Recv()
	}()
	timer := time.NewTimer(s.helloTimeout)
	defer timer.Stop()
	select {
	case <-came:
	case <-timer.C:
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
func (s *Server) enter(ctx context.Context, hello *capstanv1.Hello) (*Node, error) {
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
	n.Agent, n.Since = hello.GetAgent(), s.now()
	if p, ok := peer.FromContext(ctx); ok {
		n.Peer = p.Addr.String()
	}
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
