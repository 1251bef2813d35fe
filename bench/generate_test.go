package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"capstan/bench/internal/traffic"
	"capstan/bench/internal/wire"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// generate runs the command and returns what it printed.
func generate(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := generateCommand(&stdout, &stderr)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return stdout.String(), err
}

// generateFile writes a capture file and returns its name and what it holds.
func generateFile(t *testing.T, args ...string) (string, wire.Report) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "generated.pcapng")
	out, err := generate(t, append(args, "-w", name, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	var r wire.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return name, r
}

// tshark returns the words that tshark prints.
func tshark(t *testing.T, file string, args ...string) []string {
	t.Helper()
	path := netnstest.RequireProgram(t, "tshark")
	// gRPC has no port that tshark knows.
	cmd := exec.Command(path, append([]string{"-n", "-r", file, "-d", "tcp.port==50051,http2", "-o", "ip.check_checksum:TRUE",
		"-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return strings.Fields(string(out))
}

// countField counts all occurrences of a field, of which a frame may have many.
func countField(t *testing.T, file, field string) (n uint64) {
	t.Helper()
	for _, line := range tshark(t, file, "-Y", field, "-T", "fields", "-E", "occurrence=a", "-e", field) {
		n += uint64(len(strings.Split(line, ",")))
	}
	return n
}

func TestTsharkReadsWhatIsGenerated(t *testing.T) {
	for name, c := range map[string]struct {
		args  string
		field string // which each exchange or frame has once
	}{
		"udp":        {"--kind udp --size imix --count 200 --flows 5 --vlan 10,20", "udp.stream"},
		"udp IPv6":   {"--kind udp --size 400 --count 200 --ipv6", "udp.stream"},
		"tcp":        {"--kind tcp --size 400 --count 200 --flows 3", "tcp.stream"},
		"http1":      {"--kind http1 --connections 12 --flows 5 --request-len 200 --response-len 9000", "http.response_for.uri"},
		"http1 IPv6": {"--kind http1 --connections 5 --exchanges 3 --ipv6 --vlan 7", "http.response_for.uri"},
		"http2":      {"--kind http2 --connections 6 --flows 3 --request-len 500 --response-len 40000 --streams 3", "http2.headers.status"},
		"grpc":       {"--kind grpc --connections 6 --flows 3 --request-len 130 --response-len 20000", "http2.headers.status"},
	} {
		t.Run(name, func(t *testing.T) {
			file, report := generateFile(t, strings.Fields(c.args)...)
			if bad := tshark(t, file, "-Y", complaints); len(bad) != 0 {
				t.Errorf("tshark complains: %s", strings.Join(bad, " "))
			}
			want := report.Generated.Exchanges
			if !report.Plan.Kind.Conversation() {
				want = report.Generated.Frames
			} else if want == 0 {
				t.Error("no exchanges generated")
			}
			if got := countField(t, file, c.field); got != want {
				t.Errorf("tshark counts %d of %s, want %d", got, c.field, want)
			}
			if report.Plan.Kind == traffic.GRPC { // each call has a message in each direction
				if got := countField(t, file, "grpc.message_length"); got != 2*want {
					t.Errorf("tshark counts %d gRPC messages, want %d", got, 2*want)
				}
			}
		})
	}
}

// complaints is a display filter for whatever must not be in a good file.
const complaints = `_ws.malformed || _ws.expert.severity == "Error" ||
	ip.checksum.status == "Bad" || udp.checksum.status == "Bad" || tcp.checksum.status == "Bad" ||
	tcp.analysis.lost_segment || tcp.analysis.retransmission || tcp.analysis.window_full`

// TestInterceptorCompletesEveryExchange reads a generated file with the real
// binary.
func TestInterceptorCompletesEveryExchange(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "interceptor")
	if out, err := exec.Command("go", "build", "-o", bin, "capstan/interceptor").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, report := generateFile(t, strings.Fields("--kind http1 --connections 40 --flows 9 --request-len 700 --response-len 20000 --vlan 3,4 --seed 5")...)
	out, err := exec.Command(bin, "read", "--output", "json", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	records := uint64(0)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; records++ {
		var record struct {
			Complete bool
			Request  struct{ BodySize int }
			Response struct{ Status, BodySize int }
		}
		if err := dec.Decode(&record); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !record.Complete || record.Response.Status != 200 || record.Request.BodySize != 700 || record.Response.BodySize != 20_000 {
			t.Errorf("record %d: %+v", records, record)
		}
	}
	if records != report.Generated.Exchanges || records != 400 {
		t.Errorf("%d records of %d exchanges", records, report.Generated.Exchanges)
	}
}

func TestGenerateSaysWhatItSent(t *testing.T) {
	netnstest.RequireCapture(t)
	near, far := netnstest.New(t), netnstest.New(t)
	if err := netns.Veth(near, "eth0", far, "eth0"); err != nil {
		t.Fatal(err)
	}
	// A process in the namespace, to be found by its number.
	sleeper := exec.Command("sleep", "60")
	if err := near.Start(sleeper); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
	}()
	pid := strconv.Itoa(sleeper.Process.Pid)
	out, err := generate(t, "-i", "eth0", "--netns-pid", pid, "--count", "1000", "--size", "imix", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r wire.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Result == nil || r.Result.Frames != 1000 || r.Result.Bytes != r.Generated.Bytes || r.Result.Interface.Sent != r.Result.Offered() {
		t.Errorf("%s", out)
	}
	out, err = generate(t, "-i", "eth0", "--netns-pid", pid, "--connections", "2", "--kind", "http1")
	if err != nil || !strings.Contains(out, "2 connections of http1 with 20 exchanges") || !strings.Contains(out, "eth0") {
		t.Errorf("%v:\n%s", err, out)
	}
	if _, err := generate(t, "-i", "none", "--netns-pid", pid, "--count", "1"); err == nil {
		t.Error("sent into an interface that isn't there")
	}
}

func TestGenerateRepeatsTheFramesOfAFile(t *testing.T) {
	file, report := generateFile(t, "--kind", "http2", "--connections", "2")
	again, _ := generateFile(t, "--kind", "file:"+file, "--count", fmt.Sprint(2*report.Generated.Frames))
	want, got := readAll(t, file), readAll(t, again)
	want = append(want, want...)
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("frame %d differs", i)
		}
	}
}

func readAll(t *testing.T, name string) (frames [][]byte) {
	t.Helper()
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := capfile.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var f capture.Frame
		if err := r.Next(&f); errors.Is(err, io.EOF) {
			return frames
		} else if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, bytes.Clone(f.Data))
	}
}

func TestGenerateRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                                 "interface",
		"-i eth0 -w x":                     "interface",
		"-w x":                             "a file needs an end",
		"-w x --count 1 --kind smtp":       "unknown kind \"smtp\"",
		"-w x --count 1 --size big":        "neither a number",
		"-w x --count 1 --size 59":         "need 60 bytes",
		"-w x --count 1 --vlan 70000":      "VLAN 65535",
		"-w x --count 1 --netns-pid 1":     "not files",
		"-i eth0 --netns-pid -1 --count 1": "process -1",
		"-w /nowhere/x --count 1":          "/nowhere/x",
	} {
		if out, err := generate(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q; it printed %s", args, err, want, out)
		}
	}
}
