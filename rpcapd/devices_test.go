//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/vishvananda/netlink"

	"capstan/pkg/capture"
	"capstan/pkg/netns"
	"capstan/pkg/rpcap"
)

// TestSuperFrames holds that segments which the kernel leaves to the network
// card to cut, of up to 64 KiB, are captured whole.
func TestSuperFrames(t *testing.T) {
	const total = 4 << 20
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	c := unixClient(t, path)
	stream := c.capture("cap0?dir=in&filter=tcp+dst+port+7000", 0, everything)
	listener, err := host.Listen("tcp", "10.9.8.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	received := make(chan int64, 1)
	go func() { // ended by the end of the connection, or the listener's
		conn, err := listener.Accept()
		if err != nil {
			received <- -1
			return
		}
		defer conn.Close()
		n, _ := io.Copy(io.Discard, conn)
		received <- n
	}()
	conn, err := peer.DialContext(t.Context(), "tcp", "10.9.8.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, total)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if n := <-received; n != total {
		t.Fatalf("%d bytes arrived", n)
	}
	packets, stats := c.end(stream)
	longest, first, end := 0, uint32(0), uint32(0)
	for i, p := range packets {
		if p.CapLen != p.Len || int(p.CapLen) != len(p.data) {
			t.Fatalf("packet %d has %d of %d bytes", i, p.CapLen, p.Len)
		}
		longest = max(longest, len(p.data))
		seq := binary.BigEndian.Uint32(p.data[14+20+4:])
		payload := len(p.data) - 14 - 20 - int(p.data[14+20+12]>>4)*4
		switch {
		case i == 0:
			first, end = seq+1, seq+1 // the SYN
		case seq == end:
			end += uint32(payload)
		case int32(seq-end) > 1: // 1: behind the FIN
			t.Fatalf("packet %d leaves out %d bytes", i, seq-end)
		}
	}
	if end-first != total || stats.KernelDropped != 0 {
		t.Errorf("%d bytes captured of %d, %+v", end-first, total, stats)
	}
	if longest < 32<<10 {
		t.Errorf("the longest frame has %d bytes: the kernel made no super-frames", longest)
	}
	s.stop()
}

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
