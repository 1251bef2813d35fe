package siblings

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"capstan/tools/chart/internal/chart"
)

// The ports on this host that the test's pods listen on.
const (
	relayPort, relayAdmin         = 24417, 24418
	collectorPort, collectorAdmin = 24427, 24428
)

// relayName is what the relay's certificate has.
const relayName = "capstan-relay.capstan-system.svc"

// tunnels is an HTTP proxy whose every tunnel leads to one address, and which
// tells what was asked for.
type tunnels struct {
	to   string
	host atomic.Value // that the last tunnel was asked for
}

func (p *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

// secrets writes the secrets that the chart generates as files, and returns
// the directories by the secrets' names.
func secrets(t *testing.T, group int) map[string]string {
	t.Helper()
	c, err := chart.Load(repository + "/manifests/charts/capstan")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Render("")
	if err != nil {
		t.Fatal(err)
	}
	directories := make(map[string]string)
	for _, text := range r.Objects {
		var s corev1.Secret
		if err := yaml.Unmarshal([]byte(text), &s); err != nil || s.Kind != "Secret" {
			continue
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, data := range s.Data {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, data, 0o440); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, 0, group); err != nil {
				t.Fatal(err)
			}
		}
		directories[s.Name] = dir
	}
	return directories
}

// onHost makes a pod run beside others of its kind on this host: in its
// network, its secrets from files.
func onHost(t *testing.T, spec *corev1.PodSpec, directories map[string]string) {
	t.Helper()
	spec.HostNetwork = true
	asKubelet(t, spec)
	for i := range spec.Volumes {
		if s := spec.Volumes[i].Secret; s != nil {
			spec.Volumes[i].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: directories[s.SecretName]}}
		}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		c.Ports = nil          // the host's network has them all
		c.ReadinessProbe = nil // podman knows none
		for j := range c.Env {
			if c.Env[j].ValueFrom != nil { // nor nodes
				c.Env[j] = corev1.EnvVar{Name: c.Env[j].Name, Value: "this-node"}
			}
		}
	}
}

// TestRelayThroughProxy runs all of the chart: sensor, relay, and as the
// collector outside a relay that writes files. An exchange gets there, through
// the proxy; relay is user 1000 and can't write to its root.
func TestRelayThroughProxy(t *testing.T) {
	p := requirePodman(t)
	p.buildImages()
	directories := secrets(t, 1000)

	collector := podOf(t, "relay", fmt.Sprintf("{image: {registry: localhost}, relay: {port: %d}, monitoring: {relayPort: %d}}", collectorPort, collectorAdmin))
	onHost(t, &collector, directories)
	p.play(t, "collector", collector)

	proxy := &tunnels{to: fmt.Sprintf("127.0.0.1:%d", collectorPort)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: proxy}
	go server.Serve(listener) // ended by Close
	t.Cleanup(func() { server.Close() })

	relay := podOf(t, "relay", fmt.Sprintf(`
image: {registry: localhost}
httpsProxy: %s
monitoring: {relayPort: %d}
relay:
  port: %d
  collector: {address: "collector.example.com:443", serverName: %s, tlsSecret: capstan-interceptor-tls}
`, listener.Addr(), relayAdmin, relayPort, relayName))
	onHost(t, &relay, directories)
	p.play(t, "relay", relay)

	sensor := podOf(t, "interceptor", fmt.Sprintf(`
image: {registry: localhost}
interceptor: {extraArgs: ["--collector=127.0.0.1:%d", "--collector-name=%s"]}
`, relayPort, relayName))
	onHost(t, &sensor, directories)
	p.play(t, "sensor", sensor)

	for pod, spec := range map[string]corev1.PodSpec{"collector": collector, "relay": relay, "sensor": sensor} {
		for _, c := range spec.Containers {
			eventually(t, promised, pod+"'s probe succeeds", func() bool { return p.probe(pod, c) == nil })
		}
	}
	var records string
	for _, v := range collector.Volumes {
		if v.Name == "data" {
			records = filepath.Join(v.HostPath.Path, "records", "records.ndjson")
		}
	}
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
	checkConfined(t, p, "relay-relay")
	for _, name := range []string{"collector", "relay"} {
		clean(t, name, p.logs(name, "relay"))
	}
}

// checkConfined holds what the kernel says of a container's process.
func checkConfined(t *testing.T, p *podman, name string) {
	t.Helper()
	pid := strings.TrimSpace(p.must("podman", "inspect", "--format={{.State.Pid}}", name))
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t1000\t1000\t1000\t1000\n", "Gid:\t1000\t1000\t1000\t1000\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in its status", want)
		}
	}
	mounts, err := os.ReadFile("/proc/" + pid + "/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == "/" && !strings.HasPrefix(f[3], "ro") {
			t.Errorf("its root is %s", line)
		}
	}
}
