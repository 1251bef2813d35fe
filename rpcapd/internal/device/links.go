//go:build linux

package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkWatcher knows which interfaces are wanted, by their names, while they
// come, are renamed and go. The kernel announces an interface before any frame
// of it, but the announcement waits in a socket of ours when the frame is
// already in the ring. So a frame of an unknown interface is decided after
// reading all that waits there.
type linkWatcher struct {
	// immutable
	wanted  func(name string) bool
	unknown bool                       // verdict on interfaces whose name nobody knows any more
	tell    func(index int, want bool) // is told each verdict when it is made or changes; may be nil
	events  *os.File
	raw     syscall.RawConn // of events
	lookup  *netlink.Handle

	// verdicts is read by whoever asks and replaced by whoever holds mu.
	verdicts atomic.Pointer[map[int]bool]

	mu     sync.Mutex
	gone   []int // deleted interfaces that are still in verdicts, the oldest first
	buffer []byte

	reading sync.WaitGroup
}

const (
	// linkBuffer is how many bytes of announcements the kernel may keep for us.
	// It is a wish, which net.core.rmem_max limits.
	linkBuffer = 8 << 20
	// linkMessage holds the largest message of the kernel.
	linkMessage = 64 << 10
	// maxGone is how many deleted interfaces are remembered, since frames of
	// theirs may still be in the ring.
	maxGone = 4096
)

// watchLinks begins to watch the interfaces of the calling thread's network
// namespace. tell is called for those that exist before watchLinks returns, and
// from any goroutine later, never twice at the same time.
func watchLinks(wanted func(name string) bool, unknown bool, tell func(index int, want bool)) (*linkWatcher, error) {
	w := &linkWatcher{wanted: wanted, unknown: unknown, tell: tell, buffer: make([]byte, linkMessage)}
	w.verdicts.Store(&map[int]bool{})
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	w.mu.Lock()
	err := w.list()
	w.mu.Unlock()
	if err != nil {
		w.closeFiles()
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	w.reading.Go(w.read) // ended by Close, which waits
	return w, nil
}

// CheckWatch tells why interfaces can't be followed as they come and go; nil:
// they can.
func CheckWatch() error {
	w, err := watchLinks(func(string) bool { return true }, true, nil)
	if err != nil {
		return err
	}
	return w.Close()
}

func (w *linkWatcher) open() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	// The first needs CAP_NET_ADMIN; neither must succeed.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, linkBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, linkBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("subscribe to interfaces: %w", err)
	}
	w.events = os.NewFile(uintptr(fd), "netlink")
	if w.raw, err = w.events.SyscallConn(); err == nil {
		w.lookup, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	}
	if err != nil {
		w.events.Close()
	}
	return err
}

// Wants reports whether frames of the interface with this index are wanted.
// It allocates only for an index that it hasn't met.
func (w *linkWatcher) Wants(index int) bool {
	if want, ok := (*w.verdicts.Load())[index]; ok {
		return want
	}
	return w.decide(index)
}

// decide is Wants for an index that no announcement read so far has named.
func (w *linkWatcher) decide(index int) bool {
	_ = w.raw.Control(func(fd uintptr) { w.drain(int(fd)) }) // fails after Close only
	w.mu.Lock()
	defer w.mu.Unlock()
	if want, ok := (*w.verdicts.Load())[index]; ok {
		return want
	}
	// Announcements were lost, or it moved to another namespace before we began.
	want := w.unknown
	if link, err := w.lookup.LinkByIndex(index); err == nil {
		want = w.wanted(link.Attrs().Name)
	}
	w.set(index, want)
	return want
}

// read reads announcements until Close.
func (w *linkWatcher) read() {
	_ = w.raw.Read(func(fd uintptr) (done bool) {
		w.drain(int(fd))
		return false // wait until there is more
	})
}

// drain reads all announcements that wait.
func (w *linkWatcher) drain(fd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n, _, err := unix.Recvfrom(fd, w.buffer, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS): // some were lost
			_ = w.list() // what this can't tell, decide asks for
		case err != nil:
			return
		default:
			w.announced(w.buffer[:n])
		}
	}
}

// announced takes in messages of the kernel (rtnetlink(7)).
func (w *linkWatcher) announced(b []byte) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return
	}
	for _, m := range messages {
		index, name, ok := parseLink(&m)
		switch {
		case !ok:
		case m.Header.Type == unix.RTM_NEWLINK:
			w.set(index, w.wanted(name))
		case m.Header.Type == unix.RTM_DELLINK:
			w.forget(index, w.wanted(name))
		}
	}
}

// parseLink returns what a message about an interface says: struct ifinfomsg,
// then attributes.
func parseLink(m *syscall.NetlinkMessage) (index int, name string, ok bool) {
	if m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return 0, "", false
	}
	if m.Data[0] != unix.AF_UNSPEC {
		return 0, "", false // of a bridge about one of its ports
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return 0, "", false
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.IFLA_IFNAME {
			name, _, _ := strings.Cut(string(a.Value), "\x00")
			return int(int32(binary.NativeEndian.Uint32(m.Data[4:]))), name, true
		}
	}
	return 0, "", false
}

// list takes in the interfaces that exist. The caller holds mu.
func (w *linkWatcher) list() error {
	links, err := w.lookup.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, link := range links {
		w.set(link.Attrs().Index, w.wanted(link.Attrs().Name))
	}
	return nil
}

// set notes a verdict. The caller holds mu.
func (w *linkWatcher) set(index int, want bool) {
	known := *w.verdicts.Load()
	if old, ok := known[index]; ok && old == want {
		return
	}
	known = maps.Clone(known) // others read the old one
	known[index] = want
	w.verdicts.Store(&known)
	if w.tell != nil {
		w.tell(index, want)
	}
}

// forget notes that an interface is gone; its verdict stays for a while. The
// caller holds mu.
func (w *linkWatcher) forget(index int, want bool) {
	w.set(index, want)
	if w.gone = append(w.gone, index); len(w.gone) <= maxGone {
		return
	}
	oldest := w.gone[0]
	w.gone = w.gone[1:]
	known := maps.Clone(*w.verdicts.Load())
	delete(known, oldest)
	w.verdicts.Store(&known)
	if w.tell != nil {
		w.tell(oldest, true) // as for any interface that isn't known
	}
}

// Close ends the watch. Wants may be called on.
func (w *linkWatcher) Close() error {
	err := w.closeFiles()
	w.reading.Wait()
	return err
}

func (w *linkWatcher) closeFiles() error {
	err := w.events.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookup.Close()
	return err
}
