//go:build linux

package doctor

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// The test binary is the doctor of a process with some capabilities only when
// it finds this variable, which lists them by number.
const roleVariable = "DOCTOR_TEST_CAPABILITIES"

func TestMain(m *testing.M) {
	if list, ok := os.LookupEnv(roleVariable); ok {
		os.Exit(weakMain(list))
	}
	os.Exit(m.Run())
}

// examineIn returns what the doctor finds in n with only these capabilities.
func examineIn(t *testing.T, n *netns.NS, capabilities string, args ...string) (report Report, status int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"--json", "--ring-size=2"}, args...)...)
	cmd.Env = append(os.Environ(), roleVariable+"="+capabilities)
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, os.Stderr
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the status tells
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	return report, cmd.ProcessState.ExitCode()
}

func (r Report) find(t *testing.T, name string) Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q", name)
	return Check{}
}

// TestByCapabilities holds that each missing capability is found, with its cost
// and a remedy for each way to run, and that others aren't blamed.
func TestByCapabilities(t *testing.T) {
	netnstest.RequireCapture(t)
	n := netnstest.New(t)
	for _, tc := range []struct {
		name, capabilities string
		status             int
		missing            []string
		remedy             string // in each of the missing ones'
	}{
		{"all", "13 38 39", canCapture, nil, ""},
		{"no PERFMON", "13 39", canCapture, []string{"CAP_PERFMON"}, "PERFMON"},
		{"no BPF", "13 38", canCapture, []string{"socket filter", "device parameters in the kernel"}, "BPF"},
		{"no NET_RAW", "38 39", cannotCapture, []string{"packet socket", "ring", "promiscuous mode"}, "NET_RAW"},
		{"none", "", cannotCapture, []string{"packet socket", "ring", "promiscuous mode", "socket filter", "device parameters in the kernel", "CAP_PERFMON"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			report, status := examineIn(t, n, tc.capabilities)
			if status != tc.status || report.CanCapture != (tc.status == canCapture) {
				t.Errorf("status %d, can capture: %v", status, report.CanCapture)
			}
			missing := make(map[string]bool)
			for _, name := range tc.missing {
				missing[name] = true
			}
			for _, c := range report.Checks {
				if c.Name == "interfaces" || c.Name == "compiled filters" {
					continue // of the host
				}
				if c.OK == missing[c.Name] {
					t.Errorf("%+v", c)
				}
				if c.OK {
					continue
				}
				if c.Cost == "" || c.Remedy == nil || c.Detail == "" {
					t.Fatalf("nothing about cost or remedy: %+v", c)
				}
				for _, text := range []string{c.Remedy.Host, c.Remedy.Systemd, c.Remedy.Container, c.Remedy.Kubernetes} {
					if text == "" || !strings.Contains(strings.ToUpper(text), tc.remedy) {
						t.Errorf("remedy %q of %s", text, c.Name)
					}
				}
			}
		})
	}
}

func TestInterfaces(t *testing.T) {
	netnstest.RequireCapture(t)
	host, peer := netnstest.New(t), netnstest.New(t)
	report, _ := examineIn(t, host, "13 39")
	if c := report.find(t, "interfaces"); c.OK || c.Remedy == nil || c.Remedy.Kubernetes != "hostNetwork: true in the pod's spec" {
		t.Errorf("%+v", c)
	}
	if err := netns.Veth(host, "eth0", peer, "eth0"); err != nil {
		t.Fatal(err)
	}
	report, _ = examineIn(t, host, "13 39")
	if c := report.find(t, "interfaces"); !c.OK || c.Detail != "1 up beside loopback" {
		t.Errorf("%+v", c)
	}
}

// TestForbidden holds that a refusal in spite of the capability is not blamed
// on the capability.
func TestForbidden(t *testing.T) {
	netnstest.RequireCapture(t)
	c := Check{Name: "socket filter", Cost: costEverything}.of(unix.EPERM, "", denied(unix.CAP_BPF, "BPF", "bpf"))
	if c.OK || !strings.Contains(c.Remedy.Container, "seccomp") || !strings.Contains(c.Remedy.Kubernetes, "seccompProfile") {
		t.Errorf("%+v", c)
	}
}

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"--help"}, canCapture, "USAGE: rpcapd doctor", ""},
		{[]string{"--nosuch"}, badUsage, "", "flag provided but not defined: -nosuch"},
		{[]string{"now"}, badUsage, "", `"now" is no option`},
		{[]string{"--ring-size=0"}, badUsage, "", "--ring-size 0 is not positive"},
	} {
		var stdout, stderr bytes.Buffer
		status := Run(tc.args, &stdout, &stderr)
		if status != tc.status || !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
			t.Errorf("%v: %d, %q, %q", tc.args, status, stdout.String(), stderr.String())
		}
	}
}

func TestText(t *testing.T) {
	r := Report{Kernel: "9.9", Checks: []Check{
		{Name: "ring", OK: true, Needed: true, Detail: "mapped 2 MiB"},
		{Name: "socket filter", Needed: true, Detail: "EPERM", Cost: costEverything, Remedy: capability("BPF")},
		{Name: "CAP_PERFMON", Detail: "not there", Cost: "some time", Remedy: &Remedy{Host: "do this"}},
	}}
	want := `ok        ring: mapped 2 MiB
MISSING   socket filter: EPERM
          costs:      nothing can be captured
          host:       setcap cap_bpf+ep on the program, with the others that it has
          systemd:    AmbientCapabilities=CAP_BPF and CapabilityBoundingSet=CAP_BPF, added to the others, in [Service]
          container:  --cap-add BPF
          Kubernetes: securityContext: {capabilities: {add: [BPF]}}, with runAsUser: 0 or file capabilities on the program
optional  CAP_PERFMON: not there
          costs:      some time
          host:       do this
This process can't capture (Linux 9.9).
`
	if got := r.Text(); got != want {
		t.Errorf("got\n%s", got)
	}
}
