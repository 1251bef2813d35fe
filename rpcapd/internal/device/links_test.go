//go:build linux

package device

import (
	"fmt"
	"path"
	"testing"

	"github.com/vishvananda/netlink"

	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

func pattern(p string) func(string) bool {
	return func(name string) bool { ok, _ := path.Match(p, name); return ok }
}

// watch watches n's interfaces.
func watch(t *testing.T, n *netns.NS, wanted string, unknown bool, tell func(int, bool)) *linkWatcher {
	t.Helper()
	var w *linkWatcher
	err := n.Do(func() (err error) { w, err = watchLinks(pattern(wanted), unknown, tell); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// indexOf returns the index of an interface of n.
func indexOf(t *testing.T, n *netns.NS, name string) int {
	t.Helper()
	index, err := n.Index(name)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestWatcherFollows(t *testing.T) {
	netnstest.Require(t)
	host, peer := netnstest.New(t), netnstest.New(t)
	if err := netns.Veth(host, "old0", peer, "a"); err != nil {
		t.Fatal(err)
	}
	w := watch(t, host, "veth*", false, nil)
	want := func(index int, want bool, when string) {
		t.Helper()
		if got := w.Wants(index); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	old := indexOf(t, host, "old0")
	want(old, false, "was there and doesn't match")
	want(1, false, "lo")
	want(12345, false, "never was there")

	if err := netns.Veth(host, "veth1", peer, "b"); err != nil {
		t.Fatal(err)
	}
	// Asked at once: the announcement may still wait in the socket.
	first := indexOf(t, host, "veth1")
	want(first, true, "came and matches")
	if err := netns.Veth(host, "new0", peer, "c"); err != nil {
		t.Fatal(err)
	}
	want(indexOf(t, host, "new0"), false, "came and doesn't match")

	// Gone before anybody asks: only the announcements can tell its name.
	if err := netns.Veth(host, "veth2", peer, "d"); err != nil {
		t.Fatal(err)
	}
	second := indexOf(t, host, "veth2")
	if err := host.Delete("veth2"); err != nil {
		t.Fatal(err)
	}
	want(second, true, "came, matches and is gone")
	if err := host.Delete("veth1"); err != nil {
		t.Fatal(err)
	}
	want(first, true, "is gone, with frames in the ring")
}

func TestWatcherFollowsNames(t *testing.T) {
	netnstest.Require(t)
	host, peer := netnstest.New(t), netnstest.New(t)
	if err := netns.Veth(host, "tmp0", peer, "a"); err != nil {
		t.Fatal(err)
	}
	index := indexOf(t, host, "tmp0")
	told := make(chan string, 10)
	w := watch(t, host, "veth*", false, func(index int, want bool) { told <- fmt.Sprint(index, want) })
	if got := <-told + " " + <-told; got != fmt.Sprint("1 false ", index, " false") && got != fmt.Sprint(index, " false 1 false") {
		t.Errorf("told %q at the beginning", got)
	}
	err := host.Do(func() error {
		link, err := netlink.LinkByName("tmp0")
		if err != nil {
			return err
		}
		return netlink.LinkSetName(link, "veth7")
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-told; got != fmt.Sprint(index, " true") {
		t.Errorf("told %q after the renaming", got)
	}
	if !w.Wants(index) {
		t.Error("the new name is not known")
	}
}

// TestWatcherUnknown tests the verdict on interfaces that nobody can name.
func TestWatcherUnknown(t *testing.T) {
	netnstest.Require(t)
	n := netnstest.New(t)
	for _, unknown := range []bool{false, true} {
		w := watch(t, n, "*", unknown, nil)
		for range 2 {
			if got := w.Wants(4711); got != unknown {
				t.Errorf("%v, want %v", got, unknown)
			}
		}
	}
}

// TestWatcherLostAnnouncements makes the kernel drop announcements.
func TestWatcherLostAnnouncements(t *testing.T) {
	netnstest.Require(t)
	host, peer := netnstest.New(t), netnstest.New(t)
	w := watch(t, host, "veth*", false, nil)
	w.mu.Lock() // nobody reads now
	var indexes []int
	for i := range 3 {
		name := fmt.Sprintf("veth%d", i)
		if err := netns.Veth(host, name, peer, name); err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, indexOf(t, host, name))
	}
	w.mu.Unlock()
	// What a full socket leads to.
	w.mu.Lock()
	w.verdicts.Store(&map[int]bool{})
	if err := w.list(); err != nil {
		t.Error(err)
	}
	w.mu.Unlock()
	for _, index := range indexes {
		if !w.Wants(index) {
			t.Errorf("interface %d is not known after listing again", index)
		}
	}
}

func TestWatcherForgets(t *testing.T) {
	netnstest.Require(t)
	told := map[int]bool{}
	w := watch(t, netnstest.New(t), "veth*", false, func(index int, want bool) { told[index] = want })
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range maxGone + 5 {
		w.forget(1000+i, false)
	}
	if n := len(*w.verdicts.Load()); n != maxGone+1 { // and lo
		t.Errorf("%d interfaces are remembered", n)
	}
	if want, ok := told[1000]; !ok || !want {
		t.Error("nobody was told that the oldest is not known any more")
	}
	if told[1000+5] {
		t.Error("an interface that is remembered was told as unknown")
	}
}

func TestWantsAllocatesNothing(t *testing.T) {
	netnstest.Require(t)
	w := watch(t, netnstest.New(t), "lo", false, nil)
	if n := testing.AllocsPerRun(100, func() { w.Wants(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
