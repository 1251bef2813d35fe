package otlp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/delivery/deliverytest"
	"capstan/interceptor/internal/sink/otlp/otlptest"
	"capstan/pkg/leaktest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

func newSink(t *testing.T, c Config) *Sink {
	t.Helper()
	c.Traces, c.Metrics, c.Service, c.Agent, c.Timeout = true, true, "test", "capstan/1", 10*time.Second
	c.Credentials, c.Dial = insecure.NewCredentials(), new(net.Dialer).DialContext
	c.Headers = map[string]string{"x-tenant": "blue"}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func call(n int) *capstanv1.Exchange {
	return &capstanv1.Exchange{
		Id: fmt.Sprintf("%032x-%d", 1, n), Protocol: capstanv1.Protocol_PROTOCOL_HTTP1, StartTimeUnixNs: 1_000_000_000, DurationNs: 30_000_000, Complete: true,
		Client: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 4000}, Server: &capstanv1.Endpoint{Address: "10.0.0.2", Port: 80}, Source: "eth0",
		Request: &capstanv1.HttpRequest{Method: "GET", Target: "/a?x=1&sig=***&y=**", Authority: "shop.example:8080", Version: "HTTP/1.1", Headers: []*capstanv1.Header{
			{Name: "Traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, {Name: "tracestate", Value: "a=b"}}},
		Response: &capstanv1.HttpResponse{Status: 503, Version: "HTTP/1.1"},
	}
}

func text(l []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range l {
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[kv.Key] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			m[kv.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return m
}

func contains(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q", k, got[k], v)
		}
	}
}

func spanOf(x *capstanv1.Exchange) *tracepb.Span {
	var b batch
	return b.span(b.add(x, true))
}

// TestMemoryOfBatches: whatever a batch had before, the next is as if it had not.
func TestMemoryOfBatches(t *testing.T) {
	plain := call(1)
	plain.Request.Headers, plain.Response.Status = nil, 200
	grpcCall := call(2)
	grpcCall.Grpc = &capstanv1.Grpc{Service: "s", Method: "m", StatusKnown: true, Status: 2, StatusMessage: "why"}
	connection := &capstanv1.Exchange{Protocol: capstanv1.Protocol_PROTOCOL_TLS, Connection: &capstanv1.Connection{}, Tls: &capstanv1.Tls{ServerName: "h"}}
	all := []*capstanv1.Exchange{call(0), plain, grpcCall, connection}
	var b batch
	for round := range len(all) * chunkLen / 5 {
		var fresh batch
		for i := range 5 {
			x := all[(round+i*round)%len(all)]
			got, want := b.span(b.add(x, true)), fresh.span(fresh.add(x, true))
			if !proto.Equal(got, want) {
				t.Fatalf("round %d: %v, want %v", round, got, want)
			}
		}
		got, want := b.metrics(), fresh.metrics()
		if len(got) != len(want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
		for i := range got {
			if !proto.Equal(got[i], want[i]) {
				t.Fatalf("round %d: %v, want %v", round, got[i], want[i])
			}
		}
		b.reset()
	}
	if n := testing.AllocsPerRun(100, func() {
		b.span(b.add(plain, true))
		b.reset()
	}); n > 6 { // of the URL, and of names
		t.Errorf("a span costs %v allocations", n)
	}
}

// Attributes that are not the same have other points.
func TestPointsOfAttributes(t *testing.T) {
	keys := map[string]string{}
	for _, method := range []string{"", "G", "GE", "GET", "GET\x00"} {
		for _, status := range []int64{0, 1, 2, 200} {
			l := list{batch: new(batch)}
			l.text("a", method)
			l.number("b", status)
			l.text("c", method)
			key := string(appendKey(nil, l.all()))
			if other, ok := keys[key]; ok {
				t.Errorf("%q %d has the key of %s", method, status, other)
			}
			keys[key] = fmt.Sprint(method, status)
		}
	}
}

func TestSpanOfAnExchange(t *testing.T) {
	s := spanOf(call(0))
	if hex.EncodeToString(s.TraceId) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(s.ParentSpanId) != "b7ad6b7169203331" || s.TraceState != "a=b" || s.Flags != 0x301 {
		t.Errorf("parent %x %x %q %x", s.TraceId, s.ParentSpanId, s.TraceState, s.Flags)
	}
	if s.Name != "GET" || s.Kind != tracepb.Span_SPAN_KIND_SERVER || s.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || s.EndTimeUnixNano-s.StartTimeUnixNano != 30_000_000 {
		t.Errorf("%v", s)
	}
	contains(t, text(s.Attributes), map[string]string{
		"http.request.method": "GET", "http.response.status_code": "503", "url.path": "/a", "url.query": "x=1&sig=REDACTED&y=**", "url.scheme": "http",
		"server.address": "shop.example", "server.port": "80", "network.peer.address": "10.0.0.1", "network.peer.port": "4000",
		"network.protocol.name": "http", "network.protocol.version": "1.1", "error.type": "503", "capstan.record.id": call(0).Id, "capstan.complete": "true",
	})
	again, other := spanOf(call(0)), spanOf(call(1))
	if string(again.SpanId) != string(s.SpanId) || string(other.SpanId) == string(s.SpanId) || len(s.SpanId) != 8 {
		t.Errorf("span ids %x %x %x", s.SpanId, again.SpanId, other.SpanId)
	}
}

func TestSpansOfOtherRecords(t *testing.T) {
	x := call(0)
	x.Request.Headers = nil
	x.Request.Method, x.Request.Target, x.Response.Status = "BREW\xff", "http://h/pot", 404
	s := spanOf(x)
	contains(t, text(s.Attributes), map[string]string{"http.request.method": "_OTHER", "http.request.method_original": "BREW\uFFFD", "url.path": "/pot", "error.type": ""})
	if s.Name != "HTTP" || s.Status != nil || len(s.TraceId) != 16 || s.ParentSpanId != nil {
		t.Errorf("%v", s)
	}
	x.Grpc = &capstanv1.Grpc{Service: "shop.Cart", Method: "Add", StatusKnown: true, Status: 14}
	s = spanOf(x)
	contains(t, text(s.Attributes), map[string]string{"rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.method": "Add", "rpc.grpc.status_code": "14", "error.type": "UNAVAILABLE"})
	if s.Name != "shop.Cart/Add" {
		t.Error(s.Name)
	}
	s = spanOf(&capstanv1.Exchange{Protocol: capstanv1.Protocol_PROTOCOL_TLS, Connection: &capstanv1.Connection{}, Tls: &capstanv1.Tls{ServerName: "h"}})
	contains(t, text(s.Attributes), map[string]string{"network.protocol.name": "tls", "tls.client.server_name": "h"})
	if s.Name != "TLS" || s.Kind != tracepb.Span_SPAN_KIND_INTERNAL {
		t.Errorf("%v", s)
	}
}

// The client is whom the proxy speaks for; the peer is the proxy.
func TestClientBehindAProxy(t *testing.T) {
	x := call(0)
	x.Proxied = &capstanv1.Proxied{Version: 1}
	contains(t, text(spanOf(x).Attributes), map[string]string{"client.address": "10.0.0.1", "client.port": "4000", "network.peer.address": "10.0.0.1"})
	x.Proxied.Source = &capstanv1.Endpoint{Address: "192.0.2.7", Port: 51237}
	contains(t, text(spanOf(x).Attributes), map[string]string{"client.address": "192.0.2.7", "client.port": "51237", "network.peer.address": "10.0.0.1", "network.peer.port": "4000"})
	x.ProxiedFurther = []*capstanv1.Proxied{{Version: 2, Source: &capstanv1.Endpoint{Address: "192.0.2.8", Port: 9}}, {Version: 2}}
	contains(t, text(spanOf(x).Attributes), map[string]string{"client.address": "192.0.2.8", "client.port": "9", "network.peer.address": "10.0.0.1"})
}

// The server is whom the innermost SOCKS proxy was asked for; the local end of the network is the
// first proxy.
func TestServerBehindSocks(t *testing.T) {
	x := call(0)
	x.Request.Authority = ""
	x.Socks = &capstanv1.Socks{Version: 5, Target: "[2001:db8::7]:81", Outer: &capstanv1.Socks{Version: 5, Target: "proxy:1080"}}
	attributes := text(spanOf(x).Attributes)
	contains(t, attributes, map[string]string{"server.address": "2001:db8::7", "server.port": "81", "network.local.address": x.Server.Address})
	x.Request.Authority = "inner"
	contains(t, text(spanOf(x).Attributes), map[string]string{"server.address": "inner", "server.port": "81"})
}

func TestTraceparent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for value, want := range map[string]bool{
		good: true, "cc" + good[2:]: true, "cc" + good[2:] + "-more": true,
		good + "-more": false, good + "0": false, "ff" + good[2:]: false, good[:54]: false, strings.ToUpper(good): false, "": false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		"00-0af7651916cd43dd8448eb211c80319x-b7ad6b7169203331-01": false, strings.Replace(good, "-", "_", 1): false,
	} {
		h := []*capstanv1.Header{{Name: "traceparent", Value: value}}
		if _, ok := parentOf(h); ok != want {
			t.Errorf("%q: %v", value, ok)
		}
		if _, ok := parentOf(append(h, h...)); ok {
			t.Error("two of them are one")
		}
	}
	if p, ok := parentOf([]*capstanv1.Header{{Name: "tracestate", Value: strings.Repeat("a", 600)}, {Name: "traceparent", Value: good}}); !ok || p.state != "" {
		t.Error("a long tracestate is passed on")
	}
}

// FuzzTraceparent holds that what is taken is a parent that can be written again.
func FuzzTraceparent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")
	f.Fuzz(func(t *testing.T, value string) {
		p, ok := parentOf([]*capstanv1.Header{{Name: "traceparent", Value: value}})
		if ok && !strings.HasPrefix(value[2:], fmt.Sprintf("-%x-%x-%02x", p.trace, p.span, p.flags)) {
			t.Errorf("%q is %+v", value, p)
		}
	})
}

func TestHistograms(t *testing.T) {
	slow, grpcCall, half := call(1), call(2), call(3)
	slow.DurationNs = 20e9
	grpcCall.Grpc = &capstanv1.Grpc{Service: "s", Method: "m"}
	half.Response = nil
	var b batch
	for _, x := range []*capstanv1.Exchange{call(0), slow, grpcCall, half} {
		b.add(x, false)
	}
	all := b.metrics()
	if len(all) != 2 || all[0].Name != "http.server.request.duration" || all[1].Name != "rpc.server.duration" {
		t.Fatal(all)
	}
	p := all[0].GetHistogram().DataPoints[0]
	if p.Count != 2 || p.GetSum() != 20.03 || p.GetMin() != 0.03 || p.GetMax() != 20 || p.BucketCounts[3] != 1 || p.BucketCounts[len(httpBounds)] != 1 {
		t.Errorf("%v", p)
	}
	if all[1].GetHistogram().DataPoints[0].GetSum() != 30 || all[1].Unit != "ms" {
		t.Errorf("%v", all[1])
	}
}

func TestDelivery(t *testing.T) {
	for _, byHTTP := range []bool{false, true} {
		for _, zip := range []bool{false, true} {
			r := &otlptest.Receiver{}
			c := Config{HTTP: byHTTP, Gzip: zip}
			temporary, permanent := error(otlptest.HTTPError(503)), error(otlptest.HTTPError(400))
			if byHTTP {
				c.Endpoint = r.ServeHTTP(t) + "/"
			} else {
				c.Endpoint = r.ServeGRPC(t)
				temporary, permanent = grpcstatus.Error(codes.Unauthenticated, ""), grpcstatus.Error(codes.InvalidArgument, "")
			}
			s := newSink(t, c)
			batch := append(deliverytest.Records(t, call(0), call(1)), &delivery.Record{Raw: []byte("no record")})
			var reject *delivery.RejectError
			r.Fail = []error{temporary}
			if err := s.Deliver(t.Context(), batch); err == nil || errors.As(err, &reject) {
				t.Errorf("spans, temporary: %v", err)
			}
			r.Fail = []error{nil, temporary}
			if err := s.Deliver(t.Context(), batch); err == nil || errors.As(err, &reject) {
				t.Errorf("metrics, temporary: %v", err)
			}
			if err := s.Deliver(t.Context(), batch); !errors.As(err, &reject) || reject.Rejected != 1 {
				t.Errorf("one record is none: %v", err)
			}
			if len(r.Spans()) != 2 || len(r.Metrics()) != 1 || r.Tenant() != "blue" {
				t.Errorf("%d spans, %d metrics, header %q", len(r.Spans()), len(r.Metrics()), r.Tenant())
			}
			r.Fail = []error{permanent, permanent}
			if err := s.Deliver(t.Context(), deliverytest.Records(t, call(2), call(3))); !errors.As(err, &reject) || reject.Rejected != 2 {
				t.Errorf("permanent: %v", err)
			}
			r.Reject = 1
			if err := s.Deliver(t.Context(), deliverytest.Records(t, call(4), call(5))); !errors.As(err, &reject) || reject.Rejected != 1 {
				t.Errorf("partial: %v", err)
			}
			r.Reject = 0
			if err := s.Deliver(t.Context(), deliverytest.Records(t, call(6))); err != nil {
				t.Error(err)
			}
			if err := s.Deliver(t.Context(), []*delivery.Record{{Raw: []byte("x")}}); !errors.As(err, &reject) {
				t.Errorf("no record at all: %v", err)
			}
		}
	}
}
