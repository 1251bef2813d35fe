package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/delivery/deliverytest"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/pkg/leaktest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

const topic = "http"

func cluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(2, topic)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newSink(t *testing.T, c Config) *Sink {
	t.Helper()
	c.Topic, c.Dial = topic, new(net.Dialer).DialContext
	if c.MaxRecord == 0 {
		c.MaxRecord = 100_000
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func exchange(connection, n int) *capstanv1.Exchange {
	return &capstanv1.Exchange{Id: fmt.Sprintf("%032x-%d", connection, n), Server: &capstanv1.Endpoint{Address: "2001:db8::1", Port: 80}}
}

// consume returns the first n records of the topic.
func consume(t *testing.T, c *kfake.Cluster, n int, options ...kgo.Opt) (records []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d records of %d", len(records), n)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func TestConnectionsStayInOrder(t *testing.T) {
	c := cluster(t)
	s := newSink(t, Config{Brokers: c.ListenAddrs(), Compression: "zstd"})
	var list []*capstanv1.Exchange
	for n := range 50 {
		for connection := range 10 {
			list = append(list, exchange(connection, n))
		}
	}
	if err := s.Deliver(t.Context(), deliverytest.Records(t, list...)); err != nil {
		t.Fatal(err)
	}
	next, partition := map[string]int{}, map[string]int32{}
	for _, r := range consume(t, c, len(list)) {
		x := new(capstanv1.Exchange)
		if err := proto.Unmarshal(r.Value, x); err != nil {
			t.Fatal(err)
		}
		k := string(r.Key)
		if x.Id != fmt.Sprintf("%s-%d", k, next[k]) {
			t.Fatalf("%s comes after %d of its connection", x.Id, next[k])
		}
		if p, ok := partition[k]; ok && p != r.Partition {
			t.Errorf("connection %s is in partitions %d and %d", k, p, r.Partition)
		}
		next[k]++
		partition[k] = r.Partition
	}
	if len(slices.Compact(slices.Sorted(maps.Values(partition)))) != 2 {
		t.Error("one partition has everything")
	}
}

func TestFormsOfRecords(t *testing.T) {
	long := exchange(1, 0)
	long.Request = &capstanv1.HttpRequest{Method: "GET", Body: &capstanv1.Body{Size: 5000, Content: make([]byte, 5000)}}
	longer := exchange(1, 1)
	longer.Complete = true
	longer.Request = &capstanv1.HttpRequest{Method: "GET", Target: strings.Repeat("é", 4000), Headers: []*capstanv1.Header{{Name: "a", Value: strings.Repeat("b", 5000)}}}
	longer.Response = &capstanv1.HttpResponse{Status: 200, Body: &capstanv1.Body{Size: 9000, Content: make([]byte, 9000)}}
	for _, c := range []Config{{Key: KeyServer}, {Key: KeyNone, JSON: true}} {
		c.MaxRecord = 2000
		for i, want := range []struct{ truncated, has, lacks string }{
			{"", "", ""}, {"bodies", `"bodyTruncated":true`, `"body":"`}, {"bodies,headers", `"headersCut"`, "bbbb"},
		} {
			x := []*capstanv1.Exchange{exchange(1, 7), long, longer}[i]
			before := proto.CloneOf(x)
			k, err := c.record(deliverytest.Records(t, x)[0])
			if err != nil || len(k.Value) > c.MaxRecord {
				t.Fatalf("%d bytes %v", len(k.Value), err)
			}
			if !proto.Equal(x, before) {
				t.Error("the record that all sinks share is changed")
			}
			headers := map[string]string{}
			for _, h := range k.Headers {
				headers[h.Key] = string(h.Value)
			}
			if headers[HeaderTruncated] != want.truncated {
				t.Errorf("marked %q, want %q", headers[HeaderTruncated], want.truncated)
			}
			text := string(k.Value)
			if !c.JSON {
				decoded := new(capstanv1.Exchange)
				if err := proto.Unmarshal(k.Value, decoded); err != nil {
					t.Fatal(err)
				}
				text = string(ndjson.Append(nil, decoded))
				if string(k.Key) != "[2001:db8::1]:80" || !strings.HasPrefix(headers[HeaderContentType], "application/x-protobuf") {
					t.Errorf("key %q, headers %v", k.Key, headers)
				}
			} else if k.Key != nil || headers[HeaderContentType] != "application/json" || strings.HasSuffix(text, "\n") {
				t.Errorf("key %q, headers %v", k.Key, headers)
			}
			if !strings.Contains(text, want.has) || want.lacks != "" && strings.Contains(text, want.lacks) || !strings.Contains(text, x.Id) {
				t.Errorf("%.300s", text)
			}
		}
	}
}

// TestWhatABrokerRefuses is rejected, and the rest is delivered; what fails in
// part is produced again in part.
// TestCutRecordsAreCounted, those that were delivered.
func TestCutRecordsAreCounted(t *testing.T) {
	c := cluster(t)
	s := newSink(t, Config{Brokers: c.ListenAddrs(), MaxRecord: 2000})
	long := exchange(1, 0)
	long.Request = &capstanv1.HttpRequest{Method: "GET", Body: &capstanv1.Body{Size: 5000, Content: make([]byte, 5000)}}
	for n := range uint64(2) {
		if err := s.Deliver(t.Context(), deliverytest.Records(t, exchange(1, 1), long)); err != nil || s.Cut() != n+1 {
			t.Errorf("%v; %d are counted, want %d", err, s.Cut(), n+1)
		}
	}
}

func TestWhatABrokerRefuses(t *testing.T) {
	c := cluster(t)
	s := newSink(t, Config{Brokers: c.ListenAddrs()})
	refuse := func(code int16) {
		c.ControlKey(int16(kmsg.Produce), func(q kmsg.Request) (kmsg.Response, error, bool) {
			request := q.(*kmsg.ProduceRequest)
			response := request.ResponseKind().(*kmsg.ProduceResponse)
			for _, t := range request.Topics {
				rt := kmsg.NewProduceResponseTopic()
				rt.Topic, rt.TopicID = t.Topic, t.TopicID
				for _, p := range t.Partitions {
					rp := kmsg.NewProduceResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, code
					rt.Partitions = append(rt.Partitions, rp)
				}
				response.Topics = append(response.Topics, rt)
			}
			return response, nil, true
		})
	}
	records := deliverytest.Records(t, exchange(1, 0))
	refuse(kerr.MessageTooLarge.Code)
	var reject *delivery.RejectError
	if err := s.Deliver(t.Context(), records); !errors.As(err, &reject) || reject.Rejected != 1 {
		t.Errorf("too large: %v", err)
	}
	records = append(deliverytest.Records(t, exchange(2, 0), exchange(2, 1)), &delivery.Record{Raw: []byte("no record")})
	refuse(kerr.TopicAuthorizationFailed.Code)
	if err := s.Deliver(t.Context(), records); err == nil || errors.As(err, &reject) {
		t.Fatalf("no right: %v", err)
	}
	if err := s.Deliver(t.Context(), records); !errors.As(err, &reject) || reject.Rejected != 1 {
		t.Errorf("what is no record, after a failure: %v", err)
	}
	if got := consume(t, c, 2); len(got) != 2 {
		t.Errorf("%d records arrived", len(got))
	}
}

func TestPasswords(t *testing.T) {
	for _, m := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		c := cluster(t, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(m), "capstan", "right"))
		password := "right"
		mechanism := SASL(m, "capstan", func() (string, error) { return password, nil })
		s := newSink(t, Config{Brokers: c.ListenAddrs(), SASL: mechanism})
		if err := s.Deliver(t.Context(), deliverytest.Records(t, exchange(1, 0))); err != nil {
			t.Errorf("%s: %v", m, err)
		}
		password = "wrong"
		s = newSink(t, Config{Brokers: c.ListenAddrs(), SASL: mechanism})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := s.Deliver(ctx, deliverytest.Records(t, exchange(1, 0))); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%s, wrong password: %v", m, err)
		}
		cancel()
	}
	if SASL("none", "", nil) != nil {
		t.Error("none is some")
	}
}

func TestWrongCompression(t *testing.T) {
	if _, err := New(Config{Compression: "bz2"}); err == nil {
		t.Error("taken")
	}
	for _, name := range []string{"", "none", "gzip", "snappy", "lz4", "zstd"} {
		if _, err := codecOf(name); err != nil {
			t.Error(err)
		}
	}
}
