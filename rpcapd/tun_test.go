//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
)

// newTun makes a tun device in n, whose packets have no link header, and
// returns the end that the host's network stack doesn't have.
func newTun(t *testing.T, n *netns.NS, name string) *os.File {
	t.Helper()
	var f *os.File
	err := n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), "tun")
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return err
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
	if f != nil {
		t.Cleanup(func() { f.Close() })
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestTun holds that packets of a device without link header are captured as
// raw IP, and with a cooked header on all interfaces, and that filters and
// parameters find what they look for.
func TestTun(t *testing.T) {
	netnstest.RequireCapture(t)
	host := netnstest.New(t)
	tun := newTun(t, host, "tun0")
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	for _, tc := range []struct {
		device   string
		linkType capture.LinkType
		ip       int
		want     int // datagrams of each flow
	}{
		{"tun0", capture.LinkTypeRaw, 0, flowLength},
		{"tun0?filter=udp[7] %26 1 = 0", capture.LinkTypeRaw, 0, 3},
		{"tun0?dir=in&cutoff=1M", capture.LinkTypeRaw, 0, flowLength},
		{"tun0?dir=out", capture.LinkTypeRaw, 0, 0},
		{"any?if=tun*&filter=udp[7] %26 1 = 1", capture.LinkTypeLinuxSLL, 16, 2},
		{"any?link=sll2&filter=ip src 10.9.8.2", capture.LinkTypeLinuxSLL2, 20, flowLength},
	} {
		t.Run(tc.device, func(t *testing.T) {
			c := unixClient(t, path)
			var opened rpcap.OpenReply
			c.call(&rpcap.OpenRequest{Device: tc.device}, &opened)
			if opened.LinkType != tc.linkType {
				t.Errorf("link type %v", opened.LinkType)
			}
			stream := c.start(0, everything)
			var sent [][]byte
			for _, f := range datagrams() {
				sent = append(sent, f[14:])
				if _, err := tun.Write(f[14:]); err != nil {
					t.Fatal(err)
				}
			}
			packets, stats := c.end(stream)
			for _, p := range packets {
				isSent := func(d []byte) bool { return bytes.Equal(d, p.data[tc.ip:]) }
				if p.CapLen != p.Len || len(p.data) <= tc.ip || p.data[tc.ip]>>4 == 4 && !slices.ContainsFunc(sent, isSent) {
					t.Fatalf("%d bytes of %d: %x", p.CapLen, p.Len, p.data)
				}
			}
			got := make(map[int]int)
			for flow, list := range flowsOf(packets, tc.ip) {
				got[flow] = len(list)
			}
			want := make(map[int]int)
			for flow := range flowCount {
				if tc.want > 0 {
					want[flow] = tc.want
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || stats.KernelDropped != 0 {
				t.Errorf("datagrams by flow %v, want %v, %+v", got, want, stats)
			}
		})
	}
	if l := s.stop(); l.undelivered != 0 {
		t.Errorf("%+v", l)
	}
}
