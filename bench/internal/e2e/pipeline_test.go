package e2e

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// unixSource returns the URL of a device behind a unix socket.
func unixSource(socket, device string) string {
	return "rpcap+unix://" + url.PathEscape(socket) + "/" + device
}

// TestEveryExchangeOnce is the promise of the pipeline: on every transport and
// device, each exchange is told once, whole and right.
func TestEveryExchangeOnce(t *testing.T) {
	requests := 20_000
	if testing.Short() {
		requests = 2_000
	}
	tests := []struct {
		name, transport, device string
		onLoopback              bool // traffic stays inside the server's host
	}{
		{"veth over TCP", "tcp", "eth0", false},
		{"veth over unix socket", "unix", "eth0", false},
		{"any over TCP", "tcp", "any", false},
		{"any over unix socket", "unix", "any", false},
		{"lo over TCP", "tcp", "lo", true},
		{"lo over unix socket", "unix", "lo", true},
		{"lo through any over TCP", "tcp", "any", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			net := newNetwork(t)
			args := []string{"-n", "-b", "127.0.0.1"}
			src := "rpcap://127.0.0.1/" + tt.device
			if tt.transport == "unix" {
				socket := filepath.Join(t.TempDir(), "rpcapd.sock")
				args, src = []string{"--unix-socket", socket}, unixSource(socket, tt.device)
			}
			rpcapd := startRpcapd(t, net.server, append(args, "--ring-size", "128")...)
			interceptor, records := startInterceptor(t, net.server, []string{src})
			tr := &traffic{connections: 50, requests: requests}
			if tt.onLoopback {
				tr.run(t, net.server, net.server, "127.0.0.1:8080")
			} else {
				tr.run(t, net.server, net.client, serverIP+":8080")
			}
			if status := interceptor.signal(syscall.SIGINT); status != 0 {
				t.Errorf("interceptor ended with %d", status)
			}
			if status := rpcapd.signal(syscall.SIGTERM); status != 0 {
				t.Errorf("rpcapd ended with %d", status)
			}
			tr.compare(t, readRecords(t, records))
			if strings.Contains(interceptor.stderr.String(), "does not balance") {
				t.Error("the account does not balance")
			}
			checkNoCredential(t, "standard output", readFiles(t, records))
			checkNoCredential(t, "standard error", []byte(interceptor.stderr.String()))
			t.Logf("%s\n%s", rpcapd.stderr.String(), interceptor.stderr.String())
		})
	}
}

// TestFileGivesTheSameRecords saves what is captured live and reads it again.
func TestFileGivesTheSameRecords(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	startRpcapd(t, net.server, "--unix-socket", socket, "--ring-size", "64")
	src := unixSource(socket, "eth0")
	file := filepath.Join(t.TempDir(), "saved.pcapng")
	dump := start(t, net.server, nil, "interceptor", "dump", src, "-w", file)
	eventually(t, "dump captures", func() bool { return strings.Contains(dump.stderr.String(), "msg=capturing") })
	interceptor, live := startInterceptor(t, net.server, []string{src})

	tr := &traffic{connections: 20, requests: 4_000}
	tr.run(t, net.server, net.client, serverIP+":8080")
	for _, p := range []*process{interceptor, dump} {
		if status := p.signal(syscall.SIGINT); status != 0 {
			t.Fatalf("%v ended with %d", p.cmd.Args, status)
		}
	}
	want := readRecords(t, live)
	tr.compare(t, want)

	read := start(t, nil, nil, "interceptor", "read", "--output", "json", file)
	if status := read.wait(); status != 0 {
		t.Fatalf("read ended with %d", status)
	}
	got := parseRecords(t, read.stdout.Bytes())
	tr.compare(t, got)
	sameRecords(t, got, want)

	// From standard input, the records are the same to the byte.
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	again := runWithInput(t, in, "read", "--output", "json", "-")
	if !bytes.Equal(bytes.ReplaceAll(again, []byte(`"source":"-"`), []byte(fmt.Sprintf(`"source":%q`, file))), read.stdout.Bytes()) {
		t.Error("standard input gives other records than the file")
	}
}

// TestLiveShards captures in shards that the kernel divides, and a file of the
// same traffic in shards that the interceptor divides.
func TestLiveShards(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	startRpcapd(t, net.server, "--unix-socket", socket, "--ring-size", "64")
	src := unixSource(socket, "eth0")
	file := filepath.Join(t.TempDir(), "saved.pcapng")
	dump := start(t, net.server, nil, "interceptor", "dump", src, "-w", file)
	eventually(t, "dump captures", func() bool { return strings.Contains(dump.stderr.String(), "msg=capturing") })
	const shards = 3
	live := start(t, net.server, nil, "interceptor", "run", "--output", "json", "--shards", fmt.Sprint(shards), "--source", src)
	eventually(t, "all shards are captured", func() bool { return strings.Count(live.stderr.String(), "msg=capturing") == shards })

	tr := &traffic{connections: 20, requests: 2_000}
	tr.run(t, net.server, net.client, serverIP+":8080")
	for _, p := range []*process{live, dump} {
		if status := p.signal(syscall.SIGINT); status != 0 {
			t.Fatalf("%v ended with %d", p.cmd.Args, status)
		}
	}
	want := parseRecords(t, live.stdout.Bytes())
	tr.compare(t, want)
	if strings.Contains(live.stderr.String(), "does not balance") {
		t.Error("the account does not balance")
	}

	whole := start(t, nil, nil, "interceptor", "read", "--output", "json", file)
	divided := start(t, nil, nil, "interceptor", "read", "--output", "json", "--shards", "4", "--ledger", file)
	if a, b := whole.wait(), divided.wait(); a != 0 || b != 0 {
		t.Fatalf("read ended with %d and %d", a, b)
	}
	if !bytes.Equal(whole.stdout.Bytes(), divided.stdout.Bytes()) {
		t.Error("the number of shards changes what is told of a file")
	}
	if strings.Contains(divided.stderr.String(), "does not balance") {
		t.Error("the account of the file does not balance")
	}
	sameRecords(t, parseRecords(t, divided.stdout.Bytes()), want)
}

// sameRecords compares all but the source and times: the kernel stamps a frame
// for each capture of its own.
func sameRecords(t *testing.T, got, want []record) {
	t.Helper()
	byID := make(map[string]record)
	for _, r := range want {
		byID[r.ID] = r
	}
	exact := 0
	for _, g := range got {
		w, ok := byID[g.ID]
		if !ok {
			t.Fatalf("record %s of the file was not told live", g.ID)
		}
		if g.StartTime.Equal(w.StartTime) && g.DurationNs == w.DurationNs {
			exact++
		}
		g.Source, w.Source = "", ""
		g.StartTime, w.StartTime = time.Time{}, time.Time{}
		g.DurationNs, w.DurationNs = 0, 0
		if diff := cmp.Diff(w, g); diff != "" {
			t.Fatalf("record %s differs (-live +file):\n%s", g.ID, diff)
		}
	}
	t.Logf("%d of %d records have the same times too", exact, len(got))
}

// TestRpcapdRestart kills rpcapd in the middle of traffic.
func TestRpcapdRestart(t *testing.T) {
	net := newNetwork(t)
	socket := filepath.Join(t.TempDir(), "rpcapd.sock")
	args := []string{"--unix-socket", socket, "--ring-size", "64"}
	rpcapd := startRpcapd(t, net.server, args...)
	interceptor, file := startInterceptor(t, net.server, []string{unixSource(socket, "eth0")})

	tr := &traffic{connections: 20, requests: 20 * 300, pause: 10 * time.Millisecond, resume: make(chan struct{})}
	resume := sync.OnceFunc(func() { close(tr.resume) })
	defer resume()
	trafficDone := make(chan struct{})
	go func() {
		defer close(trafficDone)
		tr.run(t, net.server, net.client, serverIP+":8080")
	}()
	eventually(t, "a quarter of the requests", func() bool { return tr.begun() > tr.requests/4 })
	rpcapd.signal(syscall.SIGKILL)
	eventually(t, "requests in the outage", func() bool { return tr.begun() > tr.requests/3 })
	startRpcapd(t, net.server, args...)
	back := time.Now()
	eventually(t, "capture regained", func() bool { return strings.Contains(interceptor.stderr.String(), "capture regained") })
	took := time.Since(back)
	t.Logf("regained %v after rpcapd was back (a second is the aim)", took)
	resume()
	<-trafficDone
	if status := interceptor.signal(syscall.SIGINT); status != 0 {
		t.Errorf("interceptor ended with %d", status)
	}

	records := readRecords(t, file)
	var whole, flawed int
	seen := make(map[int]bool)
	var lastBefore, firstAfter time.Time
	for i := range records {
		r := &records[i]
		id, ok := recordID(r)
		if r.Request != nil && !ok {
			t.Errorf("a request that was never made: %+v", r.Request)
		}
		if r.Request != nil && r.Response != nil && find(r.Response.Headers, "X-Id") != fmt.Sprint(id) {
			t.Errorf("a wrong pair: %+v %+v", r.Request, r.Response)
		}
		if !r.Complete {
			flawed++
			continue
		}
		whole++
		if seen[id] {
			t.Errorf("exchange %d is told twice", id)
		}
		seen[id] = true
		if msg := tr.log[id].differs(r); msg != "" {
			t.Errorf("exchange %d is said to be complete, but %s differs", id, msg)
		}
		if r.StartTime.Before(back) && r.StartTime.After(lastBefore) {
			lastBefore = r.StartTime
		}
		if r.StartTime.After(back) && (firstAfter.IsZero() || r.StartTime.Before(firstAfter)) {
			firstAfter = r.StartTime
		}
	}
	t.Logf("%d whole and %d flawed records of %d exchanges; none between %v and %v", whole, flawed, tr.requests, lastBefore, firstAfter)
	if firstAfter.IsZero() || whole < tr.requests/2 {
		t.Errorf("%d whole records of %d exchanges; the first after the restart at %v", whole, tr.requests, firstAfter)
	}
	if strings.Contains(interceptor.stderr.String(), "does not balance") {
		t.Error("the account does not balance")
	}
	for _, text := range []string{"capture lost", "capture regained", "outage"} {
		if !strings.Contains(interceptor.stderr.String(), text) {
			t.Errorf("standard error doesn't tell of %q", text)
		}
	}
}

// runWithInput runs the interceptor to its end with a file on standard input.
func runWithInput(t *testing.T, in *os.File, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(filepath.Join(binDir, "interceptor"), args...)
	cmd.Stdin = in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}
