//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/vishvananda/netlink"

	"capstan/pkg/capture"
	"capstan/pkg/netns"
	"capstan/pkg/rpcap"
)

// promiscuity returns how many have asked for an interface's promiscuous mode.
func promiscuity(t *testing.T, n *netns.NS, name string) int {
	t.Helper()
	count := 0
	err := n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			count = link.Attrs().Promisc
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// TestPromiscuous holds that promiscuous mode lasts as long as the capture that
// asked for it, with parameters, too, and that frames to other stations come.
func TestPromiscuous(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	for _, device := range []string{"cap0", "cap0?dir=in&flows=1/1", "cap0?filter=ether[15] %26 1 = 0"} {
		for _, promiscuous := range []bool{true, false} {
			c := unixClient(t, path)
			c.call(&rpcap.OpenRequest{Device: device}, &rpcap.OpenReply{})
			want := 0
			c.flags = 0
			if promiscuous {
				want, c.flags = 1, rpcap.StartCapPromiscuous
			}
			stream := c.start(0, testFilter(12))
			if n := promiscuity(t, host, "cap0"); n != want {
				t.Errorf("%s, promiscuous %t: %d have asked for it", device, promiscuous, n)
			}
			stranger := testFrame(4, nil)
			copy(stranger, []byte{2, 0, 0, 0, 0, 0x55})
			sendFrames(t, peer, "gen0", stranger)
			packets, _ := c.end(stream)
			if len(packets) != 1 || !bytes.Equal(packets[0].data, stranger) {
				t.Errorf("%s, promiscuous %t: %d frames", device, promiscuous, len(packets))
			}
			if n := promiscuity(t, host, "cap0"); n != 0 {
				t.Errorf("%s: %d have asked for it after the capture", device, n)
			}
		}
	}
	s.stop()
}

// TestDeviceComesBack holds that a device that vanished, and so ended its
// captures, can be opened again when it is back, and that a capture on all
// interfaces sees it without doing anything.
func TestDeviceComesBack(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	on, all := unixClient(t, path), unixClient(t, path)
	lost := on.capture("cap0", 0, everything)
	everywhere := all.capture("any?if=cap0", 0, everything)
	sendFrames(t, peer, "gen0", testFrame(1, nil))
	if err := host.Delete("cap0"); err != nil {
		t.Fatal(err)
	}
	if h, body, err := on.r.Next(); err != nil || h.Type != rpcap.TypeError || h.Value != uint16(rpcap.CodeRead) {
		t.Errorf("%v %q %v", h, body, err)
	}
	<-lost.done
	var gone rpcap.Error
	again := unixClient(t, path)
	again.call(&rpcap.OpenRequest{Device: "cap0"}, &gone)
	if gone.Text != "cap0: No such device exists (No such device exists)" {
		t.Errorf("%q", gone.Text)
	}
	if err := netns.Veth(host, "cap0", peer, "gen0"); err != nil {
		t.Fatal(err)
	}
	stream := again.capture("cap0", 0, everything)
	sendFrames(t, peer, "gen0", testFrame(2, nil))
	packets, _ := again.end(stream)
	if got := numbersOf(packets, viewEthernet); len(got) != 1 || got[0] != 2 {
		t.Errorf("frames %v of the device that came back", got)
	}
	packets, _ = all.end(everywhere)
	if got := numbersOf(packets, viewCooked); len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("frames %v on all interfaces", got)
	}
	s.stop()
}

// TestCapturesOfBothCookedVersions holds that sessions with different headers
// on the same device don't disturb one another.
func TestCapturesOfBothCookedVersions(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	one, two := unixClient(t, path), unixClient(t, path)
	first := one.capture("any", 0, everything)
	var reply rpcap.OpenReply
	two.call(&rpcap.OpenRequest{Device: "any?link=sll2"}, &reply)
	if reply.LinkType != capture.LinkTypeLinuxSLL2 {
		t.Errorf("link type %v", reply.LinkType)
	}
	second := two.start(0, everything)
	sendFrames(t, peer, "gen0", numbered(10, nil)...)
	packets, _ := one.end(first)
	if got := numbersOf(packets, viewCooked); len(got) != 10 {
		t.Errorf("frames %v", got)
	}
	packets, _ = two.end(second)
	if got := numbersOf(packets, viewCooked2); len(got) != 10 {
		t.Errorf("frames %v", got)
	}
	index, err := host.Index("cap0")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if numbersOf([]capturedPacket{p}, viewCooked2) != nil && int(binary.BigEndian.Uint32(p.data[4:])) != index {
			t.Errorf("interface %d, want %d", binary.BigEndian.Uint32(p.data[4:]), index)
		}
	}
	s.stop()
}
