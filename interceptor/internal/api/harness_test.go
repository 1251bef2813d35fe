package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/delivery/deliverytest"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/source"
	"capstan/interceptor/internal/watch"
	"capstan/pkg/leaktest"
	"capstan/pkg/logtest"
	"capstan/pkg/rpcap"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) {
	if socket := os.Getenv(clientVariable); socket != "" {
		os.Exit(clientProcess(socket))
	}
	os.Exit(leaktest.Run(m))
}

// fakeSource is a capture that does what it is told.
type fakeSource struct {
	mu       sync.Mutex
	settings source.Settings
	err      error
}

func (f *fakeSource) Settings() source.Settings {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settings
}

func (f *fakeSource) Set(_ context.Context, to source.Settings) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	reopened := f.settings.Device != to.Device
	f.settings = to
	if reopened {
		return 5 * time.Millisecond, nil
	}
	return 0, nil
}

func (f *fakeSource) Interfaces(context.Context) ([]rpcap.Interface, error) {
	if f.err != nil {
		return nil, f.err
	}
	return []rpcap.Interface{{Name: "eth0\xff", Description: "d", Flags: rpcap.InterfaceUp | rpcap.InterfaceRunning,
		Addresses: []rpcap.InterfaceAddress{{Addr: netip.MustParseAddr("10.0.0.1")}}}}, nil
}

// buffer collects log lines.
type buffer struct{ logtest.Buffer }

// events returns the audit lines of an event.
func (b *buffer) events(t *testing.T, event string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == "audit" && m["event"] == event {
			found = append(found, m)
		}
	}
	return found
}

const sourceName = "rpcap://h/eth0"

// rig is a served API.
type rig struct {
	hub    *watch.Hub
	source *fakeSource
	log    buffer
	server *Server
	socket string
}

func newRig(t *testing.T, c watch.Config, roles Roles) *rig {
	t.Helper()
	r := &rig{hub: watch.New(c), source: &fakeSource{settings: source.Settings{Device: "eth0"}}}
	l := ledger.Ledger{Name: sourceName, Live: true}
	l.Source.Frames, l.Source.ServerDropped, l.Source.Connected = 10, 3, true
	l.Source.Outages = []source.Outage{{From: time.Unix(1, 0), To: time.Unix(2, 0), Reason: "gone"}}
	l.Engine.Frames, l.Engine.Bytes = 10, 1000
	l.Engine.Outcomes[0] = 10
	l.Engine.Reassembly.GapBytes, l.Engine.Reassembly.QueuedBytes = 9, 7
	l.Engine.Protocols[engine.TLS] = engine.ProtocolStats{Connections: 2, Active: 1, Bytes: 400}
	var err error
	r.server, err = New(Config{
		Hub: r.hub, Roles: roles, Version: "v1", Log: slog.New(slog.NewJSONHandler(&r.log, nil)),
		Backend: Backend{
			Ledgers: func() []ledger.Ledger { return []ledger.Ledger{l} },
			Output: func() ledger.Output {
				return ledger.Output{Emitted: 4, Sinks: []delivery.SinkStats{{Name: "file", Stats: delivery.Stats{
					Accepted: 4, Delivered: 2, Queued: 2, QueuedBytes: 20, Kind: "file", Policy: delivery.Spool, MaxRecords: 100, MaxBytes: 1000, MaxSpoolBytes: 5000,
				}}}}
			},
			Sources: func() map[string]Source { return map[string]Source{sourceName: r.source} }, MemoryLimit: 1 << 40,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "api") // short, and open to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.socket = filepath.Join(dir, "s")
	if err := r.server.ListenUnix(r.socket, 0o666, -1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.hub.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.server.Stop(ctx)
	})
	return r
}

// client connects to the socket.
func (r *rig) client(t *testing.T) capstanv1.InterceptorClient {
	t.Helper()
	return capstanv1.NewInterceptorClient(dial(t, "unix:"+r.socket, grpc.WithTransportCredentials(insecure.NewCredentials())))
}

func dial(t *testing.T, target string, o ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (r *rig) push(t *testing.T, x *capstanv1.Exchange) {
	t.Helper()
	r.hub.Push(deliverytest.Record(t, x))
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
