package engine

import (
	"fmt"
	"strings"
	"testing"

	"capstan/interceptor/internal/exchange"
	capstanv1 "capstan/proto/capstan/v1"
)

// BenchmarkUndecided feeds connections, joined midstream, whose protocol is not told by
// what they carry: text, of which a segment tells that, and what may always be the start of
// something that more bytes would tell.
func BenchmarkUndecided(b *testing.B) {
	for _, x := range []struct{ name, unit string }{
		{"text", strings.Repeat("no more than text. ", maxHeld/19)},
		{"frame", "\x00\x40\x00\x00\x00\x00\x00\x00\x01" + strings.Repeat("a", maxHeld)},
		{"spaces", "GET" + strings.Repeat(" ", maxHeld)},
		{"spaced target", "GET /" + strings.Repeat(" a", maxHeld/2)},
		{"target", "GET h" + strings.Repeat("a", maxHeld)},
	} {
		for _, size := range []int{1, 64, mss} {
			b.Run(fmt.Sprintf("%s/%d", x.name, size), func(b *testing.B) {
				var w wire
				t := &talk{w: &w, port: 4000, seq: [2]uint32{1000, 5000}}
				for range 8 {
					unit := x.unit[:min(len(x.unit), 4096*size)]
					for len(unit) > 0 {
						n := min(len(unit), size)
						t.frame(0, 0x18, []byte(unit[:n]))
						unit = unit[n:]
					}
				}
				for b.Loop() {
					e := New(Config{Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}}})
					for i := range w.frames {
						e.Frame(&w.frames[i])
					}
					e.Finish()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(w.frames)), "ns/segment")
			})
		}
	}
}
