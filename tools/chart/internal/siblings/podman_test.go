package siblings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const repository = "../../../.."

// podman runs containers for a test, in a storage that the tests of this
// package have to themselves, so that they touch none of the host's.
type podman struct {
	t   *testing.T
	dir string
	env []string
}

// shared is the storage: it is made, and the images in it are, by the first
// test that wants them.
var shared struct {
	dir    string
	images sync.Once
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.dir != "" {
		if err := newPodman(nil).remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func newPodman(t *testing.T) *podman {
	return &podman{t, shared.dir, append(os.Environ(), "CONTAINERS_STORAGE_CONF="+shared.dir+"/storage.conf",
		"DISABLE_HC_SYSTEMD=true")} // healthchecks are timers of systemd; the tests probe by themselves
}

// requireProgram returns the path of a program. Without it the test is skipped,
// or with CI=true fails.
func requireProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		cannotRun(t, err.Error())
	}
	return path
}

func cannotRun(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true, but this test can't run: %s", why)
	}
	t.Skip(why)
}

// requirePodman asks for what running pods needs.
func requirePodman(t *testing.T) *podman {
	t.Helper()
	for _, program := range []string{"podman", "runc", "make"} {
		requireProgram(t, program)
	}
	if os.Getuid() != 0 {
		cannotRun(t, "not root: pods in the host's network can't capture")
	}
	if shared.dir != "" {
		return newPodman(t)
	}
	dir, err := os.MkdirTemp("", "siblings-")
	if err != nil {
		t.Fatal(err)
	}
	shared.dir = dir
	p := newPodman(t)
	p.write("storage.conf", fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", dir+"/graph", dir+"/run"))
	// The limits are for where CAP_SYS_RESOURCE is missing, runc for where
	// cgroups are hybrid.
	base := "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n"
	engine := "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
	p.write("own-pid.conf", base+engine)
	// podman 4.3 plays hostPID by this alone.
	p.write("host-pid.conf", base+"pidns = \"host\"\n"+engine)
	return p
}

func (p *podman) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// command is podman with arguments; hostPID chooses the configuration.
func (p *podman) command(ctx context.Context, hostPID bool, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	config := "own-pid.conf"
	if hostPID {
		config = "host-pid.conf"
	}
	cmd.Env = append(p.env[:len(p.env):len(p.env)], "CONTAINERS_CONF="+filepath.Join(p.dir, config))
	return cmd
}

// commandLimit bounds one command of podman, or a build, on a busy machine too.
const commandLimit = 8 * time.Minute

func (p *podman) run(hostPID bool, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, err := p.command(ctx, hostPID, name, args...).CombinedOutput()
	return string(out), err
}

func (p *podman) must(name string, args ...string) string {
	p.t.Helper()
	out, err := p.run(false, name, args...)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// buildImages builds the images as an operator does.
func (p *podman) buildImages() {
	p.t.Helper()
	shared.images.Do(func() { p.image("podman", runtime.GOARCH, "") })
}

// image runs "make image"; without a tag for the chart's.
func (p *podman) image(engine, arch, tag string) {
	p.t.Helper()
	args := []string{"-s", "-C", repository, "image", "IMAGE_ENGINE=" + engine, "IMAGE_PREFIX=localhost/", "IMAGE_ARCH=" + arch, "BIN=" + p.bin()}
	if tag != "" {
		args = append(args, "IMAGE_TAG="+tag)
	}
	p.must("make", args...)
}

func (p *podman) bin() string { return filepath.Join(p.dir, "bin") }

// program returns the path of a program of an image that was built.
func (p *podman) program(arch, name string) string {
	return filepath.Join(p.bin(), "image", arch, name)
}

// remove leaves nothing of the storage.
func (p *podman) remove() error {
	var failed error
	for _, args := range [][]string{{"pod", "rm", "--force", "--all", "--time=1"}, {"volume", "rm", "--force", "--all"}, {"image", "rm", "--force", "--all"}} {
		if out, err := p.run(false, "podman", args...); err != nil {
			failed = errors.Join(failed, fmt.Errorf("podman %v: %w\n%s", args, err, out))
		}
	}
	_, _ = p.run(false, "umount", filepath.Join(p.dir, "graph", "overlay")) // mounted in some kernels only
	return errors.Join(failed, os.RemoveAll(p.dir))
}

// play starts a pod and removes it at the end of the test.
func (p *podman) play(t *testing.T, name string, spec *pod) {
	t.Helper()
	object := corev1.Pod{Spec: spec.PodSpec}
	object.APIVersion, object.Kind, object.Name = "v1", "Pod", name
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	file := name + ".yaml"
	p.write(file, string(text))
	args := []string{"kube", "play", filepath.Join(p.dir, file)}
	if !spec.HostNetwork { // a bridge would need netfilter
		args = append(args, "--network=none")
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, c := range spec.Containers {
				t.Logf("%s says:\n%s", c.Name, p.logs(name, c.Name))
			}
		}
		if out, err := p.run(false, "podman", "pod", "rm", "--force", "--time=5", name); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := p.run(false, "podman", "volume", "rm", "--force", "--all"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	if out, err := p.run(spec.HostPID, "podman", args...); err != nil {
		t.Fatalf("kube play: %v\n%s", err, out)
	}
}

// logs returns what a container has printed.
func (p *podman) logs(pod, container string) string {
	out, err := p.run(false, "podman", "logs", pod+"-"+container)
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return out
}

// process returns the number on this host of a container's process.
func (p *podman) process(t *testing.T, container string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(p.must("podman", "inspect", "--format={{.State.Pid}}", container)))
	if err != nil || pid <= 1 {
		t.Fatalf("process %d of %s: %v", pid, container, err)
	}
	return pid
}

// kill ends a container's process from outside, which podman doesn't take for
// a wish to stop it.
func (p *podman) kill(t *testing.T, container string) {
	t.Helper()
	if err := syscall.Kill(p.process(t, container), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// everywhere makes one of the ways to write all addresses.
var everywhere = strings.NewReplacer("0.0.0.0:", "*:", "[::]:", "*:")

// checkListeners holds at which addresses and ports of this host's network a
// container listens, by TCP or UDP. Of all addresses is *, by one socket or two.
func (p *podman) checkListeners(t *testing.T, container string, want ...string) {
	t.Helper()
	owner := fmt.Sprintf("pid=%d,", p.process(t, container))
	var got []string
	for line := range strings.Lines(p.must(requireProgram(t, "ss"), "-H", "-n", "-l", "-t", "-u", "-p")) {
		if fields := strings.Fields(line); strings.Contains(line, owner) {
			got = append(got, everywhere.Replace(fields[4]))
		}
	}
	slices.Sort(got)
	got = slices.Compact(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s listens at %v, want %v", container, got, want)
	}
}

// checkConfined holds what the kernel says of a container's process that needs
// nothing of its host.
func (p *podman) checkConfined(t *testing.T, container string) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.process(t, container))
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Uid:\t1000\t1000\t1000\t1000\n", "Gid:\t1000\t1000\t1000\t1000\n",
		"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("%s: no %q in its status", container, want)
		}
	}
	mounts, err := os.ReadFile(proc + "mounts")
	if err != nil {
		t.Fatal(err)
	}
	roots := 0
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == "/" {
			roots++
			if !slices.Contains(strings.Split(f[3], ","), "ro") {
				t.Errorf("%s: its root is %s", container, line)
			}
		}
	}
	if roots == 0 {
		t.Errorf("%s has no root", container)
	}
}

// probe runs a container's own probes.
func (p *podman) probe(pod string, c corev1.Container) error {
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		if probe == nil {
			continue
		}
		out, err := p.run(false, "podman", append([]string{"exec", pod + "-" + c.Name}, probe.Exec.Command...)...)
		if err != nil {
			return fmt.Errorf("%v: %w: %s", probe.Exec.Command, err, out)
		}
	}
	return nil
}

// eventually waits until something is so, for as long as was promised.
func eventually(t *testing.T, limit time.Duration, what string, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", limit, what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
