package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestWhatSinksSendIsNotReported: spans go in plain text over the interface that
// is captured. Each exchange is told once, and the exports end with the traffic.
// Meanwhile a changed configuration adds a sink, and no connection is lost.
func TestWhatSinksSendIsNotReported(t *testing.T) {
	network := newNetwork(t)
	dir := t.TempDir()
	socket := filepath.Join(dir, "rpcapd.sock")
	rpcapd := startRpcapd(t, network.server, "--unix-socket", socket)
	var exports atomic.Int64
	arrived := make(chan struct{})
	listener, err := network.server.Listen("tcp", "127.0.0.1:4318")
	if err != nil {
		t.Fatal(err)
	}
	receiver := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if exports.Add(1) == 4 {
			close(arrived)
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = receiver.Serve(listener) }) // ended by Close
	defer serving.Wait()
	defer receiver.Close()

	file, added := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "added.ndjson")
	const before = "sinks:\n- otlp: {endpoint: 'http://127.0.0.1:4318', protocol: http, compression: none}\n"
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write(before)
	interceptor, records := startInterceptor(t, network.server, []string{unixSource(socket, "lo")}, "--config", file)
	tr := &traffic{connections: 5, requests: 500, pause: time.Millisecond}
	changed := make(chan struct{})
	go func() { // ends by itself
		defer close(changed)
		select {
		case <-arrived:
		case <-t.Context().Done():
			return
		}
		write(before + fmt.Sprintf("- file: {path: %q}\n", added))
		if err := interceptor.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Error(err)
		}
	}()
	tr.run(t, network.server, network.server, "127.0.0.1:8080")
	<-changed
	eventually(t, "the configuration changes", func() bool { return strings.Contains(interceptor.stderr.String(), "configuration changed") })
	// Each export would cause the next: they have to come to an end.
	last := int64(-1)
	eventually(t, "exports end", func() bool {
		now := exports.Load()
		time.Sleep(200 * time.Millisecond)
		ended := now == last
		last = now
		return ended
	})
	if status := interceptor.signal(syscall.SIGINT); status != 0 {
		t.Errorf("interceptor ended with %d", status)
	}
	if status := rpcapd.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("rpcapd ended with %d", status)
	}
	tr.compare(t, readRecords(t, records))
	said := interceptor.stderr.String()
	if !strings.Contains(said, "records of what the sinks send: left out") || strings.Contains(said, "does not balance") {
		t.Error("the account doesn't tell what was left out")
	}
	if _, err := os.Stat(added); err != nil {
		t.Error(err)
	}
}
