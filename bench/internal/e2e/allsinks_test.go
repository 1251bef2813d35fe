package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	capstanv1 "capstan/proto/capstan/v1"
)

// exchangesVariable says how many exchanges TestEverySinkLive has.
const exchangesVariable = "CAPSTAN_EXCHANGES"

// watching is a client of the API that follows the records.
type watching struct {
	ids     map[string]bool
	records int
	skipped uint64
	err     error
	done    chan struct{}
}

// watch follows until the stream ends. After the first record it waits for goOn,
// unless that is nil.
func watch(t *testing.T, c capstanv1.InterceptorClient, goOn <-chan struct{}) *watching {
	t.Helper()
	stream, err := c.Watch(t.Context(), &capstanv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil { // it has begun
		t.Fatal(err)
	}
	w := &watching{ids: map[string]bool{}, done: make(chan struct{})}
	go func() { // ends with the stream
		defer close(w.done)
		for {
			e, err := stream.Recv()
			if err != nil {
				w.err = err
				return
			}
			w.skipped += e.GetLagged().GetSkipped()
			if x := e.GetExchange(); x != nil {
				if raw, err := proto.Marshal(x); err == nil {
					checkNoCredential(t, "a watcher", raw)
				}
				w.records++
				w.ids[x.GetExchange().GetId()] = true
			}
			if goOn != nil {
				<-goOn
			}
		}
	}()
	return w
}

// everySink is a configuration with all kinds of sinks. Only "lossy" may lose
// records: what its small queue can't hold.
func everySink(dir string) string {
	return fmt.Sprintf(`
drain_timeout: 20s
sinks:
- stdout: {format: json}
- name: plain
  file: {path: %[1]q, rotate_size: 1MiB}
- name: packed
  file: {path: %[2]q, zstd: true}
- name: broker
  spool_dir: %[3]q
  kafka: {brokers: [%[6]q], topic: whole}
- name: lossy
  policy: drop-oldest
  max_records: 50
  kafka: {brokers: [%[6]q], topic: lossy}
- name: spans
  spool_dir: %[4]q
  otlp: {endpoint: %[7]q}
- name: web
  spool_dir: %[5]q
  otlp: {endpoint: "http://%[8]s", protocol: http, compression: none}
`, filepath.Join(dir, "plain.ndjson"), filepath.Join(dir, "packed.ndjson"),
		filepath.Join(dir, "spool-broker"), filepath.Join(dir, "spool-spans"), filepath.Join(dir, "spool-web"), brokerAddr, grpcAddr, httpAddr)
}

// exchanges is how many exchanges a run has.
func exchanges(t *testing.T) int {
	t.Helper()
	if text := os.Getenv(exchangesVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 1_000
	}
	return 5_000
}

// TestEverySinkLive: what a real rpcapd captures reaches all sinks and watchers,
// while broker and receiver are killed and brought back. Nothing is lost that is
// spooled, and what is dropped by policy is counted. What the sinks send crosses
// the captured interface in plain text.
func TestEverySinkLive(t *testing.T) {
	n := exchanges(t)
	network, dir := newNetwork(t), t.TempDir()
	socket, api := filepath.Join(dir, "rpcapd.sock"), filepath.Join(dir, "api.sock")
	kafka := &broker{t: t, ns: network.client, dir: filepath.Join(dir, "broker")}
	kafka.start()
	otlp := newReceiver(t, network.client)
	otlp.start()
	t.Cleanup(func() { otlp.kill() })
	startRpcapd(t, network.server, "--unix-socket", socket, "--ring-size", "128")
	config := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(config, []byte(everySink(dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	records := filepath.Join(dir, "stdout")
	stdout, err := os.Create(records)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	interceptor := start(t, network.server, stdout, "interceptor", "run", "--source", unixSource(socket, "any"), "--config", config,
		"--api-socket", api, "--watch-records", fmt.Sprint(n/2), "--watch-bytes", fmt.Sprint(1<<30))
	eventually(t, "interceptor captures", func() bool { return strings.Contains(interceptor.stderr.String(), "msg=capturing") })
	client := apiClient(t, api)
	goOn := make(chan struct{})
	fast, slow := watch(t, client, nil), watch(t, apiClient(t, api), goOn)

	tr := &traffic{connections: 20, requests: n, pause: 5 * time.Millisecond}
	done := make(chan struct{})
	go func() { // ends by itself
		defer close(done)
		tr.run(t, network.server, network.client, serverIP+":8080")
	}()
	for _, step := range []struct {
		percent int
		do      func()
	}{{10, kafka.kill}, {40, kafka.start}, {50, otlp.kill}, {80, otlp.start}} {
		eventuallyWithin(t, 5*time.Minute, fmt.Sprintf("%d %% of the traffic", step.percent), func() bool { return tr.begun() >= n*step.percent/100 })
		step.do()
	}
	<-done
	status := settled(t, client, n)
	close(goOn)
	total := int(status.GetExchanges())
	eventually(t, "everything works again", func() bool {
		s, err := client.GetStatus(t.Context(), &capstanv1.GetStatusRequest{})
		return err == nil && s.GetReady()
	})
	ledger, err := client.GetLedger(t.Context(), &capstanv1.GetLedgerRequest{})
	if err != nil || !ledger.GetBalanced() {
		t.Errorf("%v, %v", err, ledger)
	}
	if code := interceptor.signal(syscall.SIGINT); code != 0 { // what was dropped was chosen to be
		t.Errorf("interceptor ended with %d", code)
	}
	<-fast.done
	<-slow.done

	tr.compare(t, readRecords(t, records))
	want := lineIDs(t, readFiles(t, records))
	if len(want) != total {
		t.Errorf("%d records on standard output, %d by the status", len(want), total)
	}
	for _, pattern := range []string{records, filepath.Join(dir, "plain*"), filepath.Join(dir, "spool-*", "*"), filepath.Join(dir, "broker", "*")} {
		checkNoCredential(t, pattern, readFiles(t, pattern))
	}
	checkNoCredential(t, "standard error", []byte(interceptor.stderr.String()))
	lossy := sinkNamed(t, status, "lossy")
	if lossy.GetDropped() == 0 || lossy.GetDropped()+lossy.GetDelivered() != uint64(total) {
		t.Errorf("%v", lossy)
	}
	packed := unpack(t, readFiles(t, filepath.Join(dir, "packed*")))
	checkNoCredential(t, "the packed file", packed)
	for name, got := range map[string]map[string]bool{
		"plain file": lineIDs(t, readFiles(t, filepath.Join(dir, "plain*"))), "packed file": lineIDs(t, packed),
		"kafka": kafka.ids(wholeTopic, total), "otlp by gRPC": otlp.spans[0], "otlp by HTTP": otlp.spans[1], "fast watcher": fast.ids,
	} {
		if !maps.Equal(got, want) {
			t.Errorf("%s has %d records that are not the same %d", name, len(got), len(want))
		}
	}
	if got := kafka.ids(lossyTopic, int(lossy.GetDelivered())); uint64(len(got)) != lossy.GetDelivered() {
		t.Errorf("%d records are in the lossy topic, %d are said to be", len(got), lossy.GetDelivered())
	}
	if fast.skipped != 0 || slow.skipped == 0 || slow.records+int(slow.skipped) != total || slow.err != io.EOF {
		t.Errorf("the fast watcher missed %d, the slow one %d and got %d of %d: %v", fast.skipped, slow.skipped, slow.records, total, slow.err)
	}
	for by, measured := range otlp.measured {
		if measured < uint64(n) {
			t.Errorf("%d: histograms of %d requests, want %d", by, measured, n)
		}
	}
	if said := interceptor.stderr.String(); strings.Contains(said, "does not balance") || !strings.Contains(said, "of what the sinks send: left out") {
		t.Error("the account")
	}
	t.Logf("%s", interceptor.stderr.String())
}

// apiClient returns a client with a connection of its own. What is on the way to
// it is bounded, so that one that doesn't read lags.
func apiClient(t *testing.T, socket string) capstanv1.InterceptorClient {
	t.Helper()
	const window = 64 << 10
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return capstanv1.NewInterceptorClient(conn)
}

// settled waits until every sink has got rid of all n exchanges, and returns the
// status then.
func settled(t *testing.T, c capstanv1.InterceptorClient, n int) (s *capstanv1.GetStatusResponse) {
	t.Helper()
	eventuallyWithin(t, 2*time.Minute, "the sinks have all records", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var err error
		if s, err = c.GetStatus(ctx, &capstanv1.GetStatusRequest{}); err != nil {
			t.Fatal(err)
		}
		for _, sink := range s.GetSinks() {
			if sink.GetAccepted() < uint64(n) || sink.GetQueued()+sink.GetSpooled() > 0 {
				return false
			}
		}
		return true
	})
	for _, sink := range s.GetSinks() {
		t.Logf("%v", sink)
		if sink.GetName() != "lossy" && sink.GetDelivered() != s.GetExchanges() {
			t.Errorf("%v of %d records", sink, s.GetExchanges())
		}
	}
	return s
}

func sinkNamed(t *testing.T, s *capstanv1.GetStatusResponse, name string) *capstanv1.SinkStatus {
	t.Helper()
	for _, sink := range s.GetSinks() {
		if sink.GetName() == name {
			return sink
		}
	}
	t.Fatalf("no sink %s", name)
	return nil
}

// readFiles returns what is in all files of a pattern.
func readFiles(t *testing.T, pattern string) (all []byte) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatal(pattern, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, syscall.EISDIR) {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

func unpack(t *testing.T, packed []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// lineIDs returns the ids of JSON lines, of which no two are the same.
func lineIDs(t *testing.T, text []byte) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for line := range bytes.Lines(text) {
		var r struct{ ID string }
		if err := json.Unmarshal(line, &r); err != nil || ids[r.ID] {
			t.Fatalf("%v, or twice: %s", err, line)
		}
		ids[r.ID] = true
	}
	return ids
}
