// Package kafka produces records to a topic of Kafka.
//
// Values are encoded capstan.v1.Exchange messages or their JSON lines, keys what
// keeps records in order: the connection, or the server. Each Kafka record has the
// header content-type, and one whose value would be too long has the header
// capstan-truncated, which says what was left out of it: bodies, or bodies and
// headers.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"capstan/interceptor/internal/delivery"
)

// Key is what the key of a Kafka record is.
type Key uint8

// Keys.
const (
	KeyConnection Key = iota // the part of the id that names the connection
	KeyServer                // the server's address and port
	KeyNone                  // none: partitions take turns
)

// Config of a [Sink].
type Config struct {
	Brokers []string // HOST:PORT
	Topic   string
	JSON    bool // values are JSON lines rather than protobuf
	Key     Key
	// Compression of batches: none, gzip, snappy, lz4 or zstd.
	Compression string
	// MaxRecord bounds a value, in bytes before compression.
	MaxRecord int
	SASL      sasl.Mechanism // nil: none
	// Dial makes the connections, secured if they are to be.
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	ClientID string
}

// deliveryTimeout is how long the client tries by itself before the queue is told
// that the sink fails.
const deliveryTimeout = 10 * time.Second

// room is what a record may have besides its value, in a batch that a broker
// takes: key, headers, framing.
const room = 4 << 10

// Sink produces records. It implements delivery.Sink: a batch is delivered when
// all in-sync replicas of its partitions have it.
type Sink struct {
	cfg    Config
	client *kgo.Client
	cut    atomic.Uint64

	// Owned by the goroutine that delivers: of a batch that was delivered in
	// part, the first record and those that are still to be.
	first    *delivery.Record
	rest     []*delivery.Record
	rejected int
	reason   error
}

// New returns a sink. It connects with the first batch.
func New(c Config) (*Sink, error) {
	codec, err := codecOf(c.Compression)
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.DefaultProduceTopic(c.Topic),
		kgo.RequiredAcks(kgo.AllISRAcks()), // and idempotent, as is the default
		kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(int32(c.MaxRecord + room)),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		kgo.UnknownTopicRetries(1),
		kgo.AllowIdempotentProduceCancellation(),
		kgo.ProducerLinger(0), // the queue makes batches
		kgo.ClientID(c.ClientID),
		kgo.Dialer(c.Dial),
	}
	if c.MaxRecord+room > 100<<20 {
		options = append(options, kgo.BrokerMaxWriteBytes(int32(c.MaxRecord+2*room)))
	}
	if c.SASL != nil {
		options = append(options, kgo.SASL(c.SASL))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return &Sink{cfg: c, client: client}, nil
}

func codecOf(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none", "":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		// As file sinks do: what a slower level saves of records, bodies above all, is little.
		return kgo.ZstdCompression().WithLevel(int(zstd.SpeedFastest)), nil
	}
	return kgo.NoCompression(), fmt.Errorf("kafka: compression %q is none of none, gzip, snappy, lz4, zstd", name)
}

// Deliver implements delivery.Sink. When a batch that was delivered in part comes
// again, only the rest of it is produced.
func (s *Sink) Deliver(ctx context.Context, batch []*delivery.Record) error {
	if s.first != batch[0] {
		s.first, s.rest, s.rejected, s.reason = batch[0], slices.Clone(batch), 0, nil
	}
	produced := make([]*kgo.Record, 0, len(s.rest))
	of := make(map[*kgo.Record]*delivery.Record, len(s.rest))
	for _, r := range s.rest {
		k, err := s.cfg.record(r)
		if err != nil {
			s.reject(err)
			continue
		}
		produced = append(produced, k)
		of[k] = r
	}
	var failed []*delivery.Record
	var failure error
	for _, result := range s.client.ProduceSync(ctx, produced...) {
		switch err := result.Err; {
		case err == nil:
			if isCut(result.Record) {
				s.cut.Add(1)
			}
		case isRefusal(err):
			s.reject(err)
		default:
			failed, failure = append(failed, of[result.Record]), err
		}
	}
	s.rest = failed
	if failure != nil {
		return fmt.Errorf("kafka topic %s: %w", s.cfg.Topic, failure)
	}
	s.first = nil
	if s.rejected > 0 {
		return &delivery.RejectError{Rejected: s.rejected, Err: s.reason}
	}
	return nil
}

func (s *Sink) reject(err error) {
	s.rejected++
	s.reason = err
}

// isRefusal reports whether a broker will never take the record: it has limits
// below ours, or doesn't like what the record is.
func isRefusal(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidRecord) || errors.Is(err, kerr.RecordListTooLarge)
}

// isCut reports whether something was left out of a record.
func isCut(k *kgo.Record) bool {
	return slices.ContainsFunc(k.Headers, func(h kgo.RecordHeader) bool { return h.Key == HeaderTruncated })
}

// Cut implements delivery.Cutter.
func (s *Sink) Cut() uint64 { return s.cut.Load() }

// Close implements delivery.Sink.
func (s *Sink) Close() error {
	s.client.Close()
	return nil
}

// SASL returns the mechanism of that name, nil for "none": plain, scram-sha-256 or
// scram-sha-512. password is called for each connection.
func SASL(name, user string, password func() (string, error)) sasl.Mechanism {
	switch name {
	case "plain":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			p, err := password()
			return plain.Auth{User: user, Pass: p}, err
		})
	case "scram-sha-256", "scram-sha-512":
		auth := func(context.Context) (scram.Auth, error) {
			p, err := password()
			return scram.Auth{User: user, Pass: p}, err
		}
		if name == "scram-sha-256" {
			return scram.Sha256(auth)
		}
		return scram.Sha512(auth)
	}
	return nil
}
