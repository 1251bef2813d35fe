package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"capstan/pkg/netns/netnstest"
)

// apiSite is an interceptor that captures from a real rpcapd, with a small
// service to capture.
type apiSite struct {
	network
	t           *testing.T
	interceptor *process
	socket      string
}

func newAPISite(t *testing.T, args ...string) *apiSite {
	t.Helper()
	s := &apiSite{network: newNetwork(t), t: t, socket: filepath.Join(t.TempDir(), "api")}
	startRpcapd(t, s.server, "-n", "-b", "127.0.0.1")
	s.start([]string{"rpcap://127.0.0.1/eth0"}, args...)
	return s
}

// start starts the interceptor and the service.
func (s *apiSite) start(sources []string, args ...string) {
	s.t.Helper()
	s.interceptor, _ = startInterceptor(s.t, s.server, sources, append(args, "--api-socket", s.socket)...)
	s.serve()
}

// serve starts the service.
func (s *apiSite) serve() {
	s.t.Helper()
	t := s.t
	listener, err := s.server.Listen("tcp", serverIP+":8080")
	if err != nil {
		t.Fatal(err)
	}
	service := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "session="+planted)
		// Not JSON, as it should be, but text that means harm.
		fmt.Fprintf(w, `{"path":[%q],"text":%q,"evil":"%s"}`, r.URL.Path, strings.Repeat("harmless ", 20), "\x1b[2J\x1b]0;owned\a")
	})}
	done := make(chan struct{})
	go func() { // ends with Close
		defer close(done)
		_ = service.Serve(listener)
	}()
	t.Cleanup(func() { service.Close(); <-done })
}

// ask makes requests for paths, one after the other.
func (s *apiSite) ask(paths ...string) {
	s.t.Helper()
	transport := &http.Transport{DialContext: s.client.DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, p := range paths {
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+serverIP+":8080"+p, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+planted)
		request.Header.Set("Cookie", "session="+planted)
		answer, err := client.Do(request)
		if err != nil {
			s.t.Fatal(err)
		}
		answer.Body.Close()
	}
}

// run runs a command at the API and returns what it writes.
func (s *apiSite) run(args ...string) string {
	s.t.Helper()
	cmd := s.command(args...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v: %v\n%s%s", args, err, out, problems.String())
	}
	checkNoCredential(s.t, fmt.Sprint(args), out)
	return string(out)
}

func (s *apiSite) command(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(binDir, "interceptor"), append(args, "--api", s.socket)...)
}

// watched returns the targets of the latest n records, once there are so many.
func (s *apiSite) watched(n int, args ...string) (targets []string) {
	s.t.Helper()
	out := s.run(append([]string{"watch", "--output", "json", "--count", fmt.Sprint(n)}, args...)...)
	for _, r := range parseRecords(s.t, []byte(out)) {
		targets = append(targets, r.Request.Target)
	}
	return targets
}

// TestAPI: the records of a real capture, filtered; the capture changed while it
// runs, and what that cost; what is told about it.
func TestAPI(t *testing.T) {
	s := newAPISite(t, "--log-format", "text")
	s.ask("/a", "/b", "/c")
	if got := fmt.Sprint(s.watched(3)); got != "[/a /b /c]" {
		t.Error(got)
	}
	if got := fmt.Sprint(s.watched(1, "--filter", `exchange.request.target == "/b"`)); got != "[/b]" {
		t.Error(got)
	}
	bad := s.command("watch", "--filter", "exchange.nothing")
	if out, err := bad.CombinedOutput(); err == nil || !strings.Contains(string(out), "line 1, column 9") {
		t.Errorf("%v: %s", err, out)
	}

	if got := s.run("set", "--filter", "tcp port 9"); !strings.Contains(got, "without interruption") {
		t.Error(got)
	}
	s.ask("/unseen")
	if got := s.run("set", "--device", "eth0?dir=in"); !strings.Contains(got, "nothing was captured for") {
		t.Error(got)
	}
	if got := s.run("set", "--device", "eth0", "--filter", ""); !strings.Contains(got, "nothing was captured for") {
		t.Error(got)
	}
	if out, err := s.command("set", "--device", "eth77").CombinedOutput(); err == nil || !strings.Contains(string(out), "No such device") {
		t.Errorf("%v: %s", err, out)
	}
	s.ask("/d")
	if got := fmt.Sprint(s.watched(4)); got != "[/a /b /c /d]" {
		t.Error(got)
	}

	var status struct {
		Ready   bool
		Sources []struct {
			Capturing bool
			Settings  struct{ Device, Filter string }
		}
	}
	if err := json.Unmarshal([]byte(s.run("status", "--json")), &status); err != nil || !status.Ready || len(status.Sources) != 1 ||
		!status.Sources[0].Capturing || status.Sources[0].Settings.Device != "eth0" {
		t.Errorf("%v, %+v", err, status)
	}
	if got := s.run("ledger"); strings.Count(got, "the settings were changed") != 2 {
		t.Error(got)
	}
	var archive struct {
		Log struct{ Entries []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(s.run("watch", "--output", "har", "--count", "4")), &archive); err != nil || len(archive.Log.Entries) != 4 {
		t.Errorf("%v, %d entries", err, len(archive.Log.Entries))
	}
	if code := s.interceptor.signal(syscall.SIGINT); code != 0 {
		t.Errorf("ended with %d", code)
	}
	log := s.interceptor.stderr.String()
	if strings.Contains(log, "does not balance") || strings.Count(log, `event="capture set"`) != 4 || !strings.Contains(log, `event="watch begins" peer="pid `) {
		t.Error(log)
	}
	if _, err := os.Stat(s.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// tmux is a terminal with a program in it.
type tmux struct {
	t      *testing.T
	socket string
}

func startTmux(t *testing.T, cmd *exec.Cmd) *tmux {
	t.Helper()
	netnstest.RequireProgram(t, "tmux")
	m := &tmux{t, filepath.Join(t.TempDir(), "tmux")}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", m.socket, "kill-server").Run() })
	m.do(append([]string{"-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30"}, cmd.Args...)...)
	return m
}

func (m *tmux) do(args ...string) string {
	m.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// shows waits until the screen has all texts.
func (m *tmux) shows(texts ...string) {
	m.t.Helper()
	var screen string
	defer func() {
		if m.t.Failed() {
			m.t.Logf("the screen:\n%s", screen)
		}
	}()
	for _, text := range texts {
		eventually(m.t, fmt.Sprintf("%q on the screen", text), func() bool {
			screen = m.do("capture-pane", "-p")
			checkNoCredential(m.t, "the screen", []byte(screen))
			return strings.Contains(screen, text)
		})
	}
}

// TestTerminal drives the full screen as a user does.
func TestTerminal(t *testing.T) {
	s := newAPISite(t)
	s.ask("/first", "/second")
	m := startTmux(t, s.command("watch"))
	m.shows("/first", "/second", "2 records", "q quit")
	s.ask("/third") // follows live
	m.shows("/third", "3 records")
	m.do("send-keys", "p")
	m.shows("PAUSED")
	s.ask("/fourth")
	m.shows("1 waiting")
	m.do("send-keys", "p")
	m.shows("/fourth")

	m.do("send-keys", "Home", "Enter")
	m.shows("── Request ──", "GET http://"+serverIP+":8080/first HTTP/1.1", "── Response ──", "HTTP/1.1 200 OK", "body: ", `\x1b[2J`)
	m.do("send-keys", "Escape")
	m.shows("/fourth")
	m.do("send-keys", "f")
	m.shows("filter (CEL)")
	m.do("send-keys", "-l", `exchange.request.target == "/second"`)
	m.do("send-keys", "Enter")
	m.shows("1 records", "/second")
	m.do("send-keys", "f")
	m.do("send-keys", "-l", "nonsense ~")
	m.do("send-keys", "Enter")
	m.shows("line 1, column")
	m.do("resize-window", "-x", "50", "-y", "8")
	m.do("send-keys", "?")
	m.shows("Keys")
	m.do("send-keys", "x")
	m.do("send-keys", "q")
	eventually(t, "the terminal ends", func() bool {
		return exec.Command("tmux", "-S", m.socket, "has-session").Run() != nil
	})
}
