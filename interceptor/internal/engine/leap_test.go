package engine

import (
	"fmt"
	"slices"
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

// A single wrong time, wherever it is and however far off, ends no connection and
// changes no record but in its times.
func TestStrayTime(t *testing.T) {
	frames, _ := paused(time.Second)
	frames = slices.Concat(frames[:5], fragments(frames[5], 64, 1), frames[6:])
	want, _ := timeless(t, frames)
	if len(want) != 3 {
		t.Fatal(want)
	}
	for _, by := range []time.Duration{-1_700_000_000 * time.Second, -24 * time.Hour, -time.Minute, -10 * time.Second,
		6 * time.Second, time.Minute, time.Hour, 24 * time.Hour, 80 * 365 * 24 * time.Hour} {
		for i := 1; i < len(frames)-1; i++ {
			strayed := slices.Clone(frames)
			strayed[i].Timestamp += int64(by)
			if got, timeouts := timeless(t, strayed); !slices.Equal(got, want) || timeouts != 0 {
				t.Fatalf("frame %d strays by %s: %d timeouts,\n%s\nwithout that\n%s", i, by, timeouts, got, want)
			}
			if i%6 == 0 {
				compareShards(t, "stray", strayed)
			}
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
			"– → 200 (20 B) [FLAW_NO_REQUEST]", "GET /api/items/3 (0 B) → 200 (3000 B) [FLAW_CAPTURE_ENDED]"},
	} {
		if got, _ := timeless(t, frames[:n]); !slices.Equal(got, want) {
			t.Errorf("%d frames\n%q\nwant\n%q", n, got, want)
		}
		compareShards(t, "pause", frames[:n])
	}
}

// A clock that is set back while a live source runs does not make the first silence
// look like a long one.
func TestSilenceAfterClockSetBack(t *testing.T) {
	var w wire
	w.connect(40000)
	w.now += 7200e9
	c := w.connect(40001)
	w.now -= 3600e9
	for range 200 {
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

// A wrong time is none the less wrong if a live source is silent after it.
func TestStrayTimeBeforeSilence(t *testing.T) {
	frames, before := paused(time.Second)
	for _, shards := range []int{1, 2} {
		var records int
		e := New(Config{
			Exchange: exchange.Config{Emit: func(*capstanv1.Exchange) { records++ }},
			Shards:   shards,
			Encode:   func(dst []byte, _ *capstanv1.Exchange) []byte { return dst },
			Write:    func([]byte) { records++ },
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
