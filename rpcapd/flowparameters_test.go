//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"capstan/pkg/netns"
)

// The flows of these tests are datagrams of UDP from fixed ports, so that the
// same ones are chosen each time.
const (
	flowCount    = 40
	flowLength   = 5   // datagrams
	flowPayload  = 100 // bytes of each
	flowPort     = 20000
	udpHeaderEnd = 14 + 20 + 8
)

// datagram is number of a flow, from 10.9.8.2 to 10.9.8.1.
func datagram(flow, number int) []byte {
	f := append(bytes.Clone(broadcastMAC), senderMAC...)
	f = append(f, 0x08, 0x00, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, 20+8+flowPayload)
	f = binary.BigEndian.AppendUint16(f, uint16(flow*flowLength+number)) // identification
	f = append(f, 0, 0, 64, 17, 0, 0, 10, 9, 8, 2, 10, 9, 8, 1)
	f = binary.BigEndian.AppendUint16(f, uint16(flowPort+flow))
	f = binary.BigEndian.AppendUint16(f, 9)
	f = binary.BigEndian.AppendUint16(f, 8+flowPayload)
	f = append(f, 0, byte(number)) // in place of the checksum, which nobody looks at here
	return append(f, make([]byte, flowPayload)...)
}

func datagrams() (frames [][]byte) {
	for number := range flowLength {
		for flow := range flowCount {
			frames = append(frames, datagram(flow, number))
		}
	}
	return frames
}

// flowsOf returns the datagrams of each flow, in order, among packets whose IP
// header is at offset ip.
func flowsOf(packets []capturedPacket, ip int) map[int][]capturedPacket {
	flows := make(map[int][]capturedPacket)
	for _, p := range packets {
		if len(p.data) >= ip+28 && p.data[ip] == 0x45 && p.data[ip+9] == 17 {
			if flow := int(binary.BigEndian.Uint16(p.data[ip+20:])) - flowPort; flow >= 0 && flow < flowCount {
				flows[flow] = append(flows[flow], p)
			}
		}
	}
	return flows
}

// checkWhole checks that every flow is there with all its datagrams, in order.
func checkWhole(t *testing.T, flows map[int][]capturedPacket, ip int) {
	t.Helper()
	for flow, packets := range flows {
		numbers := make([]byte, len(packets))
		for i, p := range packets {
			numbers[i] = p.data[ip+27]
		}
		if !bytes.Equal(numbers, []byte{0, 1, 2, 3, 4}) {
			t.Errorf("flow %d has datagrams %v", flow, numbers)
		}
	}
}

// TestShards holds that sessions on all parts of a device receive each flow
// once, whole, alone and together with a choice of flows.
func TestShards(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	for _, tc := range []struct {
		device    string // with room for the shard
		shards    int
		wantFlows func(n int) bool
	}{
		{"cap0?shard=%d/%d", 4, func(n int) bool { return n == flowCount }},
		{"cap0?flows=1/4&shard=%d/%d", 3, func(n int) bool { return n > 0 && n < flowCount }},
	} {
		var clients []*client
		var streams []*stream
		for i := range tc.shards {
			c := unixClient(t, path)
			clients = append(clients, c)
			streams = append(streams, c.capture(fmt.Sprintf(tc.device, i, tc.shards), 0, everything))
		}
		sendFrames(t, peer, "gen0", datagrams()...)
		all := make(map[int][]capturedPacket)
		for i, c := range clients {
			packets, _ := c.end(streams[i])
			flows := flowsOf(packets, 14)
			if len(flows) == 0 {
				t.Errorf("%s: nothing in shard %d", tc.device, i)
			}
			for flow, packets := range flows {
				if all[flow] != nil {
					t.Errorf("%s: flow %d is in two shards", tc.device, flow)
				}
				all[flow] = packets
			}
		}
		checkWhole(t, all, 14)
		if !tc.wantFlows(len(all)) {
			t.Errorf("%s: %d flows", tc.device, len(all))
		}
	}
	s.stop()
}

func TestFlowParameters(t *testing.T) {
	host, peer := link(t)
	if err := netns.Veth(host, "cap1", peer, "gen1"); err != nil {
		t.Fatal(err)
	}
	silence(t, host, peer)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	// capture returns the flows of what a device delivers while each datagram
	// passes gen0 and then, the same, gen1.
	capture := func(t *testing.T, device string, ip int) map[int][]capturedPacket {
		t.Helper()
		c := unixClient(t, path)
		stream := c.capture(device, 0, everything)
		sendFrames(t, peer, "gen0", datagrams()...)
		sendFrames(t, peer, "gen1", datagrams()...)
		packets, _ := c.end(stream)
		return flowsOf(packets, ip)
	}
	t.Run("flows", func(t *testing.T) {
		c := unixClient(t, path)
		stream := c.capture("cap0?flows=1/4", 0, everything)
		sendFrames(t, peer, "gen0", datagrams()...)
		packets, stats := c.end(stream)
		flows := flowsOf(packets, 14)
		checkWhole(t, flows, 14)
		if len(flows) == 0 || len(flows) == flowCount {
			t.Errorf("%d flows", len(flows))
		}
		if left := len(datagrams()) - len(packets); int(stats.OtherFlows) != left {
			t.Errorf("%d frames are told to be of other flows, want %d", stats.OtherFlows, left)
		}
	})
	for _, device := range []string{"cap0?cutoff=200", "cap0?cutoff=200&filter=udp+dst+port+9", "cap0?cutoff=101&dir=in"} {
		t.Run(device, func(t *testing.T) {
			flows := capture(t, device, 14)
			checkWhole(t, flows, 14)
			if len(flows) != flowCount {
				t.Errorf("%d flows", len(flows))
			}
			for flow, packets := range flows {
				for i, p := range packets {
					want := udpHeaderEnd
					if i < 2 { // the second one reaches the cutoff
						want += flowPayload
					}
					if len(p.data) != want || int(p.CapLen) != want || int(p.Len) != udpHeaderEnd+flowPayload {
						t.Fatalf("datagram %d of flow %d: %d bytes of %d, want %d", i, flow, p.CapLen, p.Len, want)
					}
				}
			}
		})
	}
	for _, tc := range []struct {
		device string
		copies int // of each datagram
	}{
		{"any", 2},
		{"any?dedup=10s", 1},
		{"any?if=cap1&dedup=10s", 1},
		{"any?dedup=10s&filter=udp+dst+port+9", 1},
	} {
		t.Run(tc.device, func(t *testing.T) {
			flows := capture(t, tc.device, 16)
			for flow, packets := range flows {
				if len(packets) != tc.copies*flowLength {
					t.Errorf("flow %d has %d datagrams, want %d", flow, len(packets), tc.copies*flowLength)
				}
			}
			if len(flows) != flowCount {
				t.Errorf("%d flows", len(flows))
			}
		})
	}
	s.stop()
}
