package websocket

import (
	"strings"
	"testing"
)

// TestLimitsAreCounted: what sessions hold is told while they do, and each limit that was
// reached is.
func TestLimitsAreCounted(t *testing.T) {
	shared := new(Shared)
	stats := &shared.Stats
	s := New(Config{MaxMessages: 3, MaxCompressed: 40, MaxInflated: 100, Shared: shared}, Agreement{Extensions: "permessage-deflate; server_no_context_takeover", ContentLimit: 1000})
	text := []byte("a message that is told")
	s.Data(true, 1, frame(true, 0x81, text))
	if stats.Listed != 1 || stats.Held < len(text) {
		t.Errorf("a message: %+v", stats)
	}
	before := stats.Held
	part := frame(false, 0x81, []byte(strings.Repeat("x", 100)))
	s.Data(false, 1, part[:60])
	if stats.Held < before+50 {
		t.Errorf("half a message: %+v", stats)
	}
	s.Data(false, 1, part[60:])
	s.Data(false, 2, frame(false, 0xc2, newDeflater(t).message(make([]byte, 100))))
	if stats.Uninflated != 1 || stats.Unlisted != 0 || stats.Listed != 3 {
		t.Errorf("a message that inflates to too much: %+v", stats)
	}
	s.Data(false, 3, frame(false, 0x81, text))
	if stats.Unlisted != 1 || stats.Listed != 3 {
		t.Errorf("one message too many: %+v", stats)
	}
	other := New(Config{MaxCompressed: 40, Shared: shared}, Agreement{Extensions: "permessage-deflate", ContentLimit: 1000})
	other.Data(false, 1, frame(false, 0xc2, make([]byte, 41)))
	if stats.Uninflated != 2 {
		t.Errorf("a message that is too long to be inflated: %+v", stats)
	}
	other.Drop()
	s.Record()
	s.Drop()
	if stats.Listed != 0 || stats.Held != 0 {
		t.Errorf("behind the end: %+v", stats)
	}
}
