package hostaccess

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/pkg/netns/netnstest"
)

// The test binary prints what it finds, and nothing else, when it has this
// variable.
const roleVariable = "HOSTACCESS_TEST_PRINT"

func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(roleVariable); ok {
		os.Exit(printMain())
	}
	os.Exit(m.Run())
}

func printMain() int {
	a, err := Find()
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	if json.NewEncoder(os.Stdout).Encode(a) != nil {
		return 1
	}
	return 0
}

// TestFind asks for what a process has that was started with a part of its
// parent's namespaces and capabilities.
func TestFind(t *testing.T) {
	netnstest.Require(t)
	mine, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		attr syscall.SysProcAttr
		want func(Access) Access // of what this process has
	}{
		{"everything", syscall.SysProcAttr{}, func(a Access) Access { return a }},
		{"own network", syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}, func(a Access) Access { a.HostNetwork = false; return a }},
		{"another user", syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, func(a Access) Access { a.Privileged = false; return a }},
		{"another user, own network", syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}},
			func(a Access) Access { return Access{HostPID: a.HostPID} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program := filepath.Join(openDirectory(t), "program")
			copyFile(t, program, "/proc/self/exe")
			cmd := exec.Command(program)
			cmd.Env, cmd.Dir, cmd.Stderr = append(os.Environ(), roleVariable+"=1"), "/", os.Stderr
			cmd.SysProcAttr = &tc.attr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got Access
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if want := tc.want(mine); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// openDirectory returns a directory that every user may enter, which those of
// t.TempDir need not be.
func openDirectory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostaccess-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// fakeProc lays out files and links as /proc has them; a value that begins
// with "->" is a link.
func fakeProc(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			if target, ok := strings.CutPrefix(content, "->"); ok {
				err = os.Symlink(target, path)
			} else {
				err = os.WriteFile(path, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFindIn(t *testing.T) {
	const (
		all  = "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0000000000000000\n"
		some = "Name:\tx\nCapEff:\t000000c000002000\nCapBnd:\t000001ffffffffff\n" // NET_RAW, PERFMON, BPF
	)
	first := "sys/net/core/netdev_max_backlog"
	for _, tc := range []struct {
		name    string
		pid     int
		files   map[string]string
		missing []string
	}{
		{"all of it", 77, map[string]string{"1/comm": "systemd\n", "1/ns/net": "->net:[1]", "self/ns/net": "->net:[1]", "self/status": all}, nil},
		{"a host that is a container", 77, map[string]string{"1/comm": "systemd\n", "1/ns/net": "->net:[9]", "self/ns/net": "->net:[9]", "self/status": all}, nil},
		{"a pod's network", 77, map[string]string{"1/comm": "init\n", "1/ns/net": "->net:[1]", "self/ns/net": "->net:[2]", "self/status": all, first: "1000\n"}, []string{HostNetwork}},
		{"a container's own first process", 1, map[string]string{"1/comm": "rpcapd\n", "self/status": all, first: "1000\n"}, []string{HostPID}},
		{"a pod's first process", 7, map[string]string{"1/comm": "pause\n", "self/status": all, first: "1000\n"}, []string{HostPID}},
		{"podman's", 7, map[string]string{"1/comm": "catatonit\n", "self/status": some, first: "1000\n"}, []string{HostPID, Privileged}},
		{"nothing", 1, map[string]string{"1/comm": "interceptor\n", "self/status": some}, []string{HostNetwork, HostPID, Privileged}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := find(fakeProc(t, tc.files), tc.pid)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Missing(); !slices.Equal(got, tc.missing) {
				t.Errorf("missing %v, want %v", got, tc.missing)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no processes":    {},
		"no capabilities": {"1/comm": "pause\n", "self/status": "Name:\tx\n"},
		"bad mask":        {"1/comm": "pause\n", "self/status": "CapEff:\twhat\n"},
		"no namespaces":   {"1/comm": "systemd\n", "self/status": "CapEff:\t0\n"},
	} {
		if a, err := find(fakeProc(t, files), 5); err == nil {
			t.Errorf("%s: %+v and no error", name, a)
		}
	}
}
