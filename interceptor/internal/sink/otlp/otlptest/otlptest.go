// Package otlptest is a receiver of OTLP for tests.
package otlptest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectormetricspb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	collectortracepb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Receiver keeps what it gets, by gRPC and HTTP. Fail and Reject may be set
// between deliveries.
type Receiver struct {
	mu      sync.Mutex
	spans   []*tracepb.Span
	metrics []*metricspb.Metric
	tenant  string
	Fail    []error // of the next requests, nil for none
	Reject  int64   // spans, of each request
}

// take handles a request of either kind.
func (r *Receiver) take(tenant string, request proto.Message) (proto.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenant = tenant
	if len(r.Fail) > 0 {
		err := r.Fail[0]
		r.Fail = r.Fail[1:]
		if err != nil {
			return nil, err
		}
	}
	switch q := request.(type) {
	case *collectortracepb.ExportTraceServiceRequest:
		r.spans = append(r.spans, q.ResourceSpans[0].ScopeSpans[0].Spans...)
		return &collectortracepb.ExportTraceServiceResponse{PartialSuccess: &collectortracepb.ExportTracePartialSuccess{RejectedSpans: r.Reject}}, nil
	case *collectormetricspb.ExportMetricsServiceRequest:
		r.metrics = append(r.metrics, q.ResourceMetrics[0].ScopeMetrics[0].Metrics...)
	}
	return &collectormetricspb.ExportMetricsServiceResponse{}, nil
}

// ServeGRPC serves the receiver, and returns its address.
func (r *Receiver) ServeGRPC(t testing.TB) string {
	method := func(new func() proto.Message) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
		return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := new()
			if err := decode(m); err != nil {
				return nil, err
			}
			md, _ := metadata.FromIncomingContext(ctx)
			return r.take(strings.Join(md.Get("x-tenant"), ""), m)
		}
	}
	s := grpc.NewServer()
	for name, make := range map[string]func() proto.Message{
		"opentelemetry.proto.collector.trace.v1.TraceService":     func() proto.Message { return new(collectortracepb.ExportTraceServiceRequest) },
		"opentelemetry.proto.collector.metrics.v1.MetricsService": func() proto.Message { return new(collectormetricspb.ExportMetricsServiceRequest) },
	} {
		s.RegisterService(&grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Export", Handler: method(make)}}}, nil)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }() // ended by Stop
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// HTTPError is an answer of that status.
type HTTPError int

// Error is the status.
func (e HTTPError) Error() string { return fmt.Sprint(int(e)) }

// ServeHTTP serves the receiver, and returns its URL.
func (r *Receiver) ServeHTTP(t testing.TB) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		in := io.Reader(q.Body)
		if q.Header.Get("Content-Encoding") == "gzip" {
			in, _ = gzip.NewReader(q.Body)
		}
		body, _ := io.ReadAll(in)
		var m proto.Message
		switch q.URL.Path {
		case "/v1/traces":
			m = new(collectortracepb.ExportTraceServiceRequest)
		case "/v1/metrics":
			m = new(collectormetricspb.ExportMetricsServiceRequest)
		}
		if err := proto.Unmarshal(body, m); err != nil || q.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%v, type %s", err, q.Header.Get("Content-Type"))
		}
		answer, err := r.take(q.Header.Get("x-tenant"), m)
		var status HTTPError
		if errors.As(err, &status) {
			w.WriteHeader(int(status))
			return
		}
		b, _ := proto.Marshal(answer)
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Spans returns the spans received.
func (r *Receiver) Spans() []*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Metrics returns the metrics received.
func (r *Receiver) Metrics() []*metricspb.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.metrics)
}

// Tenant returns the header x-tenant of the last request.
func (r *Receiver) Tenant() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tenant
}
