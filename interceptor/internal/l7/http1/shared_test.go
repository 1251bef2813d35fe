package http1

import (
	"testing"

	"capstan/pkg/reassembly"
)

// What connections keep does not count against others when they are gone.
func TestPendingBytesEndWithTheConnection(t *testing.T) {
	h := newHarness(t, Config{MaxPendingBytes: 3 * roundTripCost}, 0, testConn())
	for range 10 {
		h.client(get(1))
		h.close(reassembly.CloseTimeout)
		h.offset = [2]int64{}
		h.c.Init(h.shared, h.conn, nil, 0)
	}
	h.records = nil
	h.client(get(1) + get(2))
	h.server(ok("1") + ok("22"))
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 +", "GET /2 0 > 200 2 +")
	if n := h.shared.Stats.ShedRequests; n != 0 {
		t.Errorf("%d requests given up for want of memory", n)
	}
}

// Text that came ahead of a change of protocol belongs to that, even if it looks
// like the start of a request.
func TestEarlyTextBehindUpgradeIsNoRequest(t *testing.T) {
	h := newHarness(t, Config{}, 0, testConn())
	h.client("GET /1 HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
	h.client("GET /early/text HTTP")
	h.server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 101 0 +")
}
