//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
)

// view is where the EtherType and the number of a test frame stand.
type view struct{ typ, number int }

var (
	viewEthernet     = view{12, 14}
	viewTagged       = view{16, 18}
	viewCooked       = view{14, 16}
	viewTaggedCooked = view{18, 20}
	viewCooked2      = view{0, 20}
	// The protocol in the header is the tag's.
	viewTaggedCooked2 = view{22, 24}
)

// numbersOf returns the numbers of the test frames among packets.
func numbersOf(packets []capturedPacket, v view) (numbers []int) {
	for _, p := range packets {
		if len(p.data) >= v.number+2 && binary.BigEndian.Uint16(p.data[v.typ:]) == testEtherType {
			numbers = append(numbers, int(binary.BigEndian.Uint16(p.data[v.number:])))
		}
	}
	return numbers
}

// steps returns from, from+step, … below to.
func steps(from, to, step int) (numbers []int) {
	for ; from < to; from += step {
		numbers = append(numbers, from)
	}
	return numbers
}

// TestDeviceParameters captures on a device with parameters exactly the test
// frames that they ask for, whole and in order. Frames 0 to 99 come in on cap0,
// 100 to 199 on cap1, and 200 to 299 go out of cap1.
func TestDeviceParameters(t *testing.T) {
	host, peer := link(t)
	if err := netns.Veth(host, "cap1", peer, "gen1"); err != nil {
		t.Fatal(err)
	}
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	tag := []byte{0x81, 0, 0x60, 0x0a} // VLAN 10
	everywhere := steps(0, 300, 1)
	for _, tc := range []struct {
		device string
		view   view
		tag    []byte
		filter []rpcap.Instruction // nil is everything
		want   []int
	}{
		{"cap0", viewEthernet, nil, nil, steps(0, 100, 1)},
		{"cap1", viewEthernet, nil, nil, steps(100, 300, 1)},
		{"any", viewCooked, nil, nil, everywhere},

		{"cap0?filter=ether proto 0x88b5 and ether[15] %26 1 = 0", viewEthernet, nil, nil, steps(0, 100, 2)},
		{"cap0?filter=ether[15] %26 2 = 0", viewEthernet, nil, testFilter(12), steps(0, 100, 4)},
		{"cap0?filter=vlan 10 and ether proto 0x88b5", viewTagged, tag, nil, steps(0, 100, 1)},
		{"cap0?filter=vlan 11", viewTagged, tag, nil, nil},
		{"cap0?filter=vlan", viewEthernet, nil, nil, nil},
		{"any?filter=ether proto 0x88b5 and ether[17] %26 1 = 0", viewCooked, nil, nil, steps(0, 300, 2)},
		{"any?filter=vlan 10 and ether[21] %26 1 = 0", viewTaggedCooked, tag, nil, steps(0, 300, 2)},
		{"any?filter=vlan 10", viewTaggedCooked, tag, testFilter(18), steps(0, 300, 2)},
		{"any?filter=outbound", viewCooked, nil, nil, steps(200, 300, 1)},

		{"any?link=sll", viewCooked, nil, nil, everywhere},
		{"any", viewTaggedCooked, tag, nil, everywhere},
		{"any?link=sll2", viewCooked2, nil, nil, everywhere},
		{"any?link=sll2", viewTaggedCooked2, tag, nil, everywhere},
		{"any?link=sll2&filter=ether proto 0x88b5 and ether[21] %26 1 = 0", viewCooked2, nil, nil, steps(0, 300, 2)},
		{"any?link=sll2&filter=vlan 10", viewTaggedCooked2, tag, nil, everywhere},
		{"any?link=sll2&dir=out", viewTaggedCooked2, tag, testFilter(22), steps(200, 300, 2)},
		{"any?link=sll2&filter=vlan 11", viewTaggedCooked2, tag, nil, nil},

		{"any?if=cap0", viewCooked, nil, nil, steps(0, 100, 1)},
		{"any?if=cap*", viewCooked, nil, nil, everywhere},
		{"any?if=eth*,cap1", viewCooked, nil, nil, steps(100, 300, 1)},
		{"any?if=eth*", viewCooked, nil, nil, nil},
		{"any?not-if=cap0", viewCooked, nil, nil, steps(100, 300, 1)},
		{"any?not-if=lo", viewCooked, nil, nil, everywhere},
		{"any?not-if=cap?", viewCooked, nil, nil, nil},
		{"any?if=cap*&not-if=*1", viewCooked, nil, nil, steps(0, 100, 1)},
		{"any?if=cap1&dir=in", viewCooked, nil, nil, steps(100, 200, 1)},
		{"any?if=cap1&dir=out", viewCooked, nil, nil, steps(200, 300, 1)},
		{"any?if=cap1&link=sll2&dir=in&filter=ether[21] %26 1 = 1", viewCooked2, nil, nil, steps(101, 200, 2)},
		{"any?if=cap0", viewCooked, nil, testFilter(14), steps(0, 100, 2)},
		{"any?if=cap0", viewTaggedCooked, tag, testFilter(18), steps(0, 100, 2)},
	} {
		t.Run(fmt.Sprintf("%s, tag %x, filter %t", tc.device, tc.tag, tc.filter != nil), func(t *testing.T) {
			c := unixClient(t, path)
			filter := tc.filter
			if filter == nil {
				filter = everything
			}
			stream := c.capture(tc.device, 0, filter)
			frames := numbered(300, tc.tag)
			sendFrames(t, peer, "gen0", frames[:100]...)
			sendFrames(t, peer, "gen1", frames[100:200]...)
			sendFrames(t, host, "cap1", frames[200:]...)
			packets, stats := c.end(stream)
			if got := numbersOf(packets, tc.view); fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("frames %v, want %v", got, tc.want)
			}
			for _, p := range packets {
				if int(p.Len) != len(p.data) || numbersOf([]capturedPacket{p}, tc.view) == nil {
					continue
				}
				if want := tc.view.number + len(frames[0]) - len(tc.tag) - 14; len(p.data) != want {
					t.Errorf("%d bytes, want %d", len(p.data), want)
				}
			}
			if int(stats.Sent) != len(packets) || stats.Received != stats.Sent || stats.KernelDropped != 0 {
				t.Errorf("%d packets, %+v", len(packets), stats)
			}
		})
	}
	if l := s.stop(); l.undelivered != 0 {
		t.Errorf("%+v", l)
	}
}

// TestBadDeviceParameters holds that an OPEN with bad parameters is refused
// with a text that tells what is wrong.
func TestBadDeviceParameters(t *testing.T) {
	host, _ := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	c := unixClient(t, path)
	for _, tc := range []struct{ device, want string }{
		{"cap0?colour=red", `unknown parameter "colour"; valid are if, not-if, dir, shard, flows, cutoff, dedup, link, self, filter`},
		{"cap0?if=cap0", `"cap0": parameter "if": only for any, which has several interfaces`},
		{"cap0?not-if=cap0", `"cap0": parameter "not-if": only for any`},
		{"cap0?link=sll2", `"cap0": parameter "link": only where frames have a cooked header, but here their link type is EN10MB`},
		{"cap0?filter=tcp+port", `"cap0": parameter "filter": filter expression: the end where a port was expected at position 9`},
		{"any?filter=ether+broadcast", `"any": parameter "filter": filter expression: frames of link type LINUX_SLL have no Ethernet addresses`},
		{"nosuch0?filter=tcp", "nosuch0: No such device exists"},
	} {
		var e rpcap.Error
		c.call(&rpcap.OpenRequest{Device: tc.device}, &e)
		if e.Code != rpcap.CodeOpen || !strings.Contains(e.Text, tc.want) {
			t.Errorf("%s: %d %q, want %q", tc.device, e.Code, e.Text, tc.want)
		}
	}
	var reply rpcap.OpenReply
	c.call(&rpcap.OpenRequest{Device: "any?link=sll2"}, &reply)
	if reply.LinkType != capture.LinkTypeLinuxSLL2 {
		t.Errorf("link type %v", reply.LinkType)
	}
	s.stop()
}

// tap is a plain packet socket, which sees what every other sees.
type tap struct{ fd int }

func newTap(t *testing.T, n *netns.NS) *tap {
	t.Helper()
	p := &tap{}
	err := n.Do(func() (err error) {
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0xb588); err != nil { // testEtherType, big endian
			return err
		}
		return unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

// frames returns number and interface of each test frame that came so far.
func (p *tap) frames(t *testing.T) (list [][2]int) {
	t.Helper()
	b := make([]byte, 256)
	for {
		n, from, err := unix.Recvfrom(p.fd, b, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if number, ok := isTest(b[:n], 12); ok {
			list = append(list, [2]int{number, from.(*unix.SockaddrLinklayer).Ifindex})
		}
	}
}

// TestInterfacesComeAndGo makes and deletes interfaces while "any?if=veth*"
// captures, each with frames from its first moment on: those of interfaces that
// match are captured, all of them, and no others.
func TestInterfacesComeAndGo(t *testing.T) {
	pairs, each := 200, 20
	if testing.Short() {
		pairs = 40
	}
	netnstest.RequireCapture(t)
	host, peer := netnstest.New(t), netnstest.New(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	c := unixClient(t, path)
	stream := c.capture("any?if=veth*", 0, everything)
	truth := newTap(t, host)
	wanted := make(map[int]bool)
	for i := range pairs {
		name := fmt.Sprintf("veth%d", i)
		if i%3 == 2 {
			name = fmt.Sprintf("other%d", i)
		}
		far := fmt.Sprintf("far%d", i)
		if err := netns.Veth(host, name, peer, far); err != nil {
			t.Fatal(err)
		}
		var frames [][]byte
		for j := range each {
			frames = append(frames, testFrame(i*each+j, nil))
		}
		sendFrames(t, peer, far, frames...)
		index, err := host.Index(name)
		if err != nil {
			t.Fatal(err)
		}
		wanted[index] = strings.HasPrefix(name, "veth")
		if i%2 == 1 {
			if err := host.Delete(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	packets, stats := c.end(stream)
	var want []int
	seen := truth.frames(t)
	for _, f := range seen {
		if wanted[f[1]] {
			want = append(want, f[0])
		}
	}
	if len(seen) < pairs*each/2 {
		t.Fatalf("only %d frames arrived at all", len(seen))
	}
	got := numbersOf(packets, viewCooked)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d frames, want %d: %v, want %v", len(got), len(want), got, want)
	}
	if stats.KernelDropped != 0 {
		t.Errorf("%+v", stats)
	}
	t.Logf("%d of %d frames on %d interfaces", len(got), len(seen), pairs)
	if l := s.stop(); l.undelivered != 0 || l.sent != len(packets) {
		t.Errorf("%+v", l)
	}
}
