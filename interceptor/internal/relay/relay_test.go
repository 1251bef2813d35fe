package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/delivery/deliverytest"
	"capstan/interceptor/internal/spool"
	"capstan/interceptor/internal/tlsconf"
	"capstan/pkg/addrtest"
	"capstan/pkg/certtest"
	"capstan/pkg/leaktest"
	"capstan/pkg/logtest"
	"capstan/pkg/netns/netnstest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) {
	_, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) // starts a goroutine of the runtime's, which stays
	stop()
	os.Exit(leaktest.Run(m))
}

// gate is a sink that counts, and waits while it is shut.
type gate struct {
	open chan struct{} // closed: records pass

	mu sync.Mutex
	n  int
}

func newGate(open bool) *gate {
	g := &gate{open: make(chan struct{})}
	if open {
		close(g.open)
	}
	return g
}

func (g *gate) Deliver(ctx context.Context, batch []*delivery.Record) error {
	select {
	case <-g.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += len(batch)
	return nil
}

func (*gate) Close() error { return nil }

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

var discard = slog.New(slog.DiscardHandler)

// served is a relay that runs on a port of loopback.
type served struct {
	*relay
	address string
	stop    func() error
}

func serve(t testing.TB, dir string, size int64, sink delivery.Sink, log *slog.Logger) served {
	t.Helper()
	address := addrtest.Free(t).String()
	c := options{listen: address, drain: 5 * time.Second, queue: delivery.Config{
		Name: "next", RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond, Spool: spool.Options{Dir: dir, MaxBytes: size},
	}}
	r, err := newRelay(c, sink, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }() // ended by stop
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return served{r, address, stop}
}

func connect(t testing.TB, address, node string) *collector.Sink {
	t.Helper()
	s, err := collector.NewSink(collector.SinkConfig{
		Address: address, Node: node, Agent: "test", Credentials: insecure.NewCredentials(), NoCompression: true,
		Dial: func(ctx context.Context, a string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", a)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// deliver delivers a batch as a queue does: until it is taken.
func deliver(t testing.TB, s *collector.Sink, batch []*delivery.Record) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := s.Deliver(context.Background(), batch)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// A spool that is full, or a disk that is, makes the sender wait. Nothing is
// lost, and no restart is needed.
func TestFullSpoolMakesNodesWait(t *testing.T) {
	for _, tt := range []struct {
		name  string
		disk  string // of a tmpfs; empty: none
		spool int64
		mend  string // how the disk gets room; empty: the sink takes records
	}{
		{"spool", "", 3000, ""},
		{"disk", "size=12k", 1 << 30, "size=1m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.disk != "" {
				netnstest.Require(t)
				if err := unix.Mount("tmpfs", dir, "tmpfs", 0, tt.disk); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			}
			g := newGate(false)
			var log logtest.Buffer
			r := serve(t, dir, tt.spool, g, slog.New(slog.NewTextHandler(&log, nil)))
			node := connect(t, r.address, "node-1")
			deliver(t, node, numbered(t, 0))
			sent := make(chan struct{})
			go func() { // ends when all is taken; awaited below
				defer close(sent)
				for n := 1; n <= 1000; n++ {
					deliver(t, node, numbered(t, n))
				}
			}()
			await(t, "a node that waits", func() bool { return strings.Contains(log.String(), "a node has to wait") })
			if st := r.queue.Stats(); st.SpoolFull != 0 || !st.Balanced() {
				t.Errorf("%+v", st)
			}
			if tt.mend != "" {
				if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, tt.mend); err != nil {
					t.Fatal(err)
				}
			}
			close(g.open)
			<-sent
			await(t, "all delivered", func() bool { return g.count() == 1001 })
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			if st := r.queue.Stats(); st.Accepted != 1001 || st.Delivered != 1001 || !st.Balanced() {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Batches that wait for room take memory: where too many would, their senders
// are sent away, and lose nothing by it.
func TestWaitingIsBounded(t *testing.T) {
	g := newGate(false)
	r := serve(t, t.TempDir(), 2000, g, discard)
	r.cfg.waiting = 1
	long := func(n int) []*delivery.Record {
		return deliverytest.Records(t, &capstanv1.Exchange{Id: fmt.Sprint(n), Request: &capstanv1.HttpRequest{Body: &capstanv1.Body{Content: make([]byte, 1200)}}})
	}
	first, second := connect(t, r.address, "first"), connect(t, r.address, "second")
	deliver(t, first, long(1))
	sent := make(chan struct{})
	go func() { // ends when the gate is open; awaited below
		defer close(sent)
		deliver(t, first, long(2))
	}()
	await(t, "a node that waits", func() bool { return r.waiting.Load() > 0 })
	if err := second.Deliver(t.Context(), long(3)); err == nil || !strings.Contains(err.Error(), "too much waits for room") {
		t.Errorf("%v", err)
	}
	close(g.open)
	<-sent
	deliver(t, second, long(3))
	await(t, "all delivered", func() bool { return g.count() == 3 })
	if n := r.waiting.Load(); n != 0 {
		t.Errorf("%d bytes wait", n)
	}
}

// A batch longer than the spool doesn't wait for ever: what of it can be kept is
// kept, and a record that never can is rejected.
func TestBatchLongerThanSpool(t *testing.T) {
	g := newGate(true)
	r := serve(t, t.TempDir(), 2000, g, discard)
	batch := numbered(t, 1, 2, 3)
	batch = append(batch, &delivery.Record{Raw: make([]byte, 3000)})
	batch = append(batch, numbered(t, 4, 5)...)
	node := connect(t, r.address, "n")
	deliver(t, node, numbered(t, 0)) // now it listens
	var reject *delivery.RejectError
	if err := node.Deliver(t.Context(), batch); !errors.As(err, &reject) || reject.Rejected != 1 {
		t.Errorf("%v", err)
	}
	await(t, "the others", func() bool { return g.count() == 6 })
}

// A spool that can't be written is told at the start.
func TestReadOnlySpool(t *testing.T) {
	netnstest.Require(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	_, err := newRelay(options{queue: delivery.Config{Name: "next", Spool: spool.Options{Dir: dir}}}, newGate(true), discard)
	if err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Error(err)
	}
}

// A spool damaged in its newest file costs what follows there, which is told.
func TestDamagedSpool(t *testing.T) {
	dir := t.TempDir()
	g := newGate(false)
	r := serve(t, dir, 1<<20, g, discard)
	r.cfg.drain = time.Millisecond
	node := connect(t, r.address, "n")
	for n := range 100 {
		deliver(t, node, numbered(t, n))
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.spool"))
	if len(files) == 0 {
		t.Fatal("no segment")
	}
	b, err := os.ReadFile(files[0])
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(files[0], b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	g = newGate(true)
	var log logtest.Buffer
	r = serve(t, dir, 1<<20, g, slog.New(slog.NewTextHandler(&log, nil)))
	st := r.queue.Stats()
	await(t, "the rest", func() bool { return uint64(g.count()) == st.Recovered })
	if st.Recovered == 0 || st.Recovered >= 100 {
		t.Errorf("%+v", st)
	}
	if !strings.Contains(log.String(), "the spool's end was not whole") {
		t.Errorf("nobody is told: %s", log.String())
	}
}

// A token that the collector no longer takes is a clear error, and a new one in
// the file is used without a restart. It never travels in plain text.
func TestExpiredToken(t *testing.T) {
	ca := certtest.New(t, "ca")
	dir := t.TempDir()
	files := tlsconf.Files{Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "c.key"), Authorities: certtest.Write(t, dir, "ca.pem", ca.Root)}
	cert, key := ca.Issue(t, "collector", time.Now().Add(time.Hour))
	certtest.Write(t, "", files.Certificate, cert)
	certtest.Write(t, "", files.Key, key)
	token := certtest.Write(t, dir, "token", []byte("old"))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	judge := func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer new" {
			return status.Error(codes.Unauthenticated, "the token has expired")
		}
		return handler(srv, stream)
	}
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(files.Server())), grpc.StreamInterceptor(judge))
	capstanv1.RegisterCollectorServer(g, collector.NewServer(func(context.Context, string, [][]byte) (int, error) { return 0, nil }, collector.Limits{}))
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(l) }() // ended by Stop
	defer func() { g.Stop(); <-done }()

	o := collector.Options{Address: l.Addr().String(), Name: "collector", TLS: files, Token: token, Node: "relay"}
	sink, err := o.Sink("test")
	if err != nil {
		t.Fatal(err)
	}
	var log logtest.Buffer
	r := serve(t, t.TempDir(), 1<<20, sink, slog.New(slog.NewTextHandler(&log, nil)))
	deliver(t, connect(t, r.address, "n"), numbered(t, 1, 2, 3))
	await(t, "an error", func() bool { return strings.Contains(log.String(), "the token has expired") })
	if p := r.problems(); len(p) != 1 {
		t.Errorf("problems: %q", p)
	}
	if strings.Contains(log.String(), "old") {
		t.Error("the token is in the log")
	}
	certtest.Write(t, dir, "token", []byte("new"))
	await(t, "delivered", func() bool { return r.queue.Stats().Delivered == 3 })
	if p := r.problems(); len(p) != 0 {
		t.Errorf("problems: %q", p)
	}

	o.Insecure = true
	if _, err := o.Sink("test"); err == nil {
		t.Error("a token in plain text")
	}
}

// TestManyNodes bounds what 500 connected nodes cost.
func TestManyNodes(t *testing.T) {
	const nodes, limit = 500, 300 << 10 // bytes for each, both sides
	g := newGate(true)
	r := serve(t, t.TempDir(), 1<<30, g, discard)
	before := heap()
	var wg sync.WaitGroup
	for n := range nodes {
		s := connect(t, r.address, fmt.Sprint("node-", n))
		wg.Go(func() {
			for i := range 3 {
				deliver(t, s, numbered(t, n*3+i))
			}
		})
	}
	wg.Wait()
	await(t, "all delivered", func() bool { return g.count() == 3*nodes })
	grown := int(heap()) - int(before)
	report := r.report()
	if len(report.Nodes) != nodes || !report.Ready {
		t.Errorf("%d nodes, ready %t, %q", len(report.Nodes), report.Ready, report.Problems)
	}
	t.Logf("%d KiB for each node, both sides", grown/nodes/1024)
	if grown > nodes*limit {
		t.Errorf("%d bytes for each node, more than %d", grown/nodes, limit)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestAdmin asks what an operator asks.
func TestAdmin(t *testing.T) {
	r, err := newRelay(options{admin: "127.0.0.1:0", queue: delivery.Config{Name: "next", RetryMin: time.Millisecond, Spool: spool.Options{Dir: t.TempDir(), MaxBytes: 1 << 20}}},
		failing{}, discard)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	a, err := startAdmin(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	get := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + a.address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b)
	}
	if status, _ := get("/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	if status, _ := get("/readyz"); status != 200 {
		t.Errorf("readyz: %d", status)
	}
	if err := r.queue.Append(numbered(t, 1)[0].Raw); err != nil {
		t.Fatal(err)
	}
	await(t, "not ready", func() bool { status, _ := get("/readyz"); return status == http.StatusServiceUnavailable })
	var told report
	if _, body := get("/status"); json.Unmarshal([]byte(body), &told) != nil || told.Ready || told.Queue.Spooled != 1 {
		t.Errorf("%+v", told)
	}
	_, body := get("/metrics")
	documented, err := os.ReadFile("../../../docs/relay.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			if !strings.Contains(string(documented), "`"+name+"`") {
				t.Errorf("metric %s is not documented", name)
			}
		}
	}
	for _, want := range []string{`relay_records_total{outcome="accepted"} 1`, "relay_pending_records 1", "relay_failing 1"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}

type failing struct{}

func (failing) Deliver(context.Context, []*delivery.Record) error { return errors.New("down") }
func (failing) Close() error                                      { return nil }

// BenchmarkRelay carries records of 2 KB through a relay: over gRPC, to disk, and
// on to a sink that forgets them.
func BenchmarkRelay(b *testing.B) {
	g := newGate(true)
	r := serve(b, b.TempDir(), 1<<40, g, discard)
	record := deliverytest.Record(b, &capstanv1.Exchange{Id: "0123456789abcdef-1", Request: &capstanv1.HttpRequest{Body: &capstanv1.Body{Content: make([]byte, 2000)}}})
	batch := make([]*delivery.Record, 500)
	for i := range batch {
		batch[i] = record
	}
	s := connect(b, r.address, "n")
	sent := 0
	for b.Loop() {
		deliver(b, s, batch)
		sent += len(batch)
	}
	await(b, "all", func() bool { return g.count() == sent })
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "records/s")
}
