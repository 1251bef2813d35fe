package netns_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// pair returns two namespaces joined by a veth pair va–vb with addresses
// 10.9.0.1, fd00::1 and 10.9.0.2, fd00::2.
func pair(t *testing.T) (a, b *netns.NS) {
	t.Helper()
	a, b = netnstest.New(t), netnstest.New(t)
	if err := netns.Veth(a, "va", b, "vb"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		ns     *netns.NS
		ifname string
		prefix string
	}{
		{a, "va", "10.9.0.1/24"}, {a, "va", "fd00::1/64"},
		{b, "vb", "10.9.0.2/24"}, {b, "vb", "fd00::2/64"},
	} {
		if err := s.ns.AddAddr(s.ifname, netip.MustParsePrefix(s.prefix)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func TestTCPAcrossVeth(t *testing.T) {
	netnstest.Require(t)
	a, b := pair(t)
	for _, host := range []string{"10.9.0.2", "fd00::2"} {
		l, err := b.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Errorf("accept: %v", err)
				return
			}
			defer c.Close()
			io.Copy(c, c)
		})
		c, err := a.DialContext(context.Background(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("through the veth "), 10_000)
		wg.Go(func() {
			c.Write(want)
			c.(*net.TCPConn).CloseWrite()
		})
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: echoed %d bytes of %d, %v", host, len(got), len(want), err)
		}
		wg.Wait()
		c.Close()
		l.Close()
		// The address exists inside only.
		if c, err := net.DialTimeout("tcp", l.Addr().String(), 50*time.Millisecond); err == nil {
			t.Errorf("%s is reachable from outside", host)
			c.Close()
		}
	}
}

func TestListenAndDialRefuseNames(t *testing.T) {
	netnstest.Require(t)
	n := netnstest.New(t)
	if _, err := n.Listen("tcp", "localhost:0"); err == nil {
		t.Error("Listen took a host name")
	}
	if _, err := n.DialContext(context.Background(), "tcp", "localhost:1"); err == nil {
		t.Error("DialContext took a host name")
	}
}

func TestVethHasNoUnaskedAddress(t *testing.T) {
	netnstest.Require(t)
	a, b := netnstest.New(t), netnstest.New(t)
	if err := netns.Veth(a, "va", b, "vb"); err != nil {
		t.Fatal(err)
	}
	err := a.Do(func() error {
		i, err := net.InterfaceByName("va")
		if err != nil {
			return err
		}
		if i.Flags&net.FlagUp == 0 {
			return fmt.Errorf("va is down: %v", i.Flags)
		}
		addrs, err := i.Addrs()
		if len(addrs) != 0 {
			return fmt.Errorf("va has addresses %v", addrs)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := b.Index("va"); err == nil {
		t.Error("va is in the wrong namespace too")
	}
}

// TestMain lets the test binary be the child process of its own tests.
func TestMain(m *testing.M) {
	if os.Getenv("NETNS_TEST_CHILD") == "1" {
		child()
		return
	}
	os.Exit(m.Run())
}

// child says where it lives and then waits for the end of its input.
func child() {
	link, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		fmt.Println(err)
		return
	}
	i, err := net.InterfaceByName("va")
	fmt.Printf("%s %v %v\n", link, i != nil, err)
	io.Copy(io.Discard, os.Stdin)
}

func childCommand() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "NETNS_TEST_CHILD=1")
	return cmd
}

// nsOf returns the kernel's name of n, "net:[inode]".
func nsOf(t *testing.T, n *netns.NS) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestChildLivesInNamespaceUntilClose(t *testing.T) {
	netnstest.Require(t)
	a, _ := pair(t)
	want := nsOf(t, a) + " true <nil>\n"
	cmd := childCommand()
	if _, err := cmd.StdinPipe(); err != nil { // keeps the child waiting
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(cmd); err != nil {
		t.Fatal(err)
	}
	// Pdeathsig watches the starting thread, so threads have to come and go
	// here without the child noticing.
	for range 10 {
		var wg sync.WaitGroup
		wg.Go(func() { runtime.LockOSThread() })
		wg.Wait()
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
		t.Errorf("child says %q, %v, want %q", got, err, want)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("child died before Close: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, out)
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("child ended with %v, want SIGKILL", err)
	}
}

func TestNothingLeftAfterClose(t *testing.T) {
	netnstest.Require(t)
	self, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	outer := netnstest.New(t) // sees the far ends go
	names := map[string]bool{}
	var all []*netns.NS // alive together: the kernel gives the name of one that is gone to the next
	for i := range 5 {
		n, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		if err := netns.Veth(outer, fmt.Sprintf("v%d", i), n, "v"); err != nil {
			t.Fatal(err)
		}
		if err := n.Do(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		names[nsOf(t, n)] = true
		all = append(all, n)
	}
	for _, n := range all {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if n.Fd() != -1 {
			t.Errorf("Fd after Close = %d", n.Fd())
		}
	}
	if names[self] || len(names) != 5 {
		t.Fatalf("namespaces %v, own is %s", names, self)
	}
	// The worker's thread ends, and the kernel destroys, shortly afterwards.
	left := "unknown"
	for range 1000 {
		if left = leftOver(t, names, outer); left == "" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("left after Close: %s", left)
}

func leftOver(t *testing.T, names map[string]bool, outer *netns.NS) string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"/proc/self/fd/*", "/proc/self/task/*/ns/net"} {
		paths, _ := filepath.Glob(pattern)
		for _, p := range paths {
			if link, err := os.Readlink(p); err == nil && names[link] {
				left = append(left, p+" → "+link)
			}
		}
	}
	err := outer.Do(func() error {
		is, err := net.Interfaces()
		for _, i := range is {
			if i.Name != "lo" {
				left = append(left, "interface "+i.Name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(left, ", ")
}

func TestDoRestoresThreadAndReportsErrors(t *testing.T) {
	netnstest.Require(t)
	n := netnstest.New(t)
	want := errors.New("from f")
	if err := n.Do(func() error { return want }); err != want {
		t.Errorf("Do = %v, want f's error", err)
	}
	exited := true
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Do(func() error { runtime.Goexit(); return nil })
		exited = false
	}()
	<-done
	if !exited {
		t.Error("Goexit in f did not reach the caller")
	}
	inside := nsOf(t, n)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			n.Do(func() error {
				if got, _ := os.Readlink("/proc/thread-self/ns/net"); got != inside {
					t.Errorf("f ran in %s, want %s", got, inside)
				}
				return nil
			})
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if got, _ := os.Readlink("/proc/thread-self/ns/net"); got == inside {
				t.Error("a thread stayed in the namespace")
			}
		})
	}
	wg.Wait()
}

func TestClosedNamespaceRefuses(t *testing.T) {
	netnstest.Require(t)
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	other := netnstest.New(t)
	n.Close()
	_, listenErr := n.Listen("tcp", "127.0.0.1:0")
	_, dialErr := n.DialContext(context.Background(), "tcp", "127.0.0.1:1")
	for what, err := range map[string]error{
		"Do":          n.Do(func() error { return nil }),
		"Start":       n.Start(childCommand()),
		"Listen":      listenErr,
		"DialContext": dialErr,
		"Veth from":   netns.Veth(n, "x", other, "y"),
		"Veth to":     netns.Veth(other, "x", n, "y"),
		"AddAddr":     n.AddAddr("lo", netip.MustParsePrefix("127.0.0.2/8")),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v, want os.ErrClosed", what, err)
		}
	}
}

func TestCheckCapabilityNamesWhatIsMissing(t *testing.T) {
	// 63 is no capability of any kernel.
	err := netns.CheckCapability(63, "CAP_OF_NOBODY")
	var missing *netns.CapabilityError
	if !errors.As(err, &missing) || missing.Capability != "CAP_OF_NOBODY" {
		t.Errorf("CheckCapability = %v", err)
	}
}

func Example() {
	if netns.Supported() != nil {
		fmt.Println("10.1.0.1 says hello") // no privilege: nothing to show
		return
	}
	server, _ := netns.New()
	defer server.Close()
	client, _ := netns.New()
	defer client.Close()
	netns.Veth(server, "eth0", client, "eth0")
	server.AddAddr("eth0", netip.MustParsePrefix("10.1.0.1/24"))
	client.AddAddr("eth0", netip.MustParsePrefix("10.1.0.2/24"))

	l, err := server.Listen("tcp", "10.1.0.1:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	c, err := client.DialContext(context.Background(), "tcp", "10.1.0.1:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	greeting, _ := io.ReadAll(c)
	fmt.Printf("10.1.0.1 says %s\n", greeting)
	// Output: 10.1.0.1 says hello
}
