package http2

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// FuzzConn cuts two arbitrary streams in two ways. Whatever they hold, every
// byte is counted once, and with no place lost the records are the same.
func FuzzConn(f *testing.F) {
	for seed := range uint64(4) {
		c := newConversation(rand.New(rand.NewPCG(seed, 3)), 4, seed%2 == 1)
		var streams [2][]byte
		for _, s := range c.turns {
			streams[s.d] = append(streams[s.d], s.bytes...)
		}
		f.Add(streams[fromClient], streams[fromServer], uint64(1), uint16(0))
		f.Add(streams[fromClient], streams[fromServer], uint64(2), uint16(30))
		f.Add(streams[fromClient], streams[fromServer], uint64(5), uint16(9))
		f.Add(bytes.TrimPrefix(streams[fromClient], []byte(preface)), streams[fromServer], uint64(3), uint16(0))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64, hole uint16) {
		if len(client) > 32<<10 || len(server) > 32<<10 {
			return
		}
		run := func(whole bool) (*harness, []*capstanv1.Exchange) {
			r := rand.New(rand.NewPCG(seed, 0))
			h := newHarness(t, Config{MaxHeaderBlock: 300, MaxStreams: 5, MaxUnparsed: 5000}, 50, testConn(seed%3 == 2))
			for d, b := range [][]byte{client, server} {
				for len(b) > 0 {
					n := len(b)
					if !whole {
						n = min(n, 1+r.IntN(50))
					}
					h.time = 0
					seen := n
					if hole > 0 && seed%4 == 1 {
						seen -= int(hole) % n // the rest is cut off, as a snap length does
					}
					h.chunk(flow.Direction(d), b[:seen], int64(len(client))*int64(d))
					if seen < n {
						h.gap(flow.Direction(d), n-seen)
					}
					b = b[n:]
					if hole > 0 && r.IntN(10) == 0 {
						h.gap(flow.Direction(d), int(hole))
					}
				}
			}
			h.time = 1000
			return h, h.close(reassembly.CloseReason(seed % uint64(reassembly.NumCloseReasons)))
		}
		h1, cut := run(false)
		h2, whole := run(true)
		for _, x := range append(cut, whole...) {
			if x.Complete && slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_PLACE_GUESSED) || x.Complete && (x.Request == nil || x.Response == nil) || x.Request == nil && x.Response == nil || x.StreamId == 0 {
				t.Errorf("impossible: %v", x)
			}
		}
		if seed%3 != 2 && hole == 0 && h1.shared.Stats.Resyncs == 0 && h2.shared.Stats.Resyncs == 0 && tell(cut) != tell(whole) {
			t.Errorf("cut:\n%s\nwhole:\n%s", tell(cut), tell(whole))
		}
		if seed%3 != 2 && hole == 0 && (h1.shared.Stats.Resyncs == 0) != (h2.shared.Stats.Resyncs == 0) {
			t.Errorf("place lost %d times cut, %d times whole", h1.shared.Stats.Resyncs, h2.shared.Stats.Resyncs)
		}
	})
}
