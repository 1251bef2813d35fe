package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// publicDir returns a directory that every user can read; those of testing are
// root's alone.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "capstan-extcap-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// installExtcap installs the extcap by its own command and returns the folder.
func installExtcap(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	out, err := exec.Command(filepath.Join(binDir, "extcap"), "--install", "--install-dir", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// tsharkExtcap returns a tshark that knows the extcap. It runs as nobody: as
// root it takes extcaps from the system's folder alone.
func tsharkExtcap(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	netnstest.Require(t)
	home := publicDir(t)
	const nobody = 65534
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(netnstest.RequireProgram(t, "tshark"), args...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "WIRESHARK_EXTCAP_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// TestTsharkListsExtcap: after the one command of the installation, tshark shows
// the interface and its fields.
func TestTsharkListsExtcap(t *testing.T) {
	dir := installExtcap(t)
	out, err := tsharkExtcap(t, dir, "-D").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "rpcap (RPCAP server)") {
		t.Errorf("tshark -D prints\n%s", out)
	}
}

// sendUDP sends n datagrams to the server until the test has ended or stop is
// closed, so that none is missed for having come before the capture.
func sendUDP(t *testing.T, from *netns.NS, port int, stop <-chan struct{}) {
	t.Helper()
	conn, err := from.DialContext(t.Context(), "udp", fmt.Sprintf("%s:%d", serverIP, port))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with stop or the test; waited for
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-t.Context().Done():
				return
			case <-time.After(time.Millisecond):
				_, _ = fmt.Fprintf(conn, "datagram %d", n) // nobody listens: refused at times
			}
		}
	}()
	t.Cleanup(func() { <-done; conn.Close() })
}

// TestTsharkCapturesThroughExtcap: a tshark without remote capture captures from
// our server with a filter, by every transport, with parameters of the device.
func TestTsharkCapturesThroughExtcap(t *testing.T) {
	dir := installExtcap(t)
	net := newNetwork(t)
	startRpcapd(t, net.server, "-n", "-b", serverIP)
	for _, tt := range []struct {
		name    string
		options []string
	}{
		{"connect", nil},
		{"accept", []string{"transport:accept"}},
		{"datagram", []string{"transport:datagram"}},
		{"parameters and sampling", []string{"parameters:dir=in", "sampling:count", "samplingvalue:3", "snaplen:100"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stop := make(chan struct{})
			defer close(stop)
			sendUDP(t, net.client, 9, stop)
			sendUDP(t, net.client, 4242, stop)
			args := []string{"-n", "-i", "rpcap", "-c", "20", "-f", "udp port 4242", "-T", "fields", "-e", "udp.dstport",
				"-o", "extcap.rpcap.host:" + serverIP, "-o", "extcap.rpcap.device:eth0"}
			for _, o := range tt.options {
				args = append(args, "-o", "extcap.rpcap."+o)
			}
			cmd := tsharkExtcap(t, dir, args...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := net.client.Start(cmd); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
			defer kill.Stop()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			lines := 0
			for s := bufio.NewScanner(&stdout); s.Scan(); lines++ {
				if s.Text() != "4242" {
					t.Errorf("line %d: %q", lines, s.Text())
				}
			}
			if lines != 20 {
				t.Errorf("%d frames, want 20\n%s", lines, stderr.String())
			}
		})
	}
}

// TestExtcapSpeaksExtcap holds the answers to Wireshark's other questions.
func TestExtcapSpeaksExtcap(t *testing.T) {
	net := newNetwork(t)
	startRpcapd(t, net.server, "-n", "-b", serverIP)
	ask := func(args ...string) (string, int) {
		t.Helper()
		p := start(t, net.client, nil, "extcap", args...)
		status := p.wait()
		return p.stdout.String() + p.stderr.String(), status
	}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"devices", []string{"--extcap-interface", "rpcap", "--extcap-config", "--extcap-reload-option", "device", "--host", serverIP}, 0, "{value=eth0}"},
		{"fields", []string{"--extcap-interface=rpcap", "--extcap-config"}, 0, "{call=--host}{display=Host}{type=string}{group=Server}{required=true}"},
		{"link types", []string{"--extcap-interface=rpcap", "--extcap-dlts"}, 0, "dlt {number=1}"},
		{"another interface", []string{"--extcap-interface=eth0", "--extcap-dlts"}, 1, `no interface "eth0"`},
		{"a bad filter", []string{"--extcap-interface=rpcap", "--extcap-capture-filter=host"}, 0, "position 5"},
		{"no host", []string{"--extcap-interface=rpcap", "--capture", "--fifo=/dev/null"}, 1, "no host"},
		{"no such device", []string{"--extcap-interface=rpcap", "--capture", "--fifo=/dev/null", "--host", serverIP, "--device=nosuch0"}, 1, "nosuch0"},
		{"no server", []string{"--extcap-interface=rpcap", "--capture", "--fifo=/dev/null", "--host", serverIP, "--port=9"}, 1, "Is the server properly installed?"},
		{"a bad port", []string{"--extcap-interface=rpcap", "--capture", "--fifo=/dev/null", "--host", serverIP, "--port=99999"}, 1, `port "99999"`},
		{"no TLS there", []string{"--extcap-interface=rpcap", "--capture", "--fifo=/dev/null", "--host", serverIP, "--tls"}, 1, "TLS handshake"},
	} {
		if got, status := ask(tt.args...); status != tt.status || !strings.Contains(got, tt.want) {
			t.Errorf("%s: status %d, printed\n%s", tt.name, status, got)
		}
	}
	if got, _ := ask("--extcap-interface=rpcap", "--extcap-capture-filter=tcp port 80"); got != "" {
		t.Errorf("a good filter is answered by %q", got)
	}
}
