package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/grpcgzip"
	capstanv1 "capstan/proto/capstan/v1"
)

// MaxMessage bounds a batch on the wire, in bytes before compression.
const MaxMessage = 64 << 20

// A server that has been silent for pingAfter is asked whether it is there, and
// given up after pingTimeout.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 20 * time.Second
)

// SinkConfig of a [Sink].
type SinkConfig struct {
	Address string // HOST:PORT of the server
	Node    string // see Hello
	Agent   string
	// Credentials secure the connection; insecure.NewCredentials() doesn't.
	Credentials credentials.TransportCredentials
	// PerRPC, if not nil, adds a token.
	PerRPC credentials.PerRPCCredentials
	// Dial makes the connection; it alone decides about proxies.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// NoCompression sends batches as they are; otherwise with gzip.
	NoCompression bool
}

// Sink sends records to a Collector. It implements delivery.Sink: a batch is
// delivered when the server has acknowledged it.
type Sink struct {
	cfg  SinkConfig
	conn *grpc.ClientConn

	// Of the stream under way; owned by the goroutine that delivers.
	stream   grpc.BidiStreamingClient[capstanv1.DeliverRequest, capstanv1.DeliverResponse]
	cancel   context.CancelFunc
	sequence uint64
	rejected uint64 // that the server has told on the stream
}

// NewSink returns a sink. It connects with the first batch.
func NewSink(c SinkConfig) (*Sink, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(c.Credentials),
		grpc.WithContextDialer(c.Dial),
		grpc.WithNoProxy(), // or gRPC would look for one, too
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(MaxMessage)),
		// Pauses between attempts are the queue's.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100e6, Multiplier: 1.2, MaxDelay: 1e9}, MinConnectTimeout: 30e9}),
		// A server that is gone without a word, behind a proxy perhaps, must not
		// be waited for: nothing limits the wait for an acknowledgement.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithUserAgent(c.Agent),
	}
	if c.PerRPC != nil {
		options = append(options, grpc.WithPerRPCCredentials(c.PerRPC))
	}
	// passthrough: names are resolved by whoever connects, the proxy perhaps.
	conn, err := grpc.NewClient("passthrough:///"+c.Address, options...)
	if err != nil {
		return nil, fmt.Errorf("collector %s: %w", c.Address, err)
	}
	return &Sink{cfg: c, conn: conn}, nil
}

// Deliver implements delivery.Sink.
func (s *Sink) Deliver(ctx context.Context, batch []*delivery.Record) error {
	err := s.deliver(ctx, batch)
	var reject *delivery.RejectError
	if err != nil && !errors.As(err, &reject) {
		s.hangUp()
		return fmt.Errorf("collector %s: %w", s.cfg.Address, err)
	}
	return err
}

func (s *Sink) deliver(ctx context.Context, batch []*delivery.Record) error {
	if s.stream == nil {
		if err := s.call(ctx); err != nil {
			return err
		}
	}
	// The stream outlives ctx, which ends this delivery only.
	defer context.AfterFunc(ctx, s.cancel)()
	tooLong := 0
	for len(batch) > 0 {
		exchanges, taken, long := pack(batch)
		if len(exchanges) > 0 {
			if err := s.send(exchanges); err != nil {
				return err
			}
		}
		batch, tooLong = batch[taken:], tooLong+long
	}
	rejected := s.rejected
	s.rejected = 0
	return s.rejection(rejected, tooLong)
}

// send sends a message of records and waits until it is acknowledged.
func (s *Sink) send(exchanges [][]byte) error {
	s.sequence++
	m := &capstanv1.Batch{Sequence: s.sequence, Exchanges: exchanges}
	if err := s.stream.Send(&capstanv1.DeliverRequest{Message: &capstanv1.DeliverRequest_Batch{Batch: m}}); err != nil && err != io.EOF {
		return err
	} // io.EOF: Recv tells why
	for {
		answer, err := s.stream.Recv()
		if err != nil {
			return told(err)
		}
		s.rejected += answer.GetRejected()
		if answer.GetAcknowledged() >= s.sequence {
			return nil
		}
	}
}

// told is err, in words where the server just ended the stream.
func told(err error) error {
	if err == io.EOF {
		return errors.New("the server ended the stream")
	}
	return err
}

// call begins a stream, within the time that parent leaves; the stream itself
// outlives it.
func (s *Sink) call(parent context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer context.AfterFunc(parent, cancel)()
	var options []grpc.CallOption
	if !s.cfg.NoCompression {
		options = append(options, grpc.UseCompressor(grpcgzip.Name))
	}
	stream, err := capstanv1.NewCollectorClient(s.conn).Deliver(ctx, options...)
	if err == nil {
		hello := &capstanv1.Hello{Node: s.cfg.Node, Agent: s.cfg.Agent}
		err = stream.Send(&capstanv1.DeliverRequest{Message: &capstanv1.DeliverRequest_Hello{Hello: hello}})
		if err == io.EOF {
			_, err = stream.Recv()
			err = told(err)
		}
	}
	if err != nil {
		cancel()
		return err
	}
	s.stream, s.cancel, s.sequence, s.rejected = stream, cancel, 0, 0
	return nil
}

// hangUp ends the stream: the next delivery begins another.
func (s *Sink) hangUp() {
	if s.stream != nil {
		s.cancel()
		s.stream = nil
	}
}

// Close implements delivery.Sink.
func (s *Sink) Close() error {
	if s.stream != nil {
		_ = s.stream.CloseSend() // a courtesy
	}
	s.hangUp()
	return s.conn.Close()
}
