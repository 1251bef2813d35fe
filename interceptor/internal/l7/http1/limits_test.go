package http1

import (
	"strings"
	"testing"

	"capstan/pkg/reassembly"
)

// TestLimitsAreCounted: what each limit bounds is told while it is there, and that it was
// reached.
func TestLimitsAreCounted(t *testing.T) {
	const header, body = "GET /1 HTTP/1.1\r\nHost: shop\r\n", "0123456789"
	h := newHarness(t, Config{MaxPending: 2, MaxHeadLen: 300, MaxFields: 20, MaxUnparsed: 100}, 8, testConn())
	s := &h.shared.Stats
	h.client(header)
	if s.HeldHeads != len(header) {
		t.Errorf("%d bytes of a head are held, want %d", s.HeldHeads, len(header))
	}
	h.client("Content-Length: 10\r\n\r\n" + body)
	if s.HeldHeads != 0 || s.HeldContent != 8 || s.Waiting != 1 || s.Charge < roundTripCost+8 {
		t.Errorf("a request that waits: %+v", s)
	}
	before := s.Charge
	h.client("GET /2 HTTP/1.1\r\n\r\n")
	if s.Waiting != 2 || s.Charge < before+roundTripCost {
		t.Errorf("two requests that wait: %+v", s)
	}
	h.client("GET /3 HTTP/1.1\r\n\r\n")
	if s.Waiting != 0 || s.Charge != 0 || s.ShedRequests != 1 || s.HeldContent != 0 { // none can be paired any more
		t.Errorf("one request too many: %+v", s)
	}
	h.server("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 21) + "Content-Length: 0\r\n\r\n")
	if s.FieldCuts != 1 {
		t.Errorf("one field too many: %+v", s)
	}
	h.server("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 400) + "\r\nContent-Length: 10\r\n\r\n" + body[:4])
	if s.HeadCuts != 1 || s.HeldContent != 4 {
		t.Errorf("a head that is too long: %+v", s)
	}
	h.close(reassembly.CloseFIN)

	h = newHarness(t, Config{MaxUnparsed: 100}, 8, testConn())
	h.client(strings.Repeat("\x00", 101))
	if s := &h.shared.Stats; s.GivenUp != 1 {
		t.Errorf("no HTTP: %+v", s)
	}
}
