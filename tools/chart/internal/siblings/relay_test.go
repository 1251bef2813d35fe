package siblings

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// relayName is what the relay's certificate has.
const relayName = "capstan-relay.capstan-system.svc"

// credentials are what the proxy wants.
const credentials = "relay:s3cret"

// tunnels is an HTTP proxy whose every tunnel leads to one address, and which
// tells what was asked for.
type tunnels struct {
	to   string
	host atomic.Value // that the last tunnel was for
}

func (p *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)) {
		w.Header().Set("Proxy-Authenticate", "Basic")
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		http.Error(w, "tunnels only", http.StatusMethodNotAllowed)
		return
	}
	p.host.Store(r.Host)
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	go func() { // ends with either connection
		_, _ = io.Copy(server, buffered)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// freePorts returns TCP ports that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are known, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// beside makes a pod run beside others of its kind on this host: in its
// network, without a bridge, which would need netfilter.
func (p *pod) beside() {
	p.HostNetwork = true
	for i := range p.Containers {
		p.Containers[i].Ports = nil // the host's network has them all
	}
}

// TestRelayThroughProxy runs all of the chart: sensor, relay, and as the
// collector outside a relay that writes files. An exchange gets there, through
// a proxy that wants a password; relay is user 1000 and can't write to its
// root.
func TestRelayThroughProxy(t *testing.T) {
	p := requirePodman(t)
	p.buildImages()
	ports := freePorts(t, 4)
	outside := render(t, fmt.Sprintf("relay: {port: %d}\nmonitoring: {relayPort: %d}\n", ports[0], ports[1]))
	collector := outside.pod(t, "relay")
	collector.beside()
	p.play(t, "collector", collector)

	proxy := &tunnels{to: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")

	inside := render(t, fmt.Sprintf(`
httpsProxy: %s
httpsProxySecret: proxy
monitoring: {relayPort: %d}
relay:
  port: %d
  collector: {address: "collector.example.com:443", serverName: %s, tlsSecret: capstan-interceptor-tls}
interceptor: {extraArgs: ["--collector=127.0.0.1:%d", "--collector-name=%s"]}
`, address, ports[3], ports[2], relayName, ports[2], relayName))
	inside.files["proxy"] = map[string][]byte{"httpsProxy": []byte("http://" + credentials + "@" + address)}
	// One authority for all.
	for name := range outside.files {
		inside.files[name] = outside.files[name]
	}
	relay, sensor := inside.pod(t, "relay"), inside.pod(t, "interceptor")
	relay.beside()
	p.play(t, "relay", relay)
	p.play(t, "sensor", sensor)

	for name, pod := range map[string]*pod{"collector": collector, "relay": relay, "sensor": sensor} {
		for _, c := range pod.Containers {
			eventually(t, promised, name+"'s probe succeeds", func() bool { return p.probe(name, c) == nil })
		}
	}
	records := filepath.Join(collector.volumes["data"], "records.ndjson")
	tr := newTraffic(t)
	path := fmt.Sprintf("/delivered/%d", os.Getpid())
	eventually(t, promised, "the collector has an exchange", func() bool {
		tr.get(path)
		text, err := os.ReadFile(records)
		return err == nil && strings.Contains(string(text), path)
	})
	if host := proxy.host.Load(); host != "collector.example.com:443" {
		t.Errorf("the proxy was asked for %v", host)
	}
	p.tryNotes(t, inside.notes, map[string]string{"daemonset/capstan-interceptor": "sensor", "deployment/capstan-relay": "relay"}, "logs", "exec", "exec")
	p.checkConfined(t, "relay-relay")
	p.checkListeners(t, "relay-relay", "*:"+strconv.Itoa(ports[2]), "127.0.0.1:"+strconv.Itoa(ports[3]))
	p.checkListeners(t, "sensor-rpcapd")
	p.checkListeners(t, "sensor-interceptor")
	for _, name := range []string{"collector-relay", "relay-relay"} {
		pod, container, _ := strings.Cut(name, "-")
		log := p.logs(pod, container)
		clean(t, name, log)
		if strings.Contains(log, "s3cret") {
			t.Errorf("%s tells the proxy's password", name)
		}
	}
}
