package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	collectormetricspb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	collectortracepb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // so that the receiver can decompress
	"google.golang.org/protobuf/proto"

	"capstan/pkg/netns"
	capstanv1 "capstan/proto/capstan/v1"
)

// brokerVariable names the directory of a broker: this program is one, then.
const brokerVariable = "CAPSTAN_TEST_BROKER"

// Addresses of what records are sent to, and the topics of the broker.
const (
	brokerPort = 9092
	brokerAddr = clientIP + ":9092"
	grpcAddr   = clientIP + ":4317"
	httpAddr   = clientIP + ":4318"
	wholeTopic = "whole"
	lossyTopic = "lossy"
)

// brokerProcess is a broker that keeps its records in dir, until it is killed.
func brokerProcess(dir string) int {
	_, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(brokerPort), kfake.SeedTopics(3, wholeTopic, lossyTopic), kfake.DataDir(dir), kfake.SyncWrites(),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, brokerAddr) }))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {}
}

// broker is a Kafka broker in a process of its own.
type broker struct {
	t   *testing.T
	ns  *netns.NS
	dir string
	now *process
}

func (b *broker) start() {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerVariable+"="+b.dir)
	b.now = startCommand(b.t, b.ns, nil, cmd)
	eventually(b.t, "the broker listens", func() bool {
		conn, err := b.ns.DialContext(b.t.Context(), "tcp", brokerAddr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (b *broker) kill() { b.now.signal(syscall.SIGKILL) }

// ids returns the ids of the records in a topic, of which there are n.
func (b *broker) ids(topic string, n int) map[string]bool {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokerAddr), kgo.ConsumeTopics(topic), kgo.Dialer(b.ns.DialContext))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	ids := map[string]bool{}
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for len(ids) < n && ctx.Err() == nil {
		for _, r := range client.PollFetches(ctx).Records() {
			checkNoCredential(b.t, topic, r.Value)
			x := new(capstanv1.Exchange)
			if err := proto.Unmarshal(r.Value, x); err != nil {
				b.t.Fatal(err)
			}
			ids[x.GetId()] = true
		}
	}
	return ids
}

// receiver takes OTLP by gRPC and by HTTP.
type receiver struct {
	t  *testing.T
	ns *netns.NS

	mu       sync.Mutex
	spans    [2]map[string]bool // by gRPC, by HTTP
	measured [2]uint64          // requests in histograms
	grpc     *grpc.Server
	http     *http.Server
	serving  sync.WaitGroup
}

func newReceiver(t *testing.T, ns *netns.NS) *receiver {
	return &receiver{t: t, ns: ns, spans: [2]map[string]bool{{}, {}}}
}

// take keeps what a request has.
func (r *receiver) take(by int, m proto.Message) proto.Message {
	if raw, err := proto.Marshal(m); err == nil {
		checkNoCredential(r.t, "OTLP", raw)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch m := m.(type) {
	case *collectortracepb.ExportTraceServiceRequest:
		for _, resource := range m.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					for _, a := range s.GetAttributes() {
						if a.GetKey() == "capstan.record.id" {
							r.spans[by][a.GetValue().GetStringValue()] = true
						}
					}
				}
			}
		}
		return &collectortracepb.ExportTraceServiceResponse{}
	case *collectormetricspb.ExportMetricsServiceRequest:
		for _, resource := range m.GetResourceMetrics() {
			for _, scope := range resource.GetScopeMetrics() {
				for _, metric := range scope.GetMetrics() {
					for _, p := range metric.GetHistogram().GetDataPoints() {
						r.measured[by] += p.GetCount()
					}
				}
			}
		}
	}
	return &collectormetricspb.ExportMetricsServiceResponse{}
}

func (r *receiver) start() {
	r.t.Helper()
	listen := func(address string) net.Listener {
		l, err := r.ns.Listen("tcp", address)
		if err != nil {
			r.t.Fatal(err)
		}
		return l
	}
	byGRPC, byHTTP := listen(grpcAddr), listen(httpAddr)
	r.grpc, r.http = grpc.NewServer(), &http.Server{Handler: http.HandlerFunc(r.serveHTTP)}
	for name, make := range map[string]func() proto.Message{
		"opentelemetry.proto.collector.trace.v1.TraceService":     func() proto.Message { return new(collectortracepb.ExportTraceServiceRequest) },
		"opentelemetry.proto.collector.metrics.v1.MetricsService": func() proto.Message { return new(collectormetricspb.ExportMetricsServiceRequest) },
	} {
		export := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := make()
			if err := decode(m); err != nil {
				return nil, err
			}
			return r.take(0, m), nil
		}
		r.grpc.RegisterService(&grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Export", Handler: export}}}, nil)
	}
	r.serving.Go(func() { _ = r.grpc.Serve(byGRPC) }) // both ended by kill
	r.serving.Go(func() { _ = r.http.Serve(byHTTP) })
}

func (r *receiver) serveHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // killed meanwhile
	}
	m := proto.Message(new(collectortracepb.ExportTraceServiceRequest))
	if q.URL.Path == "/v1/metrics" {
		m = new(collectormetricspb.ExportMetricsServiceRequest)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		r.t.Error(err)
	}
	answer, err := proto.Marshal(r.take(1, m))
	if err != nil {
		r.t.Error(err)
	}
	_, _ = w.Write(answer)
}

// kill closes all connections at once.
func (r *receiver) kill() {
	r.grpc.Stop()
	r.http.Close()
	r.serving.Wait()
}
