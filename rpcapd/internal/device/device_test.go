//go:build linux

package device

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
)

func TestOrderOfInterfaces(t *testing.T) {
	list := []rpcap.Interface{
		{Name: "lo", Flags: 0x37}, {Name: "down0", Flags: 0x30}, {Name: "cable0", Flags: 0x22}, {Name: "eth1", Flags: 0x16},
		{Name: "unplugged0", Flags: 0x26}, {Name: "eth0", Flags: 0x16}, {Name: "wlan0", Flags: 0x2e}, {Name: "any", Flags: 0x36},
	}
	sortInterfaces(list)
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	if got := strings.Join(names, " "); got != "eth1 eth0 wlan0 any lo unplugged0 cable0 down0" {
		t.Error(got)
	}
}

func cidr(s string) *net.IPNet {
	ip, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	n.IP = ip
	return n
}

func TestInterfaceAddress(t *testing.T) {
	a := netip.MustParseAddr
	for _, tc := range []struct {
		name    string
		flags   uint32
		address netlink.Addr
		want    rpcap.InterfaceAddress
	}{
		{"IPv4", unix.IFF_BROADCAST, netlink.Addr{IPNet: cidr("192.0.2.2/24"), Broadcast: net.IPv4(192, 0, 2, 255).To4()},
			rpcap.InterfaceAddress{Addr: a("192.0.2.2"), Netmask: a("255.255.255.0"), Broadcast: a("192.0.2.255")}},
		{"IPv4 without broadcast", unix.IFF_BROADCAST, netlink.Addr{IPNet: cidr("10.9.0.1/24")},
			rpcap.InterfaceAddress{Addr: a("10.9.0.1"), Netmask: a("255.255.255.0"), Broadcast: a("10.9.0.1")}},
		{"loopback", unix.IFF_LOOPBACK, netlink.Addr{IPNet: cidr("127.0.0.1/8")},
			rpcap.InterfaceAddress{Addr: a("127.0.0.1"), Netmask: a("255.0.0.0")}},
		{"IPv6", unix.IFF_BROADCAST, netlink.Addr{IPNet: cidr("fd00::2/64")},
			rpcap.InterfaceAddress{Addr: a("fd00::2"), Netmask: a("ffff:ffff:ffff:ffff::")}},
		{"link-local", unix.IFF_BROADCAST, netlink.Addr{IPNet: cidr("fe80::1/64")},
			rpcap.InterfaceAddress{Addr: a("fe80::1%7"), Netmask: a("ffff:ffff:ffff:ffff::")}},
		{"point to point", unix.IFF_POINTOPOINT, netlink.Addr{IPNet: cidr("10.0.0.1/32"), Peer: cidr("10.0.0.2/32")},
			rpcap.InterfaceAddress{Addr: a("10.0.0.1"), Netmask: a("255.255.255.255"), Destination: a("10.0.0.2")}},
	} {
		if got := interfaceAddress(&netlink.LinkAttrs{Index: 7, RawFlags: tc.flags}, tc.address); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{unix.EPERM, "eth0: You don't have permission to perform this capture on that device (Attempt to create packet socket failed - CAP_NET_RAW may be required)"},
		{&sockfilter.PermissionError{Capability: "CAP_BPF", Err: unix.EPERM}, "eth0: You don't have permission to perform this capture on that device (CAP_BPF may be required - operation not permitted)"},
		{unix.ENODEV, "eth0: No such device exists (No such device exists)"},
		{unix.ENETDOWN, "eth0: That device is not up"},
		{unix.ENOMEM, "eth0: Can't open the device: cannot allocate memory"},
	} {
		if got := openError("eth0", tc.err).Error(); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.err, got, tc.want)
		}
	}
}

func TestProbe(t *testing.T) {
	netnstest.RequireCapture(t)
	n := netnstest.New(t)
	err := n.Do(func() error {
		// A dummy interface is down when it is made.
		return netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "down0"}})
	})
	hasDown := err == nil // not every kernel has dummy interfaces
	h := &Host{RingMiB: 2}
	for _, tc := range []struct {
		name     string
		linkType capture.LinkType
		text     string
	}{
		{"lo", capture.LinkTypeEthernet, ""},
		{"any", capture.LinkTypeLinuxSLL, ""},
		{"nosuch0", 0, "nosuch0: No such device exists (No such device exists)"},
		{"", 0, ": No such device exists (No such device exists)"},
		{strings.Repeat("x", 300), 0, strings.Repeat("x", 300) + ": No such device exists (No such device exists)"},
		{"down0", 0, "down0: That device is not up"},
	} {
		if tc.name == "down0" && !hasDown {
			continue
		}
		var linkType capture.LinkType
		err := n.Do(func() (err error) { linkType, err = h.Probe(rpcap.Device{Name: tc.name}); return err })
		text := ""
		if err != nil {
			text = err.Error()
		}
		if linkType != tc.linkType || text != tc.text {
			t.Errorf("%.20q: %v, %q, want %v, %q", tc.name, linkType, text, tc.linkType, tc.text)
		}
	}
}

// recordingTable notes what is in it.
type recordingTable struct {
	mu      sync.Mutex
	present []netip.AddrPort
}

func (r *recordingTable) Add(ap netip.AddrPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.present = append(r.present, ap)
	return nil
}

func (r *recordingTable) Remove(ap netip.AddrPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.present, ap); i >= 0 {
		r.present = slices.Delete(r.present, i, i+1)
	}
	return nil
}

func (r *recordingTable) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.present)
}

func TestEndpointsLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &recordingTable{}
		e := NewEndpoints(table, 2*time.Second)
		a, b := netip.MustParseAddrPort("127.0.0.1:1000"), netip.MustParseAddrPort("127.0.0.1:1001")
		check := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := table.count(); got != want {
				t.Fatalf("%s: %d endpoints, want %d", when, got, want)
			}
		}
		for _, ap := range []netip.AddrPort{a, b} {
			if err := e.Add(ap); err != nil {
				t.Fatal(err)
			}
		}
		e.Release(a)
		e.Release(a)
		time.Sleep(1900 * time.Millisecond)
		check("before the linger time is over", 2)
		time.Sleep(200 * time.Millisecond)
		check("after it", 1)

		// The kernel gives the port out again while it lingers.
		e.Release(b)
		if err := e.Add(b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		check("used again", 1)
		e.Release(b)
		time.Sleep(time.Minute)
		check("released at last", 0)

		if err := e.Add(a); err != nil {
			t.Fatal(err)
		}
		e.Release(a)
		e.Close()
		e.Close()
		if err := e.Add(b); err == nil {
			t.Error("a closed table takes endpoints")
		}
		time.Sleep(time.Minute)
		check("after Close nothing is removed any more", 1)
	})
}
