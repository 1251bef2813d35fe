package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
	capstanv1 "capstan/proto/capstan/v1"
)

// lentFrames are frames of which each comes in a buffer that an engine lends, so
// many to a buffer.
type lentFrames struct {
	frames []capture.Frame
	each   int
	buf    []byte
}

// put returns frame i in the buffer.
func (l *lentFrames) put(e *Engine, i int) *capture.Frame {
	f := l.frames[i]
	if i%l.each == 0 || len(l.buf) < len(f.Data) {
		l.buf = e.Exchange(max(len(f.Data), 2000*l.each))
	}
	n := copy(l.buf, f.Data)
	f.Data, l.buf = l.buf[:n:n], l.buf[n:]
	return &f
}

// source is what an engine is fed with.
type source struct {
	frames []capture.Frame
	decode packet.Config
	live   bool
	after  func(e *Engine, i int) // what happens after frame i; nil: a pause now and then
}

// byShards runs a source through an engine and returns the records as the
// interceptor prints them, and the counters at each pause, the end being one. Unless
// lend is 0, so many frames come in each lent buffer.
func byShards(src source, shards, lend int) (out []byte, counted []Snapshot) {
	var e *Engine
	e = New(Config{
		Decode:   src.decode,
		Exchange: exchange.Config{Source: "test", Keep: exchange.NewKeep(100, nil, nil), Emit: func(x *capstanv1.Exchange) { out = ndjson.Append(out, x) }},
		Live:     src.live,
		Shards:   shards,
		Encode:   ndjson.Append,
		Write:    func(b []byte) { out = append(out, b...) },
		Drained:  func() { counted = append(counted, e.Snapshot()) },
	})
	lent := lentFrames{frames: src.frames, each: lend}
	for i := range src.frames {
		if lend > 0 {
			e.Frame(lent.put(e, i))
		} else {
			e.Frame(&src.frames[i])
		}
		switch {
		case src.after != nil:
			src.after(e, i)
		case i%1000 == 999:
			e.Drained()
		}
	}
	e.Idle(time.Hour) // the last timeouts don't depend on the others' last frames
	e.Finish()
	return out, counted
}

// compareShards holds that the number of shards changes nothing.
func compareShards(t *testing.T, name string, frames []capture.Frame) {
	t.Helper()
	compareWays(t, name, source{frames: frames}, []way{{1, 7}, {2, 0}, {2, 7}, {3, 100}, {8, 40}})
}

// way is among how many shards frames are divided, and how many of them come in a
// lent buffer: 0 if none is.
type way struct{ shards, lend int }

func compareWays(t *testing.T, name string, src source, ways []way) {
	t.Helper()
	want, counted := byShards(src, 1, 0)
	for i := range counted {
		checkAccount(t, &counted[i])
	}
	for _, with := range ways {
		got, counters := byShards(src, with.shards, with.lend)
		if !bytes.Equal(got, want) {
			a, b := firstDifference(want, got)
			t.Fatalf("%s: with %+v\n%s\nwith one shard\n%s", name, with, b, a)
		}
		if len(counters) != len(counted) {
			t.Fatalf("%s: %d pauses with %+v, %d with one shard", name, len(counters), with, len(counted))
		}
		for i := range counters {
			counters[i].Exchange.HeldDecoders = counted[i].Exchange.HeldDecoders // each shard has some of its own
			if counters[i] != counted[i] {
				t.Fatalf("%s: counters at pause %d with %+v\n%+v\nwith one shard\n%+v", name, i, with, counters[i], counted[i])
			}
		}
	}
}

func firstDifference(a, b []byte) (string, string) {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("%d: %s", i, x[i]), fmt.Sprintf("%d: %s", i, y[i])
		}
	}
	return fmt.Sprint(len(x), " records"), fmt.Sprint(len(y), " records")
}

// TestCapturesInShards reads every capture with 1, 2, 3 and 8 shards.
func TestCapturesInShards(t *testing.T) {
	dir := capturesDir(t)
	for _, row := range captureIndex(t, dir) {
		compareShards(t, row.file, captureFrames(t, filepath.Join(dir, row.file)))
	}
}

// trouble returns frames of connections of which some are lost, come twice or
// in another order, with pauses, so that holes and timeouts are dealt with at
// all times. Unless ordered, the clock jumps.
func trouble(seed uint64, ordered bool) (frames []capture.Frame) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var w wire
	talks := make([]*talk, 40)
	for i := range talks {
		talks[i] = w.connect(uint16(40000 + i))
	}
	for n := range 400 {
		c := talks[rnd.IntN(len(talks))]
		switch rnd.IntN(20) {
		case 0:
			w.now += rnd.Int64N(400e9) // beyond timeouts
		case 1:
			w.now -= rnd.Int64N(10e9)
		case 2:
			c.frame(rnd.IntN(2), 0x11, nil)
			c.frame(rnd.IntN(2), 0x11, nil)
		default:
			w.now += 1 << rnd.IntN(25)
		}
		c.say(0, get(n))
		c.say(1, answer(rnd.IntN(6000)))
	}
	for _, f := range w.frames {
		switch rnd.IntN(12) {
		case 0: // lost
		case 1:
			frames = append(frames, f, f)
		default:
			frames = append(frames, f)
		}
		if n := len(frames); n > 3 && rnd.IntN(10) == 0 {
			a, b := &frames[n-1], &frames[n-1-rnd.IntN(3)]
			*a, *b = *b, *a
		}
	}
	if ordered {
		for i := range frames[1:] {
			frames[i+1].Timestamp = max(frames[i+1].Timestamp, frames[i].Timestamp)
		}
	}
	return frames
}

func TestTroubleInShards(t *testing.T) {
	for seed := range uint64(20) {
		compareShards(t, fmt.Sprint("seed ", seed), trouble(seed, false))
	}
}

// numWrappings is how many ways there are to wrap a frame.
const numWrappings = 8

// wrapped returns f in a wrapping: one or two tags, a tunnel, another one, fragments,
// options, cut, or on the air, where a driver aligns the packet. n tells of what size.
func wrapped(f capture.Frame, way, n int, id uint16) []capture.Frame {
	switch way {
	case 0:
		f.Data = slices.Insert(slices.Clone(f.Data), 12, 0x81, 0, 0, 7)
	case 1:
		f.Data = slices.Insert(slices.Clone(f.Data), 12, 0x88, 0xa8, 0, 7, 0x81, 0, 0, 9)
	case 2:
		f.Data = slices.Concat(make([]byte, 12), []byte{0x08, 0}, ipv4Header(17, 20+8+8+len(f.Data)), udpHeader(4789, 8+8+len(f.Data)), []byte{8, 0, 0, 0, 0, 0, 7, 0}, f.Data)
	case 3:
		f.Data = slices.Concat(make([]byte, 12), []byte{0x08, 0}, ipv4Header(4, 20+len(f.Data)-14), f.Data[14:])
	case 4:
		return fragments(f, 8*(1+n%40), id)
	case 5: // four bytes of options: no operation
		f.Data = slices.Insert(slices.Clone(f.Data), 34, 1, 1, 1, 1)
		f.Data[14]++
		binary.BigEndian.PutUint16(f.Data[16:], binary.BigEndian.Uint16(f.Data[16:])+4)
	case 6:
		f.Len = len(f.Data)
		f.Data = f.Data[:n%(len(f.Data)+1)]
		return []capture.Frame{f}
	case 7:
		// With flags: padding, and a checksum at the end.
		header := slices.Concat([]byte{0, 0, 9, 0, 2, 0, 0, 0, 0x30}, []byte{0x88, 2}, make([]byte, 26), []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0})
		f.LinkType, f.Data = capture.LinkTypeRadiotap, slices.Concat(header, f.Data[14:], make([]byte, 4))
	}
	f.Len = len(f.Data)
	return []capture.Frame{f}
}

// TestWrappingsInShards has the packets of a connection now bare, now wrapped, now in
// fragments, which only together tell whose they are: all belong to one shard.
func TestWrappingsInShards(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		frames := remake(trouble(seed, false), func(i int, f capture.Frame) []capture.Frame {
			return wrapped(f, rnd.IntN(numWrappings+3), rnd.IntN(2000), uint16(i+1))
		})
		compareShards(t, fmt.Sprint("seed ", seed), frames)
	}
}

// interruption is what a source does besides bringing frames.
func interruption(e *Engine, kind int) {
	switch kind {
	case 0:
		e.Drained()
	case 1:
		e.Idle(0)
	case 2:
		e.Idle(3 * time.Second)
	case 3:
		e.Idle(time.Minute)
	case 4:
		e.SourceLost()
	}
}

const numInterruptions = 5

// TestInterruptionsInShards has sources of all kinds of frames pause, be silent and
// get lost at all times. The tags of some tell networks apart.
func TestInterruptionsInShards(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		src := source{live: seed%2 == 1, frames: remake(trouble(seed, seed%3 == 0), func(i int, f capture.Frame) []capture.Frame {
			return wrapped(f, rnd.IntN(numWrappings+3), rnd.IntN(2000), uint16(i+1))
		})}
		src.decode = packet.Config{Scoped: seed%5 < 2, Checksums: packet.ChecksumPolicy(seed % 4 / 2)}
		kinds := make([]int, len(src.frames))
		for i := range kinds {
			kinds[i] = rnd.IntN(40 * numInterruptions)
			if kinds[i] == 4 {
				kinds[i] *= rnd.IntN(10) / 9 // a source is lost more rarely
			}
		}
		src.after = func(e *Engine, i int) { interruption(e, kinds[i]) }
		compareWays(t, fmt.Sprint("seed ", seed), src, []way{{1, 7}, {2, 0}, {3, 7}, {8, 40}})
	}
}

// TestSplitBefore holds that engines which share the connections of a source,
// as if its server had divided them, tell what one tells, in whatever order:
// nothing that is told of a connection depends on another.
func TestSplitBefore(t *testing.T) {
	for seed := range uint64(20) {
		frames := trouble(seed, true)
		whole, _ := byShards(source{frames: frames}, 1, 0)
		const parts = 3
		var split [parts][]capture.Frame
		decoder := packet.NewDecoder(packet.Config{})
		for i := range frames {
			var s packet.Segment
			decoder.Decode(&frames[i], &s)
			part := s.Key.Hash() % parts
			split[part] = append(split[part], frames[i])
		}
		var got []string
		for _, part := range split {
			out, _ := byShards(source{frames: part}, 1, 0)
			got = append(got, lines(out)...)
		}
		want := lines(whole)
		slices.Sort(want)
		slices.Sort(got)
		a, b := firstDifference([]byte(strings.Join(want, "\n")), []byte(strings.Join(got, "\n")))
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: in parts\n%s\nin one\n%s", seed, b, a)
		}
	}
}

func lines(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") }

// TestLargeBuffersAreGivenUp lets rounds of every length end with a frame in a
// buffer that is too large to be lent again. Nothing may refer to those buffers
// once the round is over.
func TestLargeBuffersAreGivenUp(t *testing.T) {
	const large = 300 << 10
	e := New(Config{Shards: 2, Encode: ndjson.Append, Write: func([]byte) {}, Exchange: exchange.Config{Source: "test"}})
	defer e.Finish()
	var w wire
	w.connect(40000).say(0, get(1))
	small := w.frames[len(w.frames)-1]
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := inUse()
	for length := 2*maxRoundFrames - 1; length > 2*maxRoundFrames-20; length-- {
		for range maxRounds {
			e.Exchange(loanLen)
			for range length {
				f := small
				e.Frame(&f)
			}
			f := small
			f.Data = e.Exchange(large)[:large]
			copy(f.Data, small.Data)
			f.Len = large
			e.Frame(&f)
		}
	}
	e.Drained()
	e.Exchange(1) // waits until a round is over
	// Buffers of the usual size, up to 8 MiB of them, are kept to be lent again.
	if after := inUse(); after > before+20<<20 {
		t.Errorf("%d bytes in use, %d before", after, before)
	}
}

// TestSmallFramesInLargeBuffers has a source whose frames are a small part of what it
// reads, as a file with long options may be: a round keeps no more buffers than usual.
func TestSmallFramesInLargeBuffers(t *testing.T) {
	const shards = 2
	e := New(Config{Shards: shards, Encode: ndjson.Append, Write: func([]byte) {}, Exchange: exchange.Config{Source: "test"}})
	defer e.Finish()
	var w wire
	w.connect(40000)
	for _, large := range []int{loanLen, 1 << 20} {
		for range 50 {
			f := w.frames[0]
			f.Data = e.Exchange(large)[:len(f.Data)]
			copy(f.Data, w.frames[0].Data)
			e.Frame(&f)
			kept := 0
			for _, b := range e.rounds.filling.lent {
				kept += len(b.b)
			}
			if kept > shards*maxRoundLent {
				t.Fatalf("%d bytes are kept in buffers of %d", kept, large)
			}
		}
	}
}
