package engine

import (
	"bytes"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestUndecidedIsCounted: what is held of a connection as long as it is not known what it
// carries, and that it was too much.
func TestUndecidedIsCounted(t *testing.T) {
	a := &attacker{now: 1e9, check: func() {}, e: New(Config{Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}}})}
	told := func() UndecidedStats {
		a.e.Drained()
		return a.e.Snapshot().Undecided
	}
	p, q := a.open(), a.open()
	p.say(0, []byte("POST /long/"))
	q.say(0, []byte("\x05\x01\x00")) // SOCKS
	if s := told(); s.Held != 14 || s.Cuts != 0 {
		t.Errorf("two beginnings: %+v", s)
	}
	p.say(0, []byte("path HTTP/1.1\r\n"))
	if s := told(); s.Held != 3 {
		t.Errorf("one of them is known: %+v", s)
	}
	r := a.open()
	r.say(0, bytes.Repeat([]byte{0xff}, maxHeld-1000))
	if s := told(); s.Held != maxHeld-1000+3 || s.Cuts != 0 {
		t.Errorf("nothing known, which the other end may know: %+v", s)
	}
	r.say(0, bytes.Repeat([]byte{0xff}, 1001))
	if s := told(); s.Held != 3 || s.Cuts != 1 {
		t.Errorf("too much: %+v", s)
	}
	a.e.closeAll(reassembly.CloseSourceLost)
	if s := told(); s.Held != 0 {
		t.Errorf("behind the end: %+v", s)
	}
}
