package otlp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	collectormetricspb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	collectortracepb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/delivery"
)

const schemaURL = "https://opentelemetry.io/schemas/1.37.0"

// Config of a [Sink].
type Config struct {
	Endpoint        string // HOST:PORT with gRPC, else a URL
	HTTP            bool   // rather than gRPC
	Traces, Metrics bool   // what is sent
	Gzip            bool
	Headers         map[string]string // of each request
	Service, Agent  string            // service.name of the resource; program/version
	Timeout         time.Duration     // of a request
	// Credentials secure gRPC; insecure.NewCredentials() doesn't.
	Credentials credentials.TransportCredentials
	// Dial makes TCP connections, DialTLS secured ones (HTTP).
	Dial, DialTLS func(ctx context.Context, network, address string) (net.Conn, error)
}

// signal is a kind of data: where its requests go.
type signal struct{ method, path string }

var (
	traces         = signal{"/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/v1/traces"}
	durations      = signal{"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", "/v1/metrics"}
	errNoneDecoded = errors.New("no record could be decoded")
	errNotTaken    = errors.New("the receiver takes them not")
)

// transport carries requests. Its errors are of type *permanentError if sending
// the same again is of no use.
type transport interface {
	export(ctx context.Context, s signal, request, response proto.Message) error
	close() error
}

// permanentError is a refusal that is about the request.
type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// Sink exports records. It implements delivery.Sink.
type Sink struct {
	cfg       Config
	transport transport
	resource  *resourcepb.Resource
	scope     *commonpb.InstrumentationScope

	// Owned by the goroutine that delivers: the first record of the batch whose
	// spans have arrived, but not its metrics, and how many spans were rejected.
	halfway  *delivery.Record
	rejected int
	batch    batch // the memory of both requests
}

// New returns a sink. It connects with the first batch.
func New(c Config) (*Sink, error) {
	var t transport
	var err error
	if c.HTTP {
		t = newHTTP(c)
	} else if t, err = newGRPC(c); err != nil {
		return nil, fmt.Errorf("otlp %s: %w", c.Endpoint, err)
	}
	service := list{batch: new(batch)}
	service.text("service.name", c.Service)
	return &Sink{
		cfg: c, transport: t, resource: &resourcepb.Resource{Attributes: service.all()},
		scope: &commonpb.InstrumentationScope{Name: "capstan", Version: c.Agent},
	}, nil
}

// Deliver implements delivery.Sink.
func (s *Sink) Deliver(ctx context.Context, batch []*delivery.Record) error {
	defer s.batch.reset() // both requests are over then
	for _, r := range batch {
		if x, err := r.Exchange(); err == nil {
			s.batch.add(x, s.cfg.Traces)
		}
	}
	decoded := len(s.batch.records)
	if decoded == 0 {
		return &delivery.RejectError{Rejected: len(batch), Err: errNoneDecoded}
	}
	if s.halfway != batch[0] {
		s.halfway, s.rejected = nil, len(batch)-decoded
	}
	var refused, refusal error
	if s.cfg.Traces && s.halfway == nil {
		rejected, err := s.sendTraces(ctx)
		if refused, err = apart(err); err != nil {
			return fmt.Errorf("otlp %s: %w", s.cfg.Endpoint, err)
		}
		if refused != nil {
			rejected, refusal = decoded, refused
		}
		s.rejected += rejected
		s.halfway = batch[0]
	}
	if s.cfg.Metrics {
		var err error
		if refused, err = apart(s.sendMetrics(ctx)); err != nil {
			return fmt.Errorf("otlp %s: %w", s.cfg.Endpoint, err)
		}
		if refused != nil && !s.cfg.Traces {
			s.rejected = len(batch)
		}
		refusal = errors.Join(refusal, refused)
	}
	s.halfway = nil
	if s.rejected == 0 {
		return nil
	}
	return &delivery.RejectError{Rejected: s.rejected, Err: cmp.Or(refusal, errNotTaken)}
}

// apart tells a refusal, after which sending the same again is in vain, from a failure.
func apart(err error) (refused, failed error) {
	if permanent := new(permanentError); errors.As(err, &permanent) {
		return err, nil
	}
	return nil, err
}

func (s *Sink) sendTraces(ctx context.Context) (rejected int, err error) {
	spans := make([]*tracepb.Span, len(s.batch.records))
	for i := range spans {
		spans[i] = s.batch.span(&s.batch.records[i])
	}
	request := &collectortracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: s.resource, SchemaUrl: schemaURL,
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: s.scope, Spans: spans}},
	}}}
	response := new(collectortracepb.ExportTraceServiceResponse)
	if err := s.transport.export(ctx, traces, request, response); err != nil {
		return 0, err
	}
	return int(max(response.GetPartialSuccess().GetRejectedSpans(), 0)), nil
}

func (s *Sink) sendMetrics(ctx context.Context) error {
	all := s.batch.metrics()
	if len(all) == 0 {
		return nil
	}
	request := &collectormetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: s.resource, SchemaUrl: schemaURL,
		ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: s.scope, Metrics: all}},
	}}}
	return s.transport.export(ctx, durations, request, new(collectormetricspb.ExportMetricsServiceResponse))
}

// Close implements delivery.Sink.
func (s *Sink) Close() error { return s.transport.close() }
