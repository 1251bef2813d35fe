//go:build linux

package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"capstan/pkg/netns"
)

// raiseGSO lets the network stack make super-frames of up to n bytes on an
// interface.
func raiseGSO(t *testing.T, n *netns.NS, name string, size int) {
	t.Helper()
	err := n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetGSOMaxSize(link, size), netlink.LinkSetGROMaxSize(link, size))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// transfer sends n bytes by TCP to an address of the host's.
func transfer(t *testing.T, host, peer *netns.NS, address string, n int) {
	t.Helper()
	listener, err := host.Listen("tcp", address)
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
	conn, err := peer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := <-received; got != int64(n) {
		t.Fatalf("%d bytes arrived", got)
	}
}

// tcpHeader returns the offset of the TCP header of an Ethernet frame, 0 if
// there is none. Super-frames of IPv6 beyond 64 KiB may have a jumbo payload
// option (RFC 2675).
func tcpHeader(frame []byte) int {
	const hopByHop, tcp = 0, 6
	switch ip := frame[14:]; {
	case ip[0]>>4 == 4 && ip[9] == tcp:
		return 14 + 20
	case ip[0]>>4 == 6 && ip[6] == tcp:
		return 14 + 40
	case ip[0]>>4 == 6 && ip[6] == hopByHop && ip[40] == tcp:
		return 14 + 40 + 8*(1+int(ip[41]))
	}
	return 0
}

// span is a range of a stream, from its beginning on.
type span struct{ from, to int }

// covered returns how many bytes from the beginning are in some span. A sender that
// changes processors lets segments overtake one another.
func covered(spans []span) (end int) {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for _, s := range spans {
		if s.from > end {
			break
		}
		end = max(end, s.to)
	}
	return end
}

// TestSuperFrames holds that segments which the kernel leaves to the network
// card to cut, of 64 KiB and more, are captured whole.
func TestSuperFrames(t *testing.T) {
	const total = 4 << 20
	host, peer := link(t)
	raiseGSO(t, peer, "gen0", 200_000)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	for _, tc := range []struct {
		device, address string
		longest         int // of the frames that there must be, at least
	}{
		{"cap0?dir=in&filter=tcp+dst+port+7000", "10.9.8.1:7000", 32 << 10},
		{"cap0?dir=in&filter=ip6", "[fd09::1]:7000", 100_000},
		{"any?dir=in&if=cap0&filter=ip6", "[fd09::1]:7000", 100_000},
	} {
		t.Run(tc.device+" "+tc.address, func(t *testing.T) {
			c := unixClient(t, path)
			stream := c.capture(tc.device, 0, everything)
			transfer(t, host, peer, tc.address, total)
			c.settle()
			packets, stats := c.end(stream)
			longest, first := 0, uint32(0)
			var spans []span
			for i, p := range packets {
				if p.CapLen != p.Len || int(p.CapLen) != len(p.data) {
					t.Fatalf("packet %d has %d of %d bytes", i, p.CapLen, p.Len)
				}
				longest = max(longest, len(p.data))
				frame := p.data
				if strings.HasPrefix(tc.device, "any") {
					frame = frame[2:] // a cooked header is so much longer
				}
				at := tcpHeader(frame)
				if at == 0 {
					continue
				}
				seq := binary.BigEndian.Uint32(frame[at+4:])
				payload := len(frame) - at - int(frame[at+12]>>4)*4
				if len(spans) == 0 {
					first = seq + 1 // the SYN
				}
				from := int(int32(seq - first))
				spans = append(spans, span{max(from, 0), from + payload})
			}
			if end := covered(spans); end != total || stats.KernelDropped != 0 {
				t.Errorf("%d bytes captured without a hole of %d, %+v", end, total, stats)
			}
			if longest < tc.longest {
				t.Errorf("the longest frame has %d bytes: the kernel made no super-frames of %d", longest, tc.longest)
			}
			t.Logf("%d frames of up to %d bytes", len(packets), longest)
		})
	}
	s.stop()
}
