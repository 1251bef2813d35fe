package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// captureStatus is what "status --json" says of a source.
type captureStatus struct {
	Name      string
	Capturing bool
	Settings  struct {
		Device, Filter string
		OneInFlows     int
	}
}

func (s *apiSite) sources() []captureStatus {
	s.t.Helper()
	var status struct{ Sources []captureStatus }
	if err := json.Unmarshal([]byte(s.run("status", "--json", "--interval", "0")), &status); err != nil {
		s.t.Fatal(err)
	}
	return status.Sources
}

// leftOut is how many frames of connections the ledger says are left out.
func (s *apiSite) leftOut() (n uint64) {
	s.t.Helper()
	var ledger struct {
		Balanced bool
		Accounts []struct {
			Entries []struct {
				Key   string
				Value uint64 `json:",string"`
			}
		}
	}
	if err := json.Unmarshal([]byte(s.run("ledger", "--json")), &ledger); err != nil || !ledger.Balanced {
		s.t.Fatal(err, ledger)
	}
	for _, a := range ledger.Accounts {
		for _, e := range a.Entries {
			if e.Key == "frames.other_connections" {
				n += e.Value
			}
		}
	}
	return n
}

// askAnew makes each of n requests on a connection of its own.
func (s *apiSite) askAnew(n int) {
	s.t.Helper()
	for range n {
		s.ask("/sampled")
	}
}

// TestSetCaptureOfSeveral: one of two sources is changed, the other goes on. What
// is left out of a share of the connections is counted.
func TestSetCaptureOfSeveral(t *testing.T) {
	s := &apiSite{network: newNetwork(t), t: t, socket: filepath.Join(t.TempDir(), "api")}
	startRpcapd(t, s.server, "-n", "-b", "127.0.0.1")
	const changed, other = "rpcap://127.0.0.1:2002/eth0", "rpcap://127.0.0.1:2002/lo"
	s.start([]string{changed, other}, "--filter", "tcp")
	if out, err := s.command("set", "--filter", "tcp port 8080").CombinedOutput(); err == nil || !strings.Contains(string(out), "there are 2 sources") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := s.command("set", "--source", "rpcap://nobody/eth0", "--filter", "tcp port 8080").CombinedOutput(); err == nil || !strings.Contains(string(out), "no source") {
		t.Errorf("%v: %s", err, out)
	}
	if got := s.run("set", "--source", changed, "--one-in-flows", "4"); !strings.Contains(got, "nothing was captured for") {
		t.Error(got)
	}
	if got := s.run("set", "--source", changed, "--filter", "tcp port 8080"); !strings.Contains(got, "without interruption") {
		t.Error(got)
	}
	for _, src := range s.sources() {
		want := captureStatus{Name: other, Capturing: true}
		want.Settings.Device, want.Settings.Filter, want.Settings.OneInFlows = "lo", "tcp", 1
		if src.Name == changed {
			want.Name, want.Settings.Device, want.Settings.Filter, want.Settings.OneInFlows = changed, "eth0", "tcp port 8080", 4
		}
		if src != want {
			t.Errorf("got %+v, want %+v", src, want)
		}
	}
	if got := s.run("status", "--interval", "0"); !strings.Contains(got, "device eth0, filter tcp port 8080, one in 4 connections") || !strings.Contains(got, "device lo, filter tcp\n") {
		t.Error(got)
	}
	const connections = 80
	s.askAnew(connections)
	eventually(t, "what is left out is counted", func() bool { return s.leftOut() > connections })
	if code := s.interceptor.signal(syscall.SIGINT); code != 0 {
		t.Errorf("ended with %d", code)
	}
	said := s.interceptor.stderr.String()
	if strings.Contains(said, "does not balance") || !strings.Contains(said, "of connections that are not captured") {
		t.Error(said)
	}
}

// TestSetCaptureInActiveMode: there is one session, which the server has begun;
// everything is changed in it.
func TestSetCaptureInActiveMode(t *testing.T) {
	s := &apiSite{network: newNetwork(t), t: t, socket: filepath.Join(t.TempDir(), "api")}
	s.interceptor = start(t, s.server, nil, "interceptor", "run", "--source", "rpcap://127.0.0.1/eth0", "--listen", "127.0.0.1:2003", "--api-socket", s.socket)
	said := func(text string) func() bool {
		return func() bool { return strings.Contains(s.interceptor.stderr.String(), text) }
	}
	eventually(t, "the interceptor waits for the daemon", said("msg=API"))
	start(t, s.server, nil, "rpcapd", "-n", "-b", "127.0.0.1", "-a", "127.0.0.1,2003")
	eventually(t, "the daemon has connected", said("msg=capturing"))
	s.serve()
	s.ask("/a")
	if got := fmt.Sprint(s.watched(1)); got != "[/a]" {
		t.Error(got)
	}
	if got := s.run("set", "--filter", "tcp port 9"); !strings.Contains(got, "without interruption") {
		t.Error(got)
	}
	s.ask("/unseen")
	for _, device := range []string{"eth77", "eth0?colour=red"} {
		if out, err := s.command("set", "--device", device).CombinedOutput(); err == nil {
			t.Errorf("%s: %s", device, out)
		}
	}
	if got := s.run("set", "--device", "eth0?dir=in", "--one-in-flows", "2"); !strings.Contains(got, "nothing was captured for") {
		t.Error(got)
	}
	if got := s.sources(); len(got) != 1 || !got[0].Capturing || got[0].Settings.Device != "eth0?dir=in" || got[0].Settings.OneInFlows != 2 || got[0].Settings.Filter != "tcp port 9" {
		t.Errorf("%+v", got)
	}
	if got := s.run("set", "--device", "eth0", "--one-in-flows", "1", "--filter", ""); !strings.Contains(got, "nothing was captured for") {
		t.Error(got)
	}
	s.ask("/b")
	if got := fmt.Sprint(s.watched(2)); got != "[/a /b]" {
		t.Error(got)
	}
	if code := s.interceptor.signal(syscall.SIGINT); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if said("does not balance")() || said("capture lost")() || !said("2  outages")() {
		t.Error(s.interceptor.stderr.String())
	}
}
