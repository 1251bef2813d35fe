//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"capstan/pkg/rpcap"
)

// lengthFilter accepts test frames with an even number. That it asks for the
// length, which with a cooked header is not what the kernel has, leaves it to
// user space.
func lengthFilter(offset uint32) []rpcap.Instruction {
	return append([]rpcap.Instruction{{Op: 0x80}, {Op: 0x35, K: 1, Jt: 1}, {Op: 6}}, testFilter(offset)...)
}

// TestInterpretedFrames holds that each frame on which a filter runs in user
// space is counted, and that the log says why, once for each capture.
func TestInterpretedFrames(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	const address = "127.0.0.1:9099"
	s := serve(t, host, "--unix-socket", path, "--metrics-address", address)
	c := unixClient(t, path)
	const captures = 2
	for range captures {
		stream := c.capture("any", 0, lengthFilter(14))
		if text := scrape(t, host, address); !strings.Contains(text, "\nrpcapd_rings 1\n") || strings.Contains(text, "\nrpcapd_ring_bytes 0\n") {
			t.Errorf("no ring while a capture runs: %s", text)
		}
		sendFrames(t, peer, "gen0", numbered(100, nil)...)
		for range 3 {
			c.call(&rpcap.UpdateFilterRequest{Filter: lengthFilter(14)}, &rpcap.UpdateFilterReply{})
		}
		sendFrames(t, peer, "gen0", numbered(100, nil)...)
		packets, _ := c.end(stream)
		want := append(steps(0, 100, 2), steps(0, 100, 2)...)
		if got := numbersOf(packets, viewCooked); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("frames %v, want %v", got, want)
		}
	}
	metrics := scrape(t, host, address)
	if !strings.Contains(metrics, "\nrpcapd_rings 0\n") || !strings.Contains(metrics, "\nrpcapd_ring_bytes 0\n") {
		t.Errorf("a ring is left: %s", metrics)
	}
	l := s.stop()
	if want := fmt.Sprintf("rpcapd_interpreted_frames_total %d\n", l.sent+l.filtered); !strings.Contains(metrics, want) {
		t.Errorf("%+v, want %s in %s", l, want, metrics)
	}
	log := s.stderr.String()
	if n := strings.Count(log, "the client's filter runs in user space"); n != captures || strings.Count(log, "can't know") != captures {
		t.Errorf("said %d times in %d captures: %s", n, captures, log)
	}
}
