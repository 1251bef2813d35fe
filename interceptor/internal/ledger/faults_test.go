package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"capstan/bench/workload"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/pkg/capture"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// fault does something to a frame that a capture or a network may do. It returns
// what arrives.
type fault struct {
	name string
	do   func(r *rand.Rand, f capture.Frame) []capture.Frame
}

var faults = []fault{
	{"lost", func(*rand.Rand, capture.Frame) []capture.Frame { return nil }},
	{"twice", func(_ *rand.Rand, f capture.Frame) []capture.Frame { return []capture.Frame{f, f} }},
	{"cut by a snap length", func(r *rand.Rand, f capture.Frame) []capture.Frame {
		f.Data = f.Data[:r.IntN(len(f.Data))]
		return []capture.Frame{f}
	}},
	{"damaged", func(r *rand.Rand, f capture.Frame) []capture.Frame {
		f.Data = bytes.Clone(f.Data)
		for range 1 + r.IntN(4) {
			f.Data[r.IntN(len(f.Data))] ^= byte(1 + r.IntN(255))
		}
		return []capture.Frame{f}
	}},
	{"damaged headers", func(r *rand.Rand, f capture.Frame) []capture.Frame {
		f.Data = bytes.Clone(f.Data)
		f.Data[12+r.IntN(42)] ^= byte(1 + r.IntN(255))
		return []capture.Frame{f}
	}},
	{"late", func(r *rand.Rand, f capture.Frame) []capture.Frame {
		f.Timestamp += r.Int64N(2e9) - 1e9
		return []capture.Frame{f}
	}},
}

// TestFaultsBalance does to one frame in eight what may happen to frames, each
// fault alone and all together, and holds that the account balances, with one
// shard and with several, with tight limits and without.
func TestFaultsBalance(t *testing.T) {
	for _, name := range workload.Names() {
		w, err := workload.New(name)
		if err != nil {
			t.Fatal(err)
		}
		for only := range len(faults) + 1 {
			for _, shards := range []int{1, 3} {
				tight := reassembly.Config{}
				title := name + ", all faults"
				if only < len(faults) {
					title = name + ", " + faults[only].name
				} else {
					tight = reassembly.Config{MaxConnections: 20, MaxHoleBytes: 8 << 10, MaxQueuedTotal: 64 << 10}
				}
				checkFaults(t, fmt.Sprintf("%s, %d shards", title, shards), w, only, shards, tight)
			}
		}
	}
}

func checkFaults(t *testing.T, title string, w *workload.Workload, only, shards int, limits reassembly.Config) {
	t.Helper()
	var out Output
	l := Ledger{Name: title}
	e := engine.New(engine.Config{
		Reassembly: limits,
		Exchange:   exchange.Config{Keep: exchange.NewKeep(100, nil, nil), Emit: func(*capstanv1.Exchange) { out.Passed++ }},
		Shards:     shards,
		Encode:     ndjson.Append,
		Write:      func([]byte) { out.Passed++ },
	})
	r := rand.New(rand.NewPCG(7, uint64(only)))
	var fed uint64
	for i := range w.Frames[:len(w.Frames)/4] {
		arrive := w.Frames[i : i+1]
		if r.IntN(8) == 0 {
			f := only
			if only == len(faults) {
				f = r.IntN(len(faults))
			}
			arrive = faults[f].do(r, w.Frames[i])
		}
		for j := range arrive {
			e.Frame(&arrive[j])
			fed++
		}
		if i == len(w.Frames)/8 {
			e.SourceLost()
		}
	}
	e.Finish()
	l.Engine = e.Snapshot()
	if l.Engine.Frames != fed || l.Engine.Exchange.Total() == 0 {
		t.Errorf("%s: %d frames of %d, %d records", title, l.Engine.Frames, fed, l.Engine.Exchange.Total())
	}
	for _, bad := range append(l.Check(), out.Check([]Ledger{l})...) {
		t.Errorf("%s: %s: %d ≠ %d", title, bad.Equation, bad.Left, bad.Right)
	}
}
