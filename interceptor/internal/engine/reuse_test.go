package engine

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// together returns the frames of all captures of Ethernet as if they had been
// taken at the same time, each in a VLAN of its own, so that no two are about the
// same connection. Some frames are lost.
func together(t *testing.T, rnd *rand.Rand, lost float64) (all []capture.Frame) {
	const maxFrames = 500
	dir := capturesDir(t)
	for i, row := range captureIndex(t, dir) {
		frames := captureFrames(t, filepath.Join(dir, row.file))
		for j, f := range frames[:min(len(frames), maxFrames)] {
			if f.LinkType != capture.LinkTypeEthernet || len(f.Data) < 14 || rnd.Float64() < lost {
				continue
			}
			f.Data = slices.Concat(f.Data[:12], []byte{0x81, 0x00, byte(i >> 8), byte(i)}, f.Data[12:])
			f.Len += 4
			f.Timestamp -= frames[0].Timestamp
			f.Timestamp = max(f.Timestamp, 0) + int64(j) // in order, should the clock have stood still
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b capture.Frame) int { return int(a.Timestamp - b.Timestamp) })
	return all
}

// TestReuseLeavesNoTrace holds that it makes no difference to records and counters
// whether what they are made of is used again, while hundreds of connections of
// all protocols begin and end.
func TestReuseLeavesNoTrace(t *testing.T) {
	run := func(frames []capture.Frame, cfg Config, reuse bool) ([]byte, Snapshot) {
		var out []byte
		cfg.Decode = packet.Config{Scoped: true}
		cfg.Exchange = exchange.Config{Source: "test", Keep: exchange.NewKeep(3000, nil, nil), Emit: func(x *capstanv1.Exchange) { out = ndjson.Append(out, x) }}
		e := New(cfg)
		for i := range frames {
			e.Frame(&frames[i])
			if !reuse {
				e.shard.release()
			}
		}
		e.Finish()
		return out, e.Snapshot()
	}
	narrow := Config{Reassembly: reassembly.Config{MaxConnections: 40}, HTTP1: http1.Config{MaxPending: 2, MaxPendingBytes: 8 << 10},
		HTTP2: http2.Config{MaxStreams: 3, MaxStreamBytes: 16 << 10}}
	for seed, tt := range []struct {
		cfg  Config
		lost float64
	}{{Config{}, 0}, {Config{}, 0.05}, {narrow, 0}, {narrow, 0.02}} {
		frames := together(t, rand.New(rand.NewPCG(uint64(seed), 3)), tt.lost)
		want, counted := run(frames, tt.cfg, false)
		got, snapshot := run(frames, tt.cfg, true)
		if !bytes.Equal(got, want) {
			a, b := firstDifference(want, got)
			t.Errorf("%d: with memory used again\n%s\nwith new memory\n%s", seed, b, a)
		}
		if snapshot != counted {
			t.Errorf("%d: counters with memory used again\n%+v\nwith new memory\n%+v", seed, snapshot, counted)
		}
		if len(lines(got)) < 500 {
			t.Errorf("%d: %d records", seed, len(lines(got)))
		}
	}
}
