package command

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/own"
	"capstan/interceptor/internal/sink/otlp/otlptest"
	"capstan/interceptor/internal/sink/stream"
	capstanv1 "capstan/proto/capstan/v1"
)

// BenchmarkSinks is a record's way from the engine to where a sink says that it
// has it, the receiver's work in this process included; of an engine with one shard, and of
// one with several.
func BenchmarkSinks(b *testing.B) {
	x := &capstanv1.Exchange{
		Id: "0123456789abcdef0123456789abcdef-0", Protocol: capstanv1.Protocol_PROTOCOL_HTTP1, StartTimeUnixNs: 1_700_000_000_000_000_000, DurationNs: 1_000_000,
		Client: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 40000}, Server: &capstanv1.Endpoint{Address: "10.0.0.2", Port: 80}, Complete: true,
		Request:  &capstanv1.HttpRequest{Method: "GET", Target: "/orders/17", Authority: "shop.example", Version: "HTTP/1.1", Body: &capstanv1.Body{}},
		Response: &capstanv1.HttpResponse{Status: 200, Version: "HTTP/1.1", Body: &capstanv1.Body{Size: 1800, Content: make([]byte, 1800)}},
	}
	for i := range 8 {
		h := &capstanv1.Header{Name: fmt.Sprint("X-Header-", i), Value: "some value of usual length"}
		x.Request.Headers, x.Response.Headers = append(x.Request.Headers, h), append(x.Response.Headers, h)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "http"), kfake.BlackholeProduce())
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Close()
	var r otlptest.Receiver
	var encoded []byte
	for name, c := range map[string]*config.Sink{
		"stdout": {Stdout: &config.Stdout{Format: "json"}},
		"file":   {File: &config.FileSink{Path: filepath.Join(b.TempDir(), "x"), RotateSize: 64 << 20, Keep: 1}},
		"zstd":   {File: &config.FileSink{Path: filepath.Join(b.TempDir(), "x"), RotateSize: 64 << 20, Keep: 1, Zstd: true}},
		"kafka":  {Kafka: &config.Kafka{Brokers: broker.ListenAddrs(), Topic: "http", Format: "protobuf", Key: "connection", Compression: "zstd", MaxRecord: 1_000_000}},
		"otlp":   {OTLP: &config.OTLP{Endpoint: r.ServeGRPC(b), Protocol: "grpc", Traces: true, Metrics: true, Compression: "gzip", Timeout: 10e9}},
	} {
		for way, emit := range map[string]func(*delivery.Fanout) error{
			"one": func(f *delivery.Fanout) error { return f.Emit(x) },
			"several": func(f *delivery.Fanout) (err error) {
				if encoded, err = f.Append(encoded[:0], x); err == nil {
					f.Push(encoded)
				}
				return err
			},
		} {
			b.Run(name+"/shards="+way, func(b *testing.B) {
				o := &outlets{stdout: stream.NewWriter(io.Discard), drain: 60e9, own: own.New(), log: slog.New(slog.DiscardHandler)}
				c.Name, c.Policy = name, "block"
				if err := openSinks(o, []config.Sink{*c}); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				from := spent(b)
				for b.Loop() {
					if err := emit(o.fanout); err != nil {
						b.Fatal(err)
					}
				}
				if err := o.close(); err != nil { // all is delivered: part of the cost
					b.Fatal(err)
				}
				b.ReportMetric(float64((spent(b)-from).Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// spent is the processor time of this process so far.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
