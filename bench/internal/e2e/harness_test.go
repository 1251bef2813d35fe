package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/pkg/logtest"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// binDir holds the binaries under test, built by TestMain.
var binDir string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if dir := os.Getenv(brokerVariable); dir != "" {
		return brokerProcess(dir)
	}
	dir, err := os.MkdirTemp("", "capstan-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+"/", "capstan/rpcapd", "capstan/interceptor", "capstan/interceptor/extcap", "capstan/interceptor/relay", "capstan/bench")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	binDir = dir
	return m.Run()
}

// network is two hosts with a cable between them.
type network struct {
	server, client *netns.NS
}

const (
	serverIP = "10.99.0.1"
	clientIP = "10.99.0.2"
)

func newNetwork(t *testing.T) network {
	t.Helper()
	netnstest.RequireCapture(t)
	n := network{server: netnstest.New(t), client: netnstest.New(t)}
	if err := netns.Veth(n.server, "eth0", n.client, "eth0"); err != nil {
		t.Fatal(err)
	}
	for ns, ip := range map[*netns.NS]string{n.server: serverIP, n.client: clientIP} {
		if err := ns.AddAddr("eth0", netip.MustParsePrefix(ip+"/24")); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// process is a binary under test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout bytes.Buffer // complete once it has ended, unless the caller took it
	stderr logtest.Buffer
	done   chan struct{}
}

// start starts a binary in a namespace (nil: ours) and sees to its end.
// stdout, if not nil, takes its output.
func start(t *testing.T, ns *netns.NS, stdout io.Writer, name string, args ...string) *process {
	t.Helper()
	return startCommand(t, ns, stdout, exec.Command(filepath.Join(binDir, name), args...))
}

// startCommand is start for any program.
func startCommand(t *testing.T, ns *netns.NS, stdout io.Writer, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = stdout, &p.stderr
	if stdout == nil {
		p.cmd.Stdout = &p.stdout
	}
	begin := p.cmd.Start
	if ns != nil {
		begin = func() error { return ns.Start(p.cmd) }
	}
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(cmd.Args, " "), p.stderr.String())
		}
	})
	return p
}

// signal sends a signal and waits for the end; it returns the exit status.
func (p *process) signal(s syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v; it said:\n%s", p.cmd.Path, err, p.stderr.String())
	}
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%s did not end; it said:\n%s", p.cmd.Path, p.stderr.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// startRpcapd starts an rpcapd and waits until it is ready.
func startRpcapd(t *testing.T, ns *netns.NS, args ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, ns, w, "rpcapd", args...)
	_ = w.Close()
	lines := bufio.NewScanner(r)
	ready := make(chan bool, 1)
	go func() { // ends with the process
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "Press CTRL + C") {
				ready <- true
			}
		}
		close(ready)
		_ = r.Close()
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("rpcapd ended at its start:\n%s", p.stderr.String())
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("rpcapd was not ready:\n%s", p.stderr.String())
	}
	return p
}

// startInterceptor starts "interceptor run" and waits until it captures from
// all its sources. Records go to the returned file.
func startInterceptor(t *testing.T, ns *netns.NS, sources []string, args ...string) (*process, string) {
	t.Helper()
	records := filepath.Join(t.TempDir(), "records.json")
	out, err := os.Create(records)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	all := []string{"run", "--output", "json"}
	for _, s := range sources {
		all = append(all, "--source", s)
	}
	p := start(t, ns, out, "interceptor", append(all, args...)...)
	eventually(t, "interceptor captures", func() bool {
		return strings.Count(p.stderr.String(), "msg=capturing") == len(sources)
	})
	return p, records
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, 20*time.Second, what, ok)
}

// eventuallyWithin is eventually for what takes longer.
func eventuallyWithin(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// record is the contract of the JSON output, as a user would declare it.
type record struct {
	ID       string `json:"id"`
	Protocol string `json:"protocol"`
	Client   struct {
		Address string `json:"address"`
		Port    int    `json:"port"`
	} `json:"client"`
	Server struct {
		Address string `json:"address"`
		Port    int    `json:"port"`
	} `json:"server"`
	StartTime  time.Time    `json:"startTime"`
	DurationNs int64        `json:"durationNs"`
	Complete   bool         `json:"complete"`
	Flaws      []string     `json:"flaws"`
	Source     string       `json:"source"`
	Request    *requestHalf `json:"request"`
	Response   *respHalf    `json:"response"`
}

type header struct{ Name, Value string }

type requestHalf struct {
	Method, Target, Authority string
	Headers                   []header
	BodySize                  int64
	Body                      []byte
}

type respHalf struct {
	Status   int
	Headers  []header
	BodySize int64
	Body     []byte
}

func find(headers []header, name string) string {
	for _, h := range headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func readRecords(t *testing.T, file string) []record {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseRecords(t, data)
}

func parseRecords(t *testing.T, data []byte) []record {
	t.Helper()
	var records []record
	for n, line := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		if len(line) == 0 && len(data) == 0 {
			break
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("line %d is no JSON object: %v\n%s", n+1, err, line)
		}
		if r.Request == nil && r.Response == nil {
			continue // of a connection without exchanges, such as the capture's own
		}
		records = append(records, r)
	}
	return records
}
