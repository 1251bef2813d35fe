package watch

import (
	"testing"
	"testing/synctest"
	"time"
)

// come gives h the records from first to last, as a Fanout does.
func come(t *testing.T, h *Hub, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		if h.Wants() {
			h.Push(record(t, n))
		} else {
			h.Pass()
		}
	}
}

// TestIdle: while nobody watches, runs of records are kept, and who comes then is
// told what is missing between them, and gets all from then on.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{MaxRecords: 6, IdleRate: 20})
		come(t, h, 0, 9) // 0 to 5 are kept
		time.Sleep(150 * time.Millisecond)
		come(t, h, 10, 12) // 10, 11 and 12: three in 150 ms
		come(t, h, 13, 20)
		w := watch(t, h, Options{Backlog: 5})
		all := watch(t, h, Options{ResumeToken: h.instance + "-0"})
		come(t, h, 21, 22)
		h.Close()
		if got, want := read(t, w), "+1 5 +4 10 11 12 +8 21 22"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := read(t, all), "+5 5 +4 10 11 12 +8 21 22"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if s := h.Stats(); s.Records != 23 || s.Kept != 6 {
			t.Errorf("%+v", s)
		}
	})
}

// TestIdleAfterWatcher: who lost the connection finds everything.
func TestIdleAfterWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{MaxRecords: 100, IdleRate: 1})
		w, err := h.Watch(Options{})
		if err != nil {
			t.Fatal(err)
		}
		come(t, h, 0, 0)
		e, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		for n := 1; n < 200; n += 50 {
			come(t, h, n, n+49)
		}
		time.Sleep(resumeGrace)
		again := watch(t, h, Options{ResumeToken: e.Token})
		if n, first, _, _ := h.read(again.next, again.room[:]); n != batchLen || first != 101 {
			t.Errorf("%d from %d", n, first)
		}
	})
}

// TestNoIdleRate: at a rate of 0 nothing is kept while nobody watches, but for
// who may have lost the connection.
func TestNoIdleRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{})
		come(t, h, 0, 9)
		time.Sleep(time.Hour)
		come(t, h, 10, 19)
		w, err := h.Watch(Options{Backlog: 5})
		if err != nil {
			t.Fatal(err)
		}
		come(t, h, 20, 21)
		w.Close()
		come(t, h, 22, 23)
		time.Sleep(resumeGrace)
		come(t, h, 24, 29)
		if s := h.Stats(); s.Records != 30 || s.Kept != 4 {
			t.Errorf("%+v, want 4 of 30 kept", s)
		}
	})
}

// TestAllowance: it never takes more than its rate and what may come at once, and
// all of what comes more slowly.
func TestAllowance(t *testing.T) {
	for _, tc := range []struct {
		every time.Duration
		want  int // of what comes in 100 s
	}{
		{time.Millisecond, 50 + 1500},
		{50 * time.Millisecond, 50 + 1500},
		{100 * time.Millisecond, 1000},
		{time.Second, 100},
	} {
		a := newAllowance(Config{MaxRecords: 50, IdleRate: 15})
		now, taken := time.Unix(1e9, 0), 0
		for end := now.Add(100 * time.Second); now.Before(end); now = now.Add(tc.every) {
			if a.take(now) {
				taken++
			}
		}
		if taken > tc.want || taken < tc.want-2 {
			t.Errorf("every %v: %d, want %d", tc.every, taken, tc.want)
		}
	}
}
