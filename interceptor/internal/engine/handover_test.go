package engine

import (
	"testing"
	"testing/synctest"
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

// TestHandoverIsCounted: the buffers of frames that are on their way to shards, until all is
// done with them, and the time that the source waits while they are as many as may be.
func TestHandoverIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pause = time.Second
		var e *Engine
		held := 0
		a := &attacker{now: 1e9, check: func() {}}
		e = New(Config{
			Shards: 2, Drained: func() {}, Write: func([]byte) {},
			Encode: func(dst []byte, _ *capstanv1.Exchange) []byte {
				held = max(held, e.Handover().Held)
				time.Sleep(pause)
				return append(dst, 1)
			},
		})
		a.e = e
		if h := e.Handover(); h != (Handover{}) {
			t.Errorf("before the first frame: %+v", h)
		}
		p := a.open()
		p.say(0, []byte(get(1)))
		p.say(1, []byte(answer(100)))
		e.Drained()
		for range maxRounds - 1 { // while the first is under way
			a.open()
			e.Drained()
		}
		if h := e.Handover(); h.Blocked != pause {
			t.Errorf("with as many rounds as may be: %+v", h)
		}
		e.Finish()
		if h := e.Handover(); held == 0 || h.Held != 0 || h.Blocked != pause {
			t.Errorf("%d bytes while a record was made; behind the end: %+v", held, h)
		}
	})
}
