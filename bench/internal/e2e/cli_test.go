package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	"capstan/pkg/logtest"
	"capstan/pkg/netns/netnstest"
)

// TestExitStatus holds the documented statuses, and that an error is told in
// one line or two.
func TestExitStatus(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.pcapng")
	writeCapture(t, good)
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name    string
		args    []string
		status  int
		says    string // on standard error
		records int
	}{
		{"help", []string{"--help"}, 0, "", -1},
		{"no command", nil, 1, "which command", 0},
		{"unknown command", []string{"frobnicate"}, 1, "frobnicate", 0},
		{"unknown flag", []string{"run", "--frobnicate"}, 1, "frobnicate", 0},
		{"no source", []string{"run"}, 1, "--source", 0},
		{"source without scheme", []string{"run", "--source", "eth0"}, 1, "no scheme", 0},
		{"source without device", []string{"run", "--source", "rpcap://localhost/"}, 1, "names no device", 0},
		{"source without slash", []string{"run", "--source", "rpcap://eth0"}, 1, "names no host", 0},
		{"bad output", []string{"read", "--output", "xml", good}, 1, "xml", 0},
		{"no file", []string{"read"}, 1, "no file", 0},
		{"missing file", []string{"read", filepath.Join(dir, "nowhere.pcap")}, 2, "no such file", 0},
		{"not a capture", []string{"read", file("text", []byte("this is no capture file at all"))}, 2, "neither a pcap", 0},
		{"empty file", []string{"read", file("empty", nil)}, 2, "empty", 0},
		{"whole file", []string{"read", "-o", "json", good}, 0, "", 2},
		{"two files", []string{"read", "-o", "json", good, good}, 0, "", 4},
		{"cut file", []string{"read", "-o", "json", file("cut", whole[:len(whole)-10])}, 0, "cut short", 2},
		{"corrupt file", []string{"read", "-o", "json", file("corrupt", append(bytes.Clone(whole), bytes.Repeat([]byte{1}, 40)...))}, 3, "corrupt at byte", 2},
		{"missing among good", []string{"read", "-o", "json", filepath.Join(dir, "nowhere.pcap"), good}, 2, "no such file", 2},
		{"nobody listens", []string{"run", "--source", "rpcap+unix://%2Fnowhere%2Fsock/any", "--connect-timeout", "200ms"}, 2, "cannot capture from", 0},
		{"devices of nobody", []string{"devices", "rpcap+unix://%2Fnowhere%2Fsock/"}, 2, "no such file", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, nil, nil, "interceptor", tt.args...)
			if status := p.wait(); status != tt.status {
				t.Errorf("status %d, want %d; it said: %s", status, tt.status, p.stderr.String())
			}
			if !strings.Contains(p.stderr.String(), tt.says) {
				t.Errorf("said %q, want something with %q", p.stderr.String(), tt.says)
			}
			if strings.Contains(p.stderr.String(), "goroutine ") {
				t.Errorf("panicked: %s", p.stderr.String())
			}
			if tt.records >= 0 {
				if n := len(parseRecords(t, p.stdout.Bytes())); n != tt.records {
					t.Errorf("%d records, want %d", n, tt.records)
				}
			}
		})
	}
}

// writeCapture writes a capture of one connection with two exchanges.
func writeCapture(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := capfile.NewWriter(f, "test")
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.AddInterface(capfile.Interface{LinkType: capture.LinkTypeEthernet})
	if err != nil {
		t.Fatal(err)
	}
	c := conversation{t: t, w: w, id: id, seq: [2]uint32{1000, 9000}, now: 1_700_000_000_000_000_000}
	c.send(0, "S", "")
	c.send(1, "SA", "")
	c.send(0, "A", "")
	c.send(0, "A", "GET /one HTTP/1.1\r\nHost: example.test\r\n\r\n")
	c.send(1, "A", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	c.send(0, "A", "GET /two HTTP/1.1\r\nHost: example.test\r\n\r\n")
	c.send(1, "A", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	c.send(0, "FA", "")
	c.send(1, "FA", "")
	c.send(0, "A", "")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// conversation writes the frames of one TCP connection.
type conversation struct {
	t   *testing.T
	w   *capfile.Writer
	id  int
	seq [2]uint32
	now int64
}

func (c *conversation) send(from int, flags, payload string) {
	c.t.Helper()
	addrs := [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	ports := [2]layers.TCPPort{40000, 80}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: addrs[from].AsSlice(), DstIP: addrs[1-from].AsSlice()}
	tcp := &layers.TCP{SrcPort: ports[from], DstPort: ports[1-from], Seq: c.seq[from], Window: 65535,
		SYN: strings.Contains(flags, "S"), ACK: strings.Contains(flags, "A"), FIN: strings.Contains(flags, "F")}
	if tcp.ACK {
		tcp.Ack = c.seq[1-from]
	}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		c.t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	ether := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		ether, ip, tcp, gopacket.Payload(payload)); err != nil {
		c.t.Fatal(err)
	}
	c.seq[from] += uint32(len(payload))
	if tcp.SYN || tcp.FIN {
		c.seq[from]++
	}
	c.now += 1_000_000
	data := buf.Bytes()
	if err := c.w.WriteFrame(c.id, &capture.Frame{Timestamp: c.now, Data: data, Len: len(data)}); err != nil {
		c.t.Fatal(err)
	}
}

func TestDevicesAndDump(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	rpcapd := startRpcapd(t, net.server, "--unix-socket", socket)
	if err := rpcapd.cmd.Process.Signal(syscall.SIGHUP); err != nil { // a service manager's reload
		t.Fatal(err)
	}
	eventually(t, "SIGHUP is answered", func() bool { return strings.Contains(rpcapd.stderr.String(), "SIGHUP") })

	p := start(t, net.server, nil, "interceptor", "devices", "--output", "json", unixSource(socket, ""))
	if status := p.wait(); status != 0 {
		t.Fatalf("devices ended with %d: %s", status, p.stderr.String())
	}
	found := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSpace(p.stdout.String()), "\n") {
		var d struct {
			Name      string
			Addresses []struct{ Address string }
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		found[d.Name] = ""
		if len(d.Addresses) > 0 {
			found[d.Name] = d.Addresses[0].Address
		}
	}
	if found["eth0"] != serverIP || found["lo"] != "127.0.0.1" {
		t.Errorf("devices: %v", found)
	}
	if _, ok := found["any"]; !ok {
		t.Errorf("no device any in %v", found)
	}
	text := start(t, net.server, nil, "interceptor", "devices", unixSource(socket, ""))
	text.wait()
	if !strings.Contains(text.stdout.String(), "eth0") || !strings.Contains(text.stdout.String(), serverIP) {
		t.Errorf("devices as text:\n%s", text.stdout.String())
	}

	unknown := start(t, net.server, nil, "interceptor", "run", "--source", unixSource(socket, "nosuch0"))
	if status := unknown.wait(); status != 2 || !strings.Contains(unknown.stderr.String(), "No such device") {
		t.Errorf("unknown device: status %d: %s", status, unknown.stderr.String())
	}
	bad := start(t, net.server, nil, "interceptor", "run", "--source", unixSource(socket, "eth0?colour=blue"))
	if status := bad.wait(); status != 2 || !strings.Contains(bad.stderr.String(), "valid are if, not-if, dir, shard, flows, cutoff, dedup, link, self, filter") {
		t.Errorf("bad parameter: status %d: %s", status, bad.stderr.String())
	}
}

// TestOutputFails writes records to a full disk: nothing is said to be written.
func TestOutputFails(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "good.pcapng")
	writeCapture(t, capture)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	p := start(t, nil, full, "interceptor", "read", "-o", "json", "--ledger", capture)
	if status := p.wait(); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
	for _, want := range []string{"records written: 0 (0 B), not written: 2", "no space left"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %q in %s", want, p.stderr.String())
		}
	}
}

// TestReaderLeaves gives the interceptor a reader who has left: what a sink has
// accepted is delivered all the same, and accounted for.
func TestReaderLeaves(t *testing.T) {
	dir := t.TempDir()
	capture, records := filepath.Join(dir, "good.pcapng"), filepath.Join(dir, "records.ndjson")
	writeCapture(t, capture)
	config := filepath.Join(dir, "sinks.yaml")
	sinks := "sinks: [{name: out, max_records: 1, stdout: {}}, {name: file, file: {path: " + filepath.Join(dir, "others.ndjson") + "}}]\n"
	if err := os.WriteFile(config, []byte(sinks), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"output": {[]string{"-o", "json", "--file", records}, []string{"records written: 0 (0 B), not written: 2", "sink file: 2 records, 2 delivered"}},
		"sink": {[]string{"--config", config, "--drain-timeout", "1s"},
			[]string{"sink out: 2 records were not delivered", "sink file: 2 records, 2 delivered"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			p := start(t, nil, w, "interceptor", append([]string{"read", "--ledger", capture}, tt.args...)...)
			_ = w.Close()
			if status := p.wait(); status != 3 {
				t.Errorf("status %d, want 3", status)
			}
			for _, want := range append(tt.want, "broken pipe") {
				if !strings.Contains(p.stderr.String(), want) {
					t.Errorf("no %q in %s", want, p.stderr.String())
				}
			}
		})
	}
}

// TestLivePipe feeds a capture through a pipe that stays open: records come
// when their frames have.
func TestLivePipe(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "good.pcapng")
	writeCapture(t, capture)
	data, err := os.ReadFile(capture)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var out logtest.Buffer
	cmd := exec.Command(filepath.Join(binDir, "interceptor"), "read", "-o", "json", "-")
	cmd.Stdin, cmd.Stdout = r, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two records", func() bool { return strings.Count(out.String(), "\n") == 2 })
	_ = w.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestNobodyReads gives the interceptor a reader that doesn't read, then asks
// it to stop.
func TestNobodyReads(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	startRpcapd(t, net.server, "--unix-socket", socket)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := start(t, net.server, w, "interceptor", "run", "-o", "json", "--status-interval", "200ms", "--source", unixSource(socket, "eth0"))
	_ = w.Close()
	eventually(t, "capture", func() bool { return strings.Contains(p.stderr.String(), "msg=capturing") })
	tr := &traffic{connections: 4, requests: 1000}
	tr.run(t, net.server, net.client, serverIP+":8080")
	before := strings.Count(p.stderr.String(), "status: ")
	eventually(t, "status lines go on", func() bool { return strings.Count(p.stderr.String(), "status: ") > before+2 })
	if status := p.signal(syscall.SIGINT); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
	for _, want := range []string{"not being read", "records written"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %q in %s", want, p.stderr.String())
		}
	}
}

// TestStuckServer stops rpcapd without ending it.
func TestStuckServer(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	rpcapd := startRpcapd(t, net.server, "--unix-socket", socket)
	interceptor, _ := startInterceptor(t, net.server, []string{unixSource(socket, "eth0")}, "--status-interval", "500ms")
	if err := rpcapd.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", func() bool {
		return strings.Contains(interceptor.stderr.String(), "the capture server doesn't answer") &&
			strings.Contains(interceptor.stderr.String(), "1 of 1 servers don't answer")
	})
	began := time.Now()
	if status := interceptor.signal(syscall.SIGINT); status != 0 {
		t.Errorf("status %d", status)
	}
	t.Logf("ended after %v", time.Since(began))
	if err := rpcapd.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

func TestLostForGood(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	rpcapd := startRpcapd(t, net.server, "--unix-socket", socket)
	interceptor, _ := startInterceptor(t, net.server, []string{unixSource(socket, "any")}, "--reconnect-timeout", "300ms")
	rpcapd.signal(syscall.SIGTERM)
	if status := interceptor.wait(); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
	if !strings.Contains(interceptor.stderr.String(), "for good") {
		t.Errorf("it said: %s", interceptor.stderr.String())
	}
}

// TestMissingCapability runs rpcapd as nobody.
func TestMissingCapability(t *testing.T) {
	netnstest.RequireCapture(t) // to become nobody takes root
	readable := t.TempDir()
	if err := os.Chmod(readable, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(binDir, "rpcapd"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(readable, "rpcapd")
	if err := os.WriteFile(binary, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(readable), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-n", "-b", "127.0.0.1", "-p", "0")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run()
	if status := cmd.ProcessState.ExitCode(); status != 2 {
		t.Errorf("status %d, want 2: %s", status, stderr.String())
	}
	for _, word := range []string{"CAP_NET_RAW", "CAP_BPF", "setcap"} {
		if !strings.Contains(stderr.String(), word) {
			t.Errorf("doesn't name %s: %s", word, stderr.String())
		}
	}
}

// TestDemoLeavesNothing watches the demo, then kills it the hard way.
func TestDemoLeavesNothing(t *testing.T) {
	netnstest.RequireCapture(t)
	demo := start(t, nil, nil, "bench", "demo", "--interval", "50ms", "--duration", "2s", "--", "--output", "json")
	if status := demo.wait(); status != 0 {
		t.Fatalf("demo ended with %d: %s", status, demo.stderr.String())
	}
	records := parseRecords(t, demo.stdout.Bytes())
	if len(records) < 10 {
		t.Errorf("%d records in 2 s: %s", len(records), demo.stderr.String())
	}
	if bytes.Contains(demo.stdout.Bytes(), []byte("a-secret-that-is-masked")) {
		t.Error("a credential is in the records")
	}
	if n := ours(t); n != 0 {
		t.Errorf("%d processes left", n)
	}

	var lines logtest.Buffer
	demo = start(t, nil, &lines, "bench", "demo", "--interval", "50ms")
	eventually(t, "the demo shows an exchange", func() bool { return strings.Contains(lines.String(), "/api/products") })
	demo.signal(syscall.SIGKILL)
	eventually(t, "no process is left", func() bool { return ours(t) == 0 })
}

// ours counts the processes that run a binary under test.
func ours(t *testing.T) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && strings.HasPrefix(target, binDir) {
			n++
		}
	}
	return n
}

func TestMetrics(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	startRpcapd(t, net.server, "--unix-socket", socket, "--metrics-address", "127.0.0.1:9101")
	startInterceptor(t, net.server, []string{unixSource(socket, "eth0")}, "--metrics-address", "127.0.0.1:9102")
	tr := &traffic{connections: 2, requests: 100}
	tr.run(t, net.server, net.client, serverIP+":8080")
	for address, want := range map[string]string{
		"127.0.0.1:9101": "rpcapd_frames_total",
		"127.0.0.1:9102": "interceptor_exchanges_total",
	} {
		eventually(t, want+" grows", func() bool {
			return sumOf(get(t, net, address, "/metrics"), want) >= 100
		})
		if body := get(t, net, address, "/healthz"); body == "" {
			t.Errorf("no health at %s", address)
		}
	}
}

// get fetches a page from inside the server's namespace.
func get(t *testing.T, n network, address, path string) string {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: n.server.DialContext, DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v", path, resp.StatusCode, err)
	}
	return string(body)
}

// sumOf adds up the samples of a metric.
func sumOf(page, metric string) float64 {
	sum := 0.0
	for _, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(line, metric) {
			v, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += v
		}
	}
	return sum
}
