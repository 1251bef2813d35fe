package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/pkg/certtest"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// cluster is nodes, a relay, a proxy and a collector, each a host of its own.
// Only the proxy has cables to both relay and collector, and it forwards no
// packets.
//
//	node 10.98.N.2 ── 10.98.N.1 relay 10.97.1.1 ── 10.97.1.2 proxy 10.97.2.1 ── 10.97.2.2 collector
type cluster struct {
	t                       *testing.T
	nodes                   []*netns.NS
	relay, proxy, collector *netns.NS
	dir                     string
	running                 map[string]*process
}

const (
	relayPort, collectorPort, proxyPort = "4417", "4417", "3128"
	proxyURL                            = "http://capstan:s3cret@10.97.1.2:" + proxyPort
	spoolLimit                          = 32 << 20
)

func newCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	netnstest.Require(t)
	netnstest.RequireProgram(t, "tinyproxy")
	c := &cluster{t: t, relay: netnstest.New(t), proxy: netnstest.New(t), collector: netnstest.New(t), dir: t.TempDir(), running: make(map[string]*process)}
	cable := func(a *netns.NS, aName, aAddr string, b *netns.NS, bName, bAddr string) {
		t.Helper()
		if err := netns.Veth(a, aName, b, bName); err != nil {
			t.Fatal(err)
		}
		for _, end := range []struct {
			ns         *netns.NS
			name, addr string
		}{{a, aName, aAddr}, {b, bName, bAddr}} {
			if err := end.ns.AddAddr(end.name, netip.MustParsePrefix(end.addr+"/24")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range nodes {
		node := netnstest.New(t)
		cable(node, "eth0", fmt.Sprintf("10.98.%d.2", n), c.relay, fmt.Sprint("node", n), fmt.Sprintf("10.98.%d.1", n))
		c.nodes = append(c.nodes, node)
	}
	cable(c.relay, "out", "10.97.1.1", c.proxy, "in", "10.97.1.2")
	cable(c.proxy, "out", "10.97.2.1", c.collector, "in", "10.97.2.2")
	c.writeFiles()
	return c
}

// writeFiles writes certificates and the proxy's configuration.
func (c *cluster) writeFiles() {
	c.t.Helper()
	ca := certtest.New(c.t, "cluster")
	certtest.Write(c.t, c.dir, "ca.pem", ca.Root)
	for _, name := range []string{"relay", "collector", "node", "expired"} {
		end := time.Now().Add(time.Hour)
		if name == "expired" {
			end = time.Now().Add(-time.Minute)
		}
		cert, key := ca.Issue(c.t, name, end)
		certtest.Write(c.t, c.dir, name+".pem", cert)
		certtest.Write(c.t, c.dir, name+".key", key)
	}
	certtest.Write(c.t, c.dir, "proxy.conf", []byte("Port "+proxyPort+"\nListen 10.97.1.2\nTimeout 60\nBasicAuth capstan s3cret\nConnectPort "+collectorPort+"\nMaxClients 20\n"))
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

// start starts a part that isn't running. Parts come back with what they had
// on disk.
func (c *cluster) start(part string) {
	c.t.Helper()
	switch part {
	case "proxy":
		c.running[part] = startProgram(c.t, c.proxy, exec.Command("tinyproxy", "-d", "-c", c.file("proxy.conf")))
	case "collector":
		c.makeDir("records")
		c.running[part] = start(c.t, c.collector, nil, "relay", "sink", "--listen", "10.97.2.2:"+collectorPort,
			"--tls-cert", c.file("collector.pem"), "--tls-key", c.file("collector.key"), "--tls-client-ca", c.file("ca.pem"),
			"--spool-dir", c.file("collector-spool"), "--directory", c.file("records"))
	case "relay":
		c.running[part] = c.startRelay(proxyURL)
	}
}

func (c *cluster) makeDir(name string) {
	c.t.Helper()
	if err := os.MkdirAll(c.file(name), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) startRelay(proxy string, args ...string) *process {
	c.t.Helper()
	return start(c.t, c.relay, nil, "relay", append([]string{"run", "--listen", ":" + relayPort,
		"--tls-cert", c.file("relay.pem"), "--tls-key", c.file("relay.key"), "--tls-client-ca", c.file("ca.pem"),
		"--spool-dir", c.file("relay-spool"), "--spool-size", strconv.Itoa(spoolLimit), "--drain-timeout", "20s",
		"--collector", "10.97.2.2:" + collectorPort, "--collector-name", "collector", "--collector-ca", c.file("ca.pem"),
		"--collector-cert", c.file("relay.pem"), "--collector-key", c.file("relay.key"), "--https-proxy", proxy}, args...)...)
}

// kill kills a part, as a crash does.
func (c *cluster) kill(part string) {
	p := c.running[part]
	_ = p.cmd.Process.Kill()
	<-p.done
}

// startProgram starts a program that isn't ours in a namespace and sees to its
// end.
func startProgram(t *testing.T, ns *netns.NS, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stderr, &p.stderr
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the program
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, p.stderr.String())
		}
	})
	return p
}

// capture makes a capture file of so many exchanges and returns it with the ids
// that an interceptor gives them.
func (c *cluster) capture(n, exchanges int) (file string, ids map[string]bool) {
	c.t.Helper()
	file = c.file(fmt.Sprintf("node%d.pcapng", n))
	if status := start(c.t, nil, nil, "bench", "generate", "-w", file, "--kind", "http1", "--seed", fmt.Sprint(n+1),
		"--connections", fmt.Sprint(exchanges/10), "--exchanges", "10", "--flows", "20", "--response-len", "300").wait(); status != 0 {
		c.t.Fatal("no capture file")
	}
	p := start(c.t, nil, nil, "interceptor", "read", file, "--output", "json", "--body-limit", "0")
	if p.wait() != 0 {
		c.t.Fatal("the capture file can't be read")
	}
	ids = make(map[string]bool)
	for _, r := range parseRecords(c.t, p.stdout.Bytes()) {
		ids[r.ID] = true
	}
	if len(ids) != exchanges {
		c.t.Fatalf("%d exchanges in the file, want %d", len(ids), exchanges)
	}
	return file, ids
}

// send has a node's interceptor read file and deliver the records.
func (c *cluster) send(n int, file string, args ...string) *process {
	c.t.Helper()
	return start(c.t, c.nodes[n], nil, "interceptor", append([]string{"read", file, "--output", "none", "--body-limit", "300", "--ledger",
		"--node", fmt.Sprint("node-", n), "--collector", fmt.Sprintf("10.98.%d.1:%s", n, relayPort), "--collector-name", "relay",
		"--collector-ca", c.file("ca.pem"), "--collector-cert", c.file("node.pem"), "--collector-key", c.file("node.key"),
		"--collector-spool", c.file(fmt.Sprint("spool-", n)), "--drain-timeout", "5m"}, args...)...)
}

// arrived counts how often each record is in the collector's files. A last line
// may be half written.
func (c *cluster) arrived() map[string]int {
	c.t.Helper()
	ids := make(map[string]int)
	files, err := filepath.Glob(c.file("records/*.ndjson"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			c.t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var r struct{ ID string }
			if json.Unmarshal([]byte(line), &r) == nil {
				ids[r.ID]++
			}
		}
	}
	return ids
}

func dirSize(t *testing.T, dir string) (n int64) {
	t.Helper()
	entries, _ := os.ReadDir(dir) // not there yet
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // it may be gone by now
			n += info.Size()
		}
	}
	return n
}

// TestRelayLosesNothing: three nodes' records reach a collector behind a proxy
// that wants a password, while proxy, relay and collector are killed and brought
// back in turn. CAPSTAN_CHAOS lengthens it.
func TestRelayLosesNothing(t *testing.T) {
	each, kills := 34_000, 12
	if testing.Short() {
		each, kills = 4_000, 4
	}
	if minutes, err := strconv.Atoi(os.Getenv("CAPSTAN_CHAOS")); err == nil {
		kills = minutes * 60 // about one each second
	}
	c := newCluster(t, 3)
	var files []string
	want := make(map[string]bool)
	for n := range c.nodes {
		file, ids := c.capture(n, each)
		files = append(files, file)
		for id := range ids {
			want[id] = true
		}
	}
	for _, part := range []string{"collector", "proxy", "relay"} {
		c.start(part)
	}
	var senders []*process
	for n, file := range files {
		senders = append(senders, c.send(n, file))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{"proxy", "relay", "collector"}
	largest := int64(0)
	for i := range kills {
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond) // what is killed when is at random
		part := parts[i%len(parts)]
		if i >= len(parts) {
			part = parts[rng.IntN(len(parts))]
		}
		c.kill(part)
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
		c.start(part)
		largest = max(largest, dirSize(t, c.file("relay-spool")))
	}
	for n, s := range senders {
		select {
		case <-s.done:
		case <-time.After(3 * time.Minute):
			t.Fatalf("node %d is not done:\n%s", n, s.stderr.String())
		}
		if status := s.cmd.ProcessState.ExitCode(); status != 0 || !strings.Contains(s.stderr.String(), "sink collector: ") || strings.Contains(s.stderr.String(), "does not balance") {
			t.Errorf("node %d ended with %d:\n%s", n, status, s.stderr.String())
		}
	}
	var got map[string]int
	eventuallyWithin(t, time.Minute, "every record has arrived", func() bool { got = c.arrived(); return len(got) >= len(want) })
	repeats := 0
	for id, n := range got {
		if !want[id] {
			t.Errorf("record %s was never sent", id)
		}
		repeats += n - 1
	}
	if largest > spoolLimit {
		t.Errorf("the relay's spool had %d bytes", largest)
	}
	relay := c.running["relay"]
	if status := relay.signal(syscall.SIGTERM); status != 0 || !strings.Contains(relay.stderr.String(), `"kept":0,"lost":0,"balanced":true`) {
		t.Errorf("the relay ended with %d:\n%s", status, relay.stderr.String())
	}
	t.Logf("%d records, %d of them again; spool at most %d bytes", len(got), repeats, largest)
}

// TestRelayNeverDirect: a collector that can be reached both ways is reached as
// the rules say, or not at all.
func TestRelayNeverDirect(t *testing.T) {
	c := newCluster(t, 1)
	if err := netns.Veth(c.relay, "direct", c.collector, "direct"); err != nil {
		t.Fatal(err)
	}
	for ns, addr := range map[*netns.NS]string{c.relay: "10.96.0.1/24", c.collector: "10.96.0.2/24"} {
		if err := ns.AddAddr("direct", netip.MustParsePrefix(addr)); err != nil {
			t.Fatal(err)
		}
	}
	c.makeDir("records")
	start(t, c.collector, nil, "relay", "sink", "--listen", ":"+collectorPort,
		"--tls-cert", c.file("collector.pem"), "--tls-key", c.file("collector.key"), "--tls-client-ca", c.file("ca.pem"),
		"--spool-dir", c.file("collector-spool"), "--directory", c.file("records"))
	file, ids := c.capture(0, 100)

	// The proxy is down, and the collector at a cable's length.
	relay := c.startRelay(proxyURL, "--collector", "10.96.0.2:"+collectorPort)
	if status := c.send(0, file).wait(); status != 0 {
		t.Fatalf("the node ended with %d", status)
	}
	eventually(t, "the relay says what is wrong", func() bool { return strings.Contains(relay.stderr.String(), "proxy 10.97.1.2:"+proxyPort) })
	time.Sleep(time.Second) // for a connection that must not come
	if n := len(c.arrived()); n != 0 {
		t.Fatalf("%d records went past the proxy", n)
	}
	_ = relay.cmd.Process.Kill()
	<-relay.done

	// The rules say directly, and the proxy is still down.
	relay = c.startRelay(proxyURL, "--collector", "10.96.0.2:"+collectorPort, "--no-proxy", "10.96.0.0/24")
	eventually(t, "the records arrive directly", func() bool { return len(c.arrived()) == len(ids) })
	_ = relay.signal(syscall.SIGTERM)
}

// TestRelayRefusesWrongCertificates: what is wrong is told, and the records come
// when it is mended, without a restart.
func TestRelayRefusesWrongCertificates(t *testing.T) {
	c := newCluster(t, 1)
	for _, part := range []string{"collector", "proxy", "relay"} {
		c.start(part)
	}
	file, ids := c.capture(0, 100)
	good := make(map[string][]byte)
	for _, name := range []string{"node.pem", "node.key"} {
		b, err := os.ReadFile(c.file(name))
		if err != nil {
			t.Fatal(err)
		}
		good[name] = b
	}
	for wrong, reason := range map[string]string{"stranger": "provide a certificate", "expired": "expired"} {
		ca := certtest.New(t, "strangers")
		cert, key := ca.Issue(t, "node", time.Now().Add(time.Hour))
		if wrong == "expired" {
			for ext, b := range map[string]*[]byte{".pem": &cert, ".key": &key} {
				var err error
				if *b, err = os.ReadFile(c.file("expired" + ext)); err != nil {
					t.Fatal(err)
				}
			}
		}
		certtest.Write(t, c.dir, "node.pem", cert)
		certtest.Write(t, c.dir, "node.key", key)
		node := c.send(0, file)
		eventually(t, "the node says that it is refused", func() bool { return strings.Contains(node.stderr.String(), "sink fails") })
		eventually(t, "the relay says why", func() bool { return strings.Contains(c.running["relay"].stderr.String(), reason) })
		for name, b := range good {
			certtest.Write(t, c.dir, name, b)
		}
		if status := node.wait(); status != 0 {
			t.Errorf("%s: the node ended with %d", wrong, status)
		}
	}
	eventually(t, "the records arrive", func() bool { return len(c.arrived()) == len(ids) })
}

// TestRelayWithoutPrivileges runs as uid 1000 with a read-only root, no
// capability, and a writable spool only.
func TestRelayWithoutPrivileges(t *testing.T) {
	netnstest.Require(t)
	for _, program := range []string{"unshare", "setpriv", "mount"} {
		netnstest.RequireProgram(t, program)
	}
	dir := publicDir(t)
	const user = 1000
	for _, name := range []string{"spool", "records"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, name), user, user); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(filepath.Join(binDir, "relay"))
	if err != nil {
		t.Fatal(err)
	}
	relay := filepath.Join(dir, "relay")
	if err := os.WriteFile(relay, program, 0o755); err != nil {
		t.Fatal(err)
	}
	ns := netnstest.New(t)
	script := `mount --make-rprivate /
for d in spool records; do mount --bind "$1/$d" "$1/$d"; done
mount -o remount,bind,ro /
touch "$1/probe" 2>/dev/null && echo root is writable
exec setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \
	"$1/relay" sink --listen 127.0.0.1:4417 --insecure-listen --spool-dir "$1/spool" --directory "$1/records"`
	p := startProgram(t, ns, exec.Command("unshare", "-m", "sh", "-ec", script, "sh", dir))
	eventually(t, "it listens", func() bool { return strings.Contains(p.stderr.String(), "relay listens") })
	if strings.Contains(p.stderr.String(), "root is writable") {
		t.Fatal("the test's root is writable")
	}
	file := filepath.Join(t.TempDir(), "x.pcapng")
	if status := start(t, nil, nil, "bench", "generate", "-w", file, "--kind", "http1", "--connections", "5").wait(); status != 0 {
		t.Fatal("no capture file")
	}
	node := start(t, ns, nil, "interceptor", "read", file, "--output", "none", "--collector", "127.0.0.1:4417", "--collector-insecure")
	if status := node.wait(); status != 0 {
		t.Fatalf("the node ended with %d:\n%s", status, node.stderr.String())
	}
	eventually(t, "the records are written", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "records", "records.ndjson"))
		return strings.Count(string(b), "\n") == 50
	})
	if status := p.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("it ended with %d", status)
	}
}
