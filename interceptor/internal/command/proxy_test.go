package command

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/own"
	"capstan/interceptor/internal/sink/otlp/otlptest"
)

// elsewhere is an address that is nobody's (RFC 5737). Loopback is never reached
// by a proxy.
const elsewhere = "192.0.2.1"

// tunnels is a proxy by which elsewhere is loopback.
type tunnels struct {
	mu sync.Mutex
	to []string
}

func (p *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
	if r.Method != http.MethodConnect || user != "user" || password != planted {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	p.mu.Lock()
	p.to = append(p.to, r.Host)
	p.mu.Unlock()
	to, err := net.Dial("tcp", strings.Replace(r.Host, elsewhere, "127.0.0.1", 1))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = to.Close()
		return
	}
	go func() { // ended by to.Close
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}()
	_, _ = io.Copy(to, from)
	_ = to.Close()
}

func (p *tunnels) has(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.to, address)
}

// distant is a listener that says that it is elsewhere.
type distant struct{ net.Listener }

func (d distant) Addr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(elsewhere), Port: d.Listener.Addr().(*net.TCPAddr).Port}
}

// TestSinksByProxy: all of Kafka, and OTLP, reach what only a proxy does.
func TestSinksByProxy(t *testing.T) {
	proxy := &tunnels{}
	server := httptest.NewServer(proxy)
	defer server.Close()
	url := fmt.Sprintf("http://user:%s@%s", planted, server.Listener.Addr())
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "http"), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return distant{l}, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	overGRPC, overHTTP := &otlptest.Receiver{}, &otlptest.Receiver{}
	far := func(address string) string { return strings.Replace(address, "127.0.0.1", elsewhere, 1) }
	brokerAddress, grpcAddress, httpAddress := broker.ListenAddrs()[0], far(overGRPC.ServeGRPC(t)), far(overHTTP.ServeHTTP(t))
	cfg := writeFile(t, fmt.Sprintf(`
drain_timeout: 30s
sinks:
- {policy: block, kafka: {brokers: [%q], topic: http, proxy: {url: %q}}}
- {name: a, policy: block, otlp: {endpoint: %q, proxy: {url: %q}}}
- {name: b, policy: block, otlp: {endpoint: %q, protocol: http, proxy: {url: %q}}}
`, brokerAddress, url, grpcAddress, url, httpAddress, url))
	status, _, stderr := runCommandLine(t, "read", "--config", cfg, "--ledger", writeCapture(t, 10000, 1, 10))
	if status != ExitDone || strings.Count(stderr, ": 10 records, 10 delivered\n") != 3 || strings.Contains(stderr, planted) {
		t.Fatalf("status %d\n%s", status, stderr)
	}
	for _, address := range []string{brokerAddress, grpcAddress, strings.TrimPrefix(httpAddress, "http://")} {
		if !proxy.has(address) {
			t.Errorf("%s was not reached by the proxy", address)
		}
	}
	if _, shown, _ := runCommandLine(t, "config", "show", cfg); strings.Contains(shown, planted) {
		t.Errorf("a password is shown:\n%s", shown)
	}
}

// TestProxyOfTheEnvironment: it is for what is secured, unless another is named.
func TestProxyOfTheEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("NO_PROXY", "")
	o := &outlets{own: own.New(), log: slog.New(slog.DiscardHandler)}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		proxy       config.Proxy
		environment bool
		want        string
	}{
		{config.Proxy{}, false, "dial tcp " + elsewhere},
		{config.Proxy{}, true, "proxy 127.0.0.1:1: "},
		{config.Proxy{URL: "127.0.0.1:2"}, false, "proxy 127.0.0.1:2: "},
		{config.Proxy{URL: "127.0.0.1:2"}, true, "proxy 127.0.0.1:2: "},
		{config.Proxy{URL: "127.0.0.1:2", NoProxy: elsewhere}, false, "dial tcp " + elsewhere},
	} {
		dial, err := o.dialBy(&tc.proxy, tc.environment)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dial(ended, "tcp", elsewhere+":9"); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%+v, %v: %v, want %s", tc.proxy, tc.environment, err, tc.want)
		}
	}
	for _, wrong := range []config.Proxy{{URL: "socks5://h:1"}, {URL: "h:1", CA: "/nowhere"}} {
		if _, err := o.dialBy(&wrong, false); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}
