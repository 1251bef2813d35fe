package engine

import (
	"encoding/binary"
	"runtime"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capture"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// idleBytes feeds n connections that carry one exchange each and then fall
// silent, and returns what the engine holds for each of them.
func idleBytes(tb testing.TB, n int) float64 {
	tb.Helper()
	var w wire
	c := w.connect(40000)
	c.say(0, get(1))
	c.say(1, answer(600))
	c.frame(0, 0x10, nil)
	emitted := 0
	e := New(Config{
		Reassembly: reassembly.Config{MaxConnections: n},
		Exchange:   exchange.Config{Emit: func(*capstanv1.Exchange) { emitted++ }},
	})
	before := heap()
	for i := range n {
		for _, f := range w.frames {
			side := 0
			if binary.BigEndian.Uint16(f.Data[14+20:]) == 80 {
				side = 1
			}
			// The client's address and the time change, nothing else.
			binary.BigEndian.PutUint32(f.Data[14+12+4*side:], uint32(0x0a000000+i))
			e.Frame(&capture.Frame{Timestamp: int64(i + 1), Data: f.Data, Len: f.Len, LinkType: f.LinkType})
		}
	}
	held := float64(heap()-before) / float64(n)
	if emitted != n {
		tb.Fatalf("%d exchanges of %d", emitted, n)
	}
	e.Drained()
	if s := e.Snapshot(); s.Reassembly.Active != n {
		tb.Fatalf("%d connections of %d", s.Reassembly.Active, n)
	}
	runtime.KeepAlive(e)
	return held
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has found, the second has freed
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkIdleConnections holds a million connections that have nothing to say.
func BenchmarkIdleConnections(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(idleBytes(b, 1_000_000), "B/connection")
	}
}

// What an idle connection costs is its own: it does not grow with the number of
// them, nor with what went over it.
func TestIdleConnectionMemory(t *testing.T) {
	few, many := idleBytes(t, 5_000), idleBytes(t, 20_000)
	if many > few*1.3+64 {
		t.Errorf("%.0f bytes for each of 5,000 idle connections, %.0f of 20,000", few, many)
	}
	t.Logf("%.0f bytes for an idle HTTP/1 connection", many)
}
