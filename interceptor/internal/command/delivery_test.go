package command

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/sink/otlp/otlptest"
	"capstan/pkg/addrtest"
	"capstan/pkg/certtest"
	capstanv1 "capstan/proto/capstan/v1"
)

// store is a collector's, in memory.
type store struct {
	mu  sync.Mutex
	raw [][]byte
}

func (s *store) take(_ context.Context, _ string, raw [][]byte) (rejected int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range raw {
		s.raw = append(s.raw, bytes.Clone(r))
	}
	return 0, nil
}

func startBroker(t *testing.T, at netip.AddrPort) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "http"),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, at.String()) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// kafkaIDs returns the ids in the topic, of which there are n, and all bytes.
func kafkaIDs(t *testing.T, c *kfake.Cluster, n int) (ids map[string]bool, all []byte) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("http"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ids = map[string]bool{}
	for deadline := time.Now().Add(30 * time.Second); len(ids) < n && time.Now().Before(deadline); {
		for _, r := range client.PollFetches(t.Context()).Records() {
			x := new(capstanv1.Exchange)
			if err := proto.Unmarshal(r.Value, x); err != nil {
				t.Fatal(err)
			}
			ids[x.Id] = true
			all = append(all, r.Value...)
		}
	}
	return ids, all
}

// jsonIDs returns the ids of JSON lines.
func jsonIDs(t *testing.T, text []byte) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for line := range bytes.Lines(text) {
		var x struct{ ID, Body string }
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatal(err)
		}
		ids[x.ID] = true
	}
	return ids
}

func spanIDs(r *otlptest.Receiver) map[string]bool {
	ids := map[string]bool{}
	for _, s := range r.Spans() {
		for _, a := range s.Attributes {
			if a.Key == "capstan.record.id" {
				ids[a.Value.GetStringValue()] = true
			}
		}
	}
	return ids
}

// TestAllSinksHoldTheSame: files, standard output, Kafka, OTLP over gRPC and HTTP
// and a collector get the same records, also those that a broker and a receiver
// were not there for, and none of them a credential.
func TestAllSinksHoldTheSame(t *testing.T) {
	connections, exchanges := 20, 100
	if testing.Short() {
		connections, exchanges = 5, 40
	}
	dir := t.TempDir()
	kept := &store{}
	overGRPC, overHTTP := &otlptest.Receiver{}, &otlptest.Receiver{}
	brokerAddress := addrtest.Free(t)
	file := filepath.Join(dir, "records.ndjson")
	cfg := writeFile(t, fmt.Sprintf(`
mask_header: [X-Customer-Pin]
body_types: [text/*]
drain_timeout: 10s
rules: [{deny: {path: /healthz}}]
sinks:
  - stdout: {format: json}
  - file: {path: %q}
  - name: broker
    spool_dir: %q
    kafka: {brokers: [%q], topic: http}
  - name: spans
    spool_dir: %q
    otlp: {endpoint: %q}
  - name: web
    policy: block
    otlp: {endpoint: %q, protocol: http, compression: none}
  - policy: block
    collector: {address: %q, insecure: true}
`, file, filepath.Join(dir, "spool-kafka"), brokerAddress, filepath.Join(dir, "spool-otlp"), overGRPC.ServeGRPC(t), overHTTP.ServeHTTP(t), serveStore(t, kept.take)))
	for _, name := range []string{"spool-kafka", "spool-otlp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := connections * exchanges * 9 / 10

	// The broker is not there, and one receiver fails.
	overGRPC.Fail = slices.Repeat([]error{grpcstatus.Error(codes.Unavailable, "")}, 3)
	status, stdout, stderr := runCommandLine(t, "read", "--config", cfg, "--ledger", writeCapture(t, 10000, connections, exchanges))
	if status != ExitDone {
		t.Fatalf("status %d\n%s", status, stderr)
	}
	if strings.Contains(stderr, "does not balance") || !strings.Contains(ungrouped(stderr), fmt.Sprintf("records denied by rules: %d\n", connections*exchanges/10)) {
		t.Errorf("the account:\n%s", stderr)
	}
	if !strings.Contains(stderr, "sink broker: ") || !strings.Contains(stderr, "kept on disk") {
		t.Errorf("what an absent broker lacks is not told:\n%s", stderr)
	}
	everything := []byte(stdout + stderr)

	// It comes back; the second capture is another one.
	broker := startBroker(t, brokerAddress)
	status, again, stderr := runCommandLine(t, "read", "--config", cfg, "--drain-timeout", "30s", "--ledger", writeCapture(t, 30000, 1, 10))
	if status != ExitDone || strings.Contains(stderr, "does not balance") || strings.Contains(stderr, "kept on disk") {
		t.Fatalf("status %d\n%s", status, stderr)
	}
	want += 9
	stdout += again
	everything = append(everything, again+stderr...)

	ids := jsonIDs(t, []byte(stdout))
	if len(ids) != want {
		t.Errorf("standard output has %d records, want %d", len(ids), want)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inKafka, values := kafkaIDs(t, broker, want)
	collected := map[string]bool{}
	for _, raw := range kept.raw {
		x := new(capstanv1.Exchange)
		if err := proto.Unmarshal(raw, x); err != nil {
			t.Fatal(err)
		}
		collected[x.Id] = true
		values = append(values, raw...)
	}
	for name, got := range map[string]map[string]bool{
		"file": jsonIDs(t, written), "kafka": inKafka, "otlp by gRPC": spanIDs(overGRPC), "otlp by HTTP": spanIDs(overHTTP), "collector": collected,
	} {
		if !maps.Equal(got, ids) {
			t.Errorf("%s has %d records that are not the same %d", name, len(got), len(ids))
		}
	}
	for _, s := range append(overGRPC.Spans(), overHTTP.Spans()...) {
		values = append(values, s.String()...)
	}
	everything = slices.Concat(everything, written, values)
	if n := bytes.Count(everything, []byte(planted)); n > 0 {
		t.Errorf("credentials are in what was sent, %d times", n)
	}
	if bytes.Contains(everything, []byte("\x89PNG")) {
		t.Error("a body that is not to be kept was sent")
	}
	searchFiles(t, dir)
}

// ungrouped is an account with its numbers as fmt prints them.
func ungrouped(account string) string { return strings.ReplaceAll(account, ",", "") }

// searchFiles looks for credentials in all files below dir.
func searchFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if bytes.Contains(text, []byte(planted)) {
			t.Errorf("credentials are in %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKafkaOverTLS: with a password, a certificate for a name of its own, and
// files that don't fit.
func TestKafkaOverTLS(t *testing.T) {
	ca, dir := certtest.New(t, "brokers"), t.TempDir()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "http"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "capstan", planted),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "broker")}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	root := certtest.Write(t, dir, "ca.pem", ca.Root)
	password := certtest.Write(t, dir, "password", []byte(planted+"\n"))
	const format = "drain_timeout: 30s\nsinks: [{policy: block, kafka: {brokers: [%q], topic: http, format: json, tls: {enabled: true, ca: %q, server_name: broker}, sasl: {mechanism: plain, user: capstan, password_file: %q}}}]\n"
	config := writeFile(t, fmt.Sprintf(format, broker.ListenAddrs()[0], root, password))
	if status, _, stderr := runCommandLine(t, "read", "--config", config, "--ledger", writeCapture(t, 10000, 1, 10)); status != ExitDone || !strings.Contains(stderr, "sink kafka: 10 records, 10 delivered\n") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	config = writeFile(t, fmt.Sprintf(format, broker.ListenAddrs()[0], filepath.Join(dir, "missing"), password))
	if status, _, stderr := runCommandLine(t, "read", "--config", config, "x"); status != ExitCannotStart || !strings.Contains(stderr, "sink kafka: tls: ") {
		t.Errorf("status %d\n%s", status, stderr)
	}
}
