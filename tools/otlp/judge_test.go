package otlp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// judge is the collector's receiver with what it has accepted.
type judge struct {
	grpc, http string // its addresses
	traces     consumertest.TracesSink
	metrics    consumertest.MetricsSink
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newJudge(t *testing.T) *judge {
	t.Helper()
	j := &judge{grpc: freeAddress(t), http: freeAddress(t)}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	err := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": j.grpc}, "http": map[string]any{"endpoint": j.http},
	}}).Unmarshal(config)
	if err != nil {
		t.Fatal(err)
	}
	settings := receivertest.NewNopSettings(factory.Type())
	traces, err := factory.CreateTraces(t.Context(), settings, config, &j.traces)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := factory.CreateMetrics(t.Context(), settings, config, &j.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []component.Component{traces, metrics} {
		if err := r.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	}
	return j
}

// record is the JSON of a record, as far as its span is made of it.
type record struct {
	ID         string
	StartTime  time.Time
	DurationNs int64
	Client     struct{ Address string }
	Request    struct {
		Method, Target, Authority string
		Headers                   []struct{ Name, Value string }
		BodySize                  int64
	}
	Response struct {
		Status, BodySize int64
	}
	GRPC *struct {
		Service, Method string
		Status          int64
	}
}

// TestCollectorAccepts: a collector gets by gRPC and by HTTP, compressed and not,
// a span for each record and the durations of all, and they say what the records
// do.
func TestCollectorAccepts(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "./interceptor", "./bench")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, capture := range []struct {
		name    string
		records int
		write   func(file string)
	}{
		{"http", 60, func(file string) { httpCapture(t, file, 60) }},
		{"grpc", 100, func(file string) { grpcCapture(t, dir, file) }},
	} {
		for _, compression := range []string{"none", "gzip"} {
			t.Run(capture.name+" "+compression, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "capture")
				capture.write(file)
				byGRPC, byHTTP := newJudge(t), newJudge(t)
				records := send(t, dir, file, fmt.Sprintf(`sinks:
- stdout: {format: json}
- {name: a, policy: block, otlp: {endpoint: %q, compression: %s}}
- {name: b, policy: block, otlp: {endpoint: "http://%s", protocol: http, compression: %s}}
`, byGRPC.grpc, compression, byHTTP.http, compression))
				if len(records) != capture.records {
					t.Fatalf("%d records, want %d", len(records), capture.records)
				}
				for _, j := range []*judge{byGRPC, byHTTP} {
					j.checkSpans(t, records)
					j.checkMetrics(t, records)
				}
			})
		}
	}
}

// send has the interceptor read a file.
func send(t *testing.T, dir, file, config string) (records []record) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "interceptor"), "read", "--config", name, "--drain-timeout", "30s", file)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &problems)
	}
	for line := range bytes.Lines(out) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		records = append(records, r)
	}
	return records
}

// checkSpans compares each span with its record.
func (j *judge) checkSpans(t *testing.T, records []record) {
	t.Helper()
	spans := map[string]ptrace.Span{}
	for _, traces := range j.traces.AllTraces() {
		for _, resource := range traces.ResourceSpans().All() {
			if name, _ := resource.Resource().Attributes().Get("service.name"); name.Str() != "capstan-interceptor" {
				t.Errorf("the resource: %v", resource.Resource().Attributes().AsRaw())
			}
			for _, scope := range resource.ScopeSpans().All() {
				for _, s := range scope.Spans().All() {
					id, _ := s.Attributes().Get("capstan.record.id")
					spans[id.Str()] = s
				}
			}
		}
	}
	if j.traces.SpanCount() != len(records) || len(spans) != len(records) {
		t.Fatalf("%d spans, %d of them different, want %d", j.traces.SpanCount(), len(spans), len(records))
	}
	for _, r := range records {
		if got, want := described(spans[r.ID]), r.span(); !maps.Equal(got, want) {
			t.Fatalf("record %s: the span says\n%v, want\n%v", r.ID, got, want)
		}
	}
}

// described is a span as text, but for attributes that the JSON lacks.
func described(s ptrace.Span) map[string]string {
	m := map[string]string{
		"trace": s.TraceID().String(), "span": s.SpanID().String(), "parent": s.ParentSpanID().String(), "state": s.TraceState().AsRaw(),
		"kind": s.Kind().String(), "name": s.Name(), "error": fmt.Sprint(s.Status().Code() == ptrace.StatusCodeError),
		"start": s.StartTimestamp().AsTime().String(), "end": s.EndTimestamp().AsTime().String(),
	}
	for key, value := range s.Attributes().All() {
		switch key {
		case "http.request.method", "http.response.status_code", "url.path", "url.query", "server.address", "client.address",
			"http.request.body.size", "http.response.body.size", "rpc.service", "rpc.method", "rpc.grpc.status_code", "error.type":
			m[key] = value.AsString()
		}
	}
	return m
}

// span is what the span of r has to say.
func (r *record) span() map[string]string {
	sum := sha256.Sum256([]byte(r.ID))
	path, query, _ := strings.Cut(r.Request.Target, "?")
	m := map[string]string{
		"trace": hex.EncodeToString(sum[:16]), "span": hex.EncodeToString(sum[16:24]), "parent": "", "state": "",
		"kind": "Server", "name": r.Request.Method, "error": "false",
		"start": r.StartTime.UTC().String(), "end": r.StartTime.Add(time.Duration(r.DurationNs)).UTC().String(),
		"http.request.method": r.Request.Method, "http.response.status_code": fmt.Sprint(r.Response.Status),
		"url.path": path, "server.address": r.Request.Authority, "client.address": r.Client.Address,
		"http.request.body.size": fmt.Sprint(r.Request.BodySize), "http.response.body.size": fmt.Sprint(r.Response.BodySize),
	}
	if query != "" {
		m["url.query"] = query
	}
	for _, h := range r.Request.Headers {
		if h.Name == "traceparent" && len(h.Value) == 55 {
			m["trace"], m["parent"], m["state"] = h.Value[3:35], h.Value[36:52], "congo=t61rcWkgMzE"
		}
	}
	if r.Response.Status >= 500 {
		m["error"], m["error.type"] = "true", fmt.Sprint(r.Response.Status)
	}
	if g := r.GRPC; g != nil {
		m["name"], m["rpc.service"], m["rpc.method"], m["rpc.grpc.status_code"] = g.Service+"/"+g.Method, g.Service, g.Method, fmt.Sprint(g.Status)
	}
	return m
}

// checkMetrics compares the histograms with the durations of all records.
func (j *judge) checkMetrics(t *testing.T, records []record) {
	t.Helper()
	name, unit := "http.server.request.duration", time.Second
	if records[0].GRPC != nil {
		name, unit = "rpc.server.duration", time.Millisecond
	}
	var count uint64
	var sum, want float64
	var buckets uint64
	for _, metrics := range j.metrics.AllMetrics() {
		for _, resource := range metrics.ResourceMetrics().All() {
			for _, scope := range resource.ScopeMetrics().All() {
				for _, m := range scope.Metrics().All() {
					if m.Name() != name || m.Type() != pmetric.MetricTypeHistogram || m.Histogram().AggregationTemporality() != pmetric.AggregationTemporalityDelta {
						t.Errorf("a metric %s of type %v", m.Name(), m.Type())
						continue
					}
					for _, p := range m.Histogram().DataPoints().All() {
						count += p.Count()
						sum += p.Sum()
						for _, n := range p.BucketCounts().All() {
							buckets += n
						}
					}
				}
			}
		}
	}
	for _, r := range records {
		want += float64(r.DurationNs) / float64(unit)
	}
	if count != uint64(len(records)) || buckets != count || sum < want*0.999999 || sum > want*1.000001 {
		t.Errorf("%d durations, in buckets %d, sum %v; want %d, %v", count, buckets, sum, len(records), want)
	}
}
