package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// paused returns the frames of two connections, and how many come before a pause.
// One is in the midst of an exchange then, the other between two.
func paused(pause time.Duration) (frames []capture.Frame, before int) {
	w := wire{now: 1_700_000_000e9}
	a, b := w.connect(40000), w.connect(40001)
	a.say(0, get(1))
	a.say(1, answer(3000))
	b.say(0, get(2))
	before = len(w.frames)
	w.now += int64(pause)
	a.say(0, get(3))
	a.say(1, answer(3000))
	b.say(1, answer(20))
	return w.frames, before
}

// timeless runs frames through an engine and returns its records, times aside, in
// order, and how many connections have timed out.
func timeless(t *testing.T, frames []capture.Frame) (records []string, timeouts uint64) {
	t.Helper()
	all, s := run(t, packet.Config{}, slices.Clone(frames))
	for _, x := range all {
		records = append(records, fmt.Sprint(lineOf(x), " ", x.Flaws))
	}
	return records, s.Reassembly.Closed[reassembly.CloseTimeout]
}

// Wrong times, wherever they are, however far off and one or several in a row, end
// no connection and change no record but in its times.
func TestStrayTimes(t *testing.T) {
	frames, _ := paused(time.Second)
	frames = slices.Concat(frames[:5], fragments(frames[5], 64, 1), frames[6:])
	want, _ := timeless(t, frames)
	if len(want) != 3 {
		t.Fatal(want)
	}
	for _, by := range []time.Duration{-1_700_000_000 * time.Second, -24 * time.Hour, -time.Minute, -10 * time.Second,
		6 * time.Second, time.Minute, time.Hour, 24 * time.Hour, 80 * 365 * 24 * time.Hour} {
		for _, apart := range []time.Duration{0, 7 * time.Second, time.Hour, -time.Hour} {
			for _, n := range []int{1, 2, maxLeaping - 1} {
				for i := range len(frames) - n {
					if i < 3 && n > 2 {
						continue // then it isn't they who look wrong
					}
					strayed := slices.Clone(frames)
					for j := range n {
						strayed[i+j].Timestamp = max(strayed[i+j].Timestamp+int64(by)+int64(j)*int64(apart), 0)
					}
					name := fmt.Sprintf("%d frames from %d stray by %s, %s apart", n, i, by, apart)
					if got, timeouts := timeless(t, strayed); !slices.Equal(got, want) || timeouts != 0 {
						t.Fatalf("%s: %d timeouts,\n%s\nwithout that\n%s", name, timeouts, got, want)
					}
					if i%6 == 0 && apart == 0 {
						compareShards(t, name, strayed)
					}
				}
			}
		}
	}
}

// A capture of two hosts whose clocks differ: time goes on as on each of them, and a
// pause of both is one.
func TestClocksApart(t *testing.T) {
	var w wire
	c := w.connect(40000)
	for i := range 50 {
		c.say(0, get(i))
		c.say(1, answer(100))
		w.now += 3e9
	}
	whole := w.frames
	w.frames = nil
	c.say(0, get(50))
	w.now += int64(time.Hour)
	d := w.connect(40001)
	for i := range 10 {
		d.say(0, get(51+i))
		d.say(1, answer(100))
	}
	all := slices.Concat(whole, w.frames)
	want, timeouts := timeless(t, all)
	if len(want) != 61 || timeouts != 1 {
		t.Fatal(want, timeouts)
	}
	for _, by := range []time.Duration{-3 * time.Hour, -time.Minute, time.Minute, 3 * time.Hour} {
		for _, burst := range []int{1, 2, 5, 30} {
			merged := slices.Clone(all)
			for i := range merged {
				var other bool
				switch first := len(whole) + 1; { // after the pause
				case i < 20:
					// One frame among others shows that there is another clock; many in a
					// row would be taken for a pause.
					other = i == 10
				case i < first-10:
					other = i/burst%2 == 0
				case i == first && by < -time.Hour:
					// Behind all others in spite of the pause it would not tell of one.
				case i >= first:
					other = (i+burst)%2 == 0
				}
				if other {
					merged[i].Timestamp += int64(by)
				}
			}
			name := fmt.Sprintf("%s ahead, %d frames at a time", by, burst)
			if got, timeouts := timeless(t, merged); !slices.Equal(got, want) || timeouts != 1 {
				t.Errorf("%s: %d timeouts,\n%s\nwithout that\n%s", name, timeouts, got, want)
			}
			compareShards(t, name, merged)
		}
	}
}

// A pause is one as soon as a single frame follows it, even as the last of all:
// connections have ended before that frame is looked at.
func TestPauseEndsConnections(t *testing.T) {
	frames, before := paused(time.Hour)
	for n, want := range map[int][]string{
		before: {"GET /api/items/1 (0 B) → 200 (3000 B) []", "GET /api/items/2 (0 B) → – [FLAW_NO_RESPONSE FLAW_CAPTURE_ENDED]"},
		before + 1: {"GET /api/items/1 (0 B) → 200 (3000 B) []", "GET /api/items/2 (0 B) → – [FLAW_NO_RESPONSE FLAW_TIMEOUT]",
			"GET /api/items/3 (0 B) → – [FLAW_NO_RESPONSE FLAW_CAPTURE_ENDED]"},
		len(frames): {"GET /api/items/1 (0 B) → 200 (3000 B) []", "GET /api/items/2 (0 B) → – [FLAW_NO_RESPONSE FLAW_TIMEOUT]",
			"– → 200 (20 B) [FLAW_NO_REQUEST]", "GET /api/items/3 (0 B) → 200 (3000 B) [FLAW_CAPTURE_ENDED FLAW_PLACE_GUESSED]"},
	} {
		if got, _ := timeless(t, frames[:n]); !slices.Equal(got, want) {
			t.Errorf("%d frames\n%q\nwant\n%q", n, got, want)
		}
		compareShards(t, "pause", frames[:n])
	}
}

// A pause is no longer than the least that the frames after it tell: one of them may be
// wrong.
func TestStrayTimeAfterPause(t *testing.T) {
	frames, before := paused(time.Hour)
	want, pauses := timeless(t, frames)
	for _, by := range []time.Duration{10 * time.Second, 10 * time.Minute, 24 * time.Hour} {
		for i := before; i < len(frames)-1; i++ {
			strayed := slices.Clone(frames)
			strayed[i].Timestamp += int64(by)
			if got, timeouts := timeless(t, strayed); !slices.Equal(got, want) || timeouts != pauses {
				t.Errorf("frame %d strays by %s: %d timeouts,\n%s\nwithout that %d,\n%s", i, by, timeouts, got, pauses, want)
			}
			compareShards(t, "stray", strayed)
		}
	}
}

// Old frames that a capture ring repeats tell nothing of a pause, but of a wrong
// time among them.
func TestPauseAmongOldFrames(t *testing.T) {
	for _, pause := range []bool{true, false} {
		w := wire{now: 1_700_000_000e9}
		old, c := w.connect(40000), w.connect(40001)
		old.say(0, get(1))
		repeated := slices.Clone(w.frames)
		for range 4 {
			w.now += 4e9
			c.say(0, get(2))
			c.say(1, answer(10))
		}
		w.frames = append(w.frames, repeated...)
		if pause {
			w.now += int64(time.Hour)
			w.connect(40002).say(0, get(3))
		} else {
			stray := w.frames[len(w.frames)-1]
			stray.Timestamp += int64(time.Hour)
			w.frames = append(w.frames, stray)
		}
		w.frames = append(slices.Concat(w.frames, repeated), repeated...)
		w.now += 1e9
		c.say(0, get(4))
		want := uint64(0)
		if pause {
			want = 2
		}
		if _, timeouts := timeless(t, w.frames); timeouts != want {
			t.Errorf("a pause is %v, %d timeouts", pause, timeouts)
		}
		compareShards(t, "old frames", w.frames)
	}
}

// A clock that is set back while a live source runs does not make the first silence
// look like a long one.
func TestSilenceAfterClockSetBack(t *testing.T) {
	var w wire
	w.connect(40000)
	w.now += 7200e9
	c := w.connect(40001)
	for i := range 200 {
		if i == maxLeaping {
			w.now -= 3600e9
		}
		c.say(0, get(1))
		c.say(1, answer(10))
	}
	e := New(Config{Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}}})
	for i := range w.frames {
		e.Frame(&w.frames[i])
	}
	e.Idle(time.Second)
	if s := e.Snapshot(); s.Reassembly.Active != 1 {
		t.Errorf("%d connections are open, want the second", s.Reassembly.Active)
	}
	e.Finish()
}

// A frame after a pause doesn't wait for others that a pipe doesn't have.
func TestPauseOfAPipe(t *testing.T) {
	frames, before := paused(time.Hour)
	for _, shards := range []int{1, 2} {
		var drained []Snapshot
		var e *Engine
		e = New(Config{
			Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}},
			Shards:   shards,
			Encode:   func(dst []byte, _ *capstanv1.Exchange) []byte { return dst },
			Write:    func([]byte) {},
			Drained:  func() { drained = append(drained, e.Snapshot()) },
		})
		for i := range frames[:before+1] {
			e.Frame(&frames[i])
		}
		e.Drained()
		e.Idle(0)
		e.Finish()
		for i, want := range []Snapshot{{Frames: uint64(before)}, {Frames: uint64(before + 1), Last: frames[before].Timestamp}} {
			s := &drained[i]
			if timeouts := s.Reassembly.Closed[reassembly.CloseTimeout]; s.Frames != want.Frames || i == 1 && (s.Last != want.Last || timeouts != 2) || i == 0 && timeouts != 0 {
				t.Errorf("%d shards: at pause %d of %d frames, the last at %d, %d timeouts", shards, i, s.Frames, s.Last, timeouts)
			}
		}
	}
}

// A wrong time is none the less wrong if a live source is silent after it.
func TestStrayTimeBeforeSilence(t *testing.T) {
	frames, before := paused(time.Second)
	for _, shards := range []int{1, 2} {
		var records int
		e := New(Config{
			Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) { records++ }},
			Live:     true,
			Shards:   shards,
			Encode:   func(dst []byte, _ *capstanv1.Exchange) []byte { return append(dst, '\n') },
			Write:    func(b []byte) { records += len(b) },
		})
		for i := range frames {
			f := frames[i]
			if i == before {
				f.Timestamp += int64(time.Hour)
			}
			e.Frame(&f)
			if i == before {
				e.Idle(50 * time.Millisecond)
			}
		}
		e.Finish()
		if s := e.Snapshot(); s.Reassembly.Closed[reassembly.CloseTimeout] != 0 || records != 3 || s.Frames != uint64(len(frames)) {
			t.Errorf("%d shards: %d timeouts, %d records of 3, %d frames of %d", shards, s.Reassembly.Closed[reassembly.CloseTimeout], records, s.Frames, len(frames))
		}
	}
}

// A live source's clock that is set ends nothing, and connections that are silent
// from then on time out as others do.
func TestLiveClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		var w wire
		c := w.connect(40000)
		c.say(0, get(1))
		w.now += 2e9
		before := len(w.frames)
		w.now += int64(by)
		c.say(1, answer(100))
		c.say(0, get(2))
		complete := 0
		e := New(Config{Live: true, Exchange: exchange.Config{Emit: func(x *capstanv1.Exchange) {
			if x.Complete {
				complete++
			}
		}}})
		idle := func() (active int) {
			e.Idle(100 * time.Millisecond)
			return e.Snapshot().Reassembly.Active
		}
		for i := range w.frames {
			e.Frame(&w.frames[i])
			if i >= before && idle() != 1 {
				t.Errorf("set by %s, the connection is gone", by)
			}
		}
		if complete != 1 {
			t.Errorf("set by %s: %d exchanges", by, complete)
		}
		if last := e.Snapshot().Last; by > 0 && last != w.frames[len(w.frames)-1].Timestamp {
			t.Errorf("set by %s: the latest frame was at %d", by, last)
		}
		e.Idle(4 * time.Minute)
		if idle() != 1 {
			t.Errorf("set by %s: after 4 minutes the connection is gone", by)
		}
		e.Idle(6 * time.Minute)
		if idle() != 0 {
			t.Errorf("set by %s: the connection never times out", by)
		}
		e.Finish()
	}
}

// Where each frame comes 20 s after the one before, connections time out, and few
// frames wait.
func TestRareFrames(t *testing.T) {
	var w wire
	for i := range 40 {
		c := w.connect(uint16(40000 + i))
		c.say(0, "GET /"+strings.Repeat("x", 1000)+" HTTP/1.1\r\n\r\n")
		for j := range w.frames[i*4:] {
			w.frames[4*i+j].Timestamp += int64(4*i+j) * 20e9
		}
	}
	e := New(Config{Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) {}}})
	for i := range w.frames {
		f := w.frames[i]
		if i%10 == 9 {
			f.Data = append(slices.Clone(f.Data), make([]byte, maxLeapingBytes)...) // a trailer
		}
		e.Frame(&f)
		if n := len(e.leaping.frames); n >= maxLeaping || e.leaping.bytes > maxLeapingBytes || e.leaping.full() {
			t.Fatalf("%d frames wait, of %d bytes", n, e.leaping.bytes)
		}
	}
	e.Finish()
	if s := e.Snapshot(); s.Reassembly.Closed[reassembly.CloseTimeout] != 36 || s.Frames != uint64(len(w.frames)) {
		t.Errorf("%d of 40 connections timed out, 36 are wanted; %d frames", s.Reassembly.Closed[reassembly.CloseTimeout], s.Frames)
	}
}
