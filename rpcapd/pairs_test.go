//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"capstan/pkg/netns"
)

// TestPairsOfParameters captures with two parameters at once, byte for byte the
// frames that were sent and that both want, in their order. Each datagram passes
// gen0 and then, the same, gen1.
func TestPairsOfParameters(t *testing.T) {
	host, peer := link(t)
	if err := netns.Veth(host, "cap1", peer, "gen1"); err != nil {
		t.Fatal(err)
	}
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	even := func(f []byte) bool { return f[len(f)-flowPayload-1]%2 == 0 }
	all := func([]byte) bool { return true }
	tag := []byte{0x81, 0, 0x60, 0x0a}
	for _, tc := range []struct {
		devices []string // of sessions at the same time, whose frames are put together
		ip      int      // where the IP header is
		tag     []byte
		copies  int // of each datagram
		wants   func(datagram []byte) bool
		some    bool // not all flows
		cut     int  // from which datagram of a flow on there are only headers; 0 = never
	}{
		{[]string{"cap0?shard=0/2&filter=udp[7] %26 1 = 0", "cap0?shard=1/2&filter=udp[7] %26 1 = 0"}, 14, nil, 1, even, false, 0},
		{[]string{"any?shard=0/2&if=cap1", "any?shard=1/2&if=cap1"}, 16, nil, 1, all, false, 0},
		{[]string{"cap0?shard=0/2&cutoff=200", "cap0?shard=1/2&cutoff=200"}, 14, nil, 1, all, false, 2},
		{[]string{"cap0?shard=0/2&filter=vlan 10 and udp dst port 9", "cap0?shard=1/2&filter=vlan 10 and udp dst port 9"}, 18, tag, 1, all, false, 0},
		{[]string{"cap0?flows=1/2&cutoff=150"}, 14, nil, 1, all, true, 2},
		{[]string{"cap0?flows=1/2&filter=udp[7] %26 1 = 0"}, 14, nil, 1, even, true, 0},
		{[]string{"any?flows=1/2&not-if=cap0"}, 16, nil, 1, all, true, 0},
		{[]string{"any?dedup=10s&dir=in"}, 16, nil, 1, all, false, 0},
		{[]string{"any?dedup=10s&if=cap1"}, 16, nil, 1, all, false, 0},
		{[]string{"any?dedup=10s&cutoff=200"}, 16, nil, 1, all, false, 2},
		{[]string{"any?dir=in&link=sll2"}, 20, nil, 2, all, false, 0},
		{[]string{"any?if=cap0&filter=ip and udp dst port 9 and ether[43] %26 1 = 0"}, 16, nil, 1, even, false, 0},
		{[]string{"cap0?cutoff=200&dir=in"}, 18, tag, 1, all, false, 2},
		{[]string{"any?cutoff=200&if=cap1"}, 20, tag, 1, all, false, 2},
	} {
		t.Run(fmt.Sprint(tc.devices, tc.tag), func(t *testing.T) {
			var clients []*client
			var streams []*stream
			for _, device := range tc.devices {
				c := unixClient(t, path)
				clients, streams = append(clients, c), append(streams, c.capture(device, 0, everything))
			}
			var frames [][]byte
			for _, f := range datagrams() {
				frames = append(frames, slices.Insert(f, 12, tc.tag...))
			}
			sendFrames(t, peer, "gen0", frames...)
			sendFrames(t, peer, "gen1", frames...)
			got := make(map[int][]capturedPacket)
			for i, c := range clients {
				packets, _ := c.end(streams[i])
				for flow, list := range flowsOf(packets, tc.ip) {
					if got[flow] != nil {
						t.Errorf("flow %d is there twice", flow)
					}
					got[flow] = list
				}
			}
			for flow := range flowCount {
				if got[flow] == nil && tc.some {
					continue
				}
				checkFlow(t, flow, tc.ip, tc.copies, tc.cut, tc.wants, got[flow])
			}
			if len(got) == 0 || tc.some && len(got) == flowCount {
				t.Errorf("%d flows", len(got))
			}
		})
	}
	if l := s.stop(); l.undelivered != 0 || l.dropped != 0 {
		t.Errorf("%+v", l)
	}
}

// checkFlow compares what was captured of a flow with what was sent of it, from
// the IP header on.
func checkFlow(t *testing.T, flow, ip, copies, cut int, wants func([]byte) bool, got []capturedPacket) {
	t.Helper()
	for range copies {
		for number := range flowLength {
			sent := datagram(flow, number)
			if !wants(sent) {
				continue
			}
			if len(got) == 0 {
				t.Errorf("datagram %d of flow %d is missing", number, flow)
				return
			}
			want := sent[14:]
			length := ip + len(want)
			if cut > 0 && number >= cut {
				want = want[:udpHeaderEnd-14]
			}
			if p := got[0]; !bytes.Equal(p.data[ip:], want) || int(p.Len) != length || int(p.CapLen) != len(p.data) {
				t.Errorf("datagram %d of flow %d: %d bytes of %d: %x, want %x of %d", number, flow, p.CapLen, p.Len, p.data[ip:], want, length)
			}
			got = got[1:]
		}
	}
	if len(got) != 0 {
		t.Errorf("%d frames of flow %d too many", len(got), flow)
	}
}
