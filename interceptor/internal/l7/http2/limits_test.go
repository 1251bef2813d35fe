package http2

import (
	"strings"
	"testing"

	"capstan/interceptor/internal/l7/hpack"
	"capstan/pkg/reassembly"
)

// TestLimitsAreCounted: what each limit bounds is told while it is there, and that it was
// reached.
func TestLimitsAreCounted(t *testing.T) {
	h := newHarness(t, Config{MaxStreams: 2, MaxHeaderBlock: 2000, Headers: hpack.Limits{TableSize: 200}}, 8, testConn(false))
	s, c := &h.shared.Stats, newPeer()
	h.send(fromClient, []byte(preface))
	h.send(fromClient, c.frame(frameSettings, 0, 0).take())
	block := c.headers(1, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/1", "a-field", strings.Repeat("v", 100)).take()
	h.send(fromClient, block[:40])
	if s.HeldBlocks != 40-frameHeaderLen {
		t.Errorf("a part of a block: %+v", s)
	}
	h.send(fromClient, block[40:])
	if s.HeldBlocks != 0 || s.HeldTables < 100 || s.Open != 1 || s.Charge < streamCost {
		t.Errorf("a stream: %+v", s)
	}
	h.send(fromClient, c.data(1, false, []byte("0123456789")).take())
	if s.HeldContent != 8 {
		t.Errorf("a body: %+v", s)
	}
	for id := uint32(3); id <= 5; id += 2 {
		h.send(fromClient, c.headers(id, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/2", "b-field", strings.Repeat("v", 100)).take())
	}
	if s.Open != 2 || s.ShedStreams != 1 || s.HeldContent != 0 || s.TableCuts == 0 {
		t.Errorf("one stream too many: %+v", s)
	}
	h.send(fromClient, c.headers(7, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/3", "c-field", strings.Repeat("\x01", 3000)).take())
	if s.HeaderCuts != 1 {
		t.Errorf("a block that is too long: %+v", s)
	}
	h.gap(fromClient, 100)
	h.send(fromClient, []byte(strings.Repeat("x", 300)))
	if s.HeldSearch != 300 {
		t.Errorf("a search for frames: %+v", s)
	}
	h.close(reassembly.CloseFIN)
}
