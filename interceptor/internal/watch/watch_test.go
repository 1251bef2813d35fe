package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/delivery/deliverytest"
	"capstan/pkg/leaktest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

func record(t testing.TB, n int) *delivery.Record {
	t.Helper()
	return deliverytest.Record(t, &capstanv1.Exchange{
		Id:       fmt.Sprint(n),
		Request:  &capstanv1.HttpRequest{Method: "GET", Target: "/", Headers: []*capstanv1.Header{{Name: "Accept", Value: "a/b"}}},
		Response: &capstanv1.HttpResponse{Status: uint32(200 + n%2*300)},
	})
}

func idOf(e Event) string {
	x, err := e.Record.Exchange()
	if err != nil {
		return err.Error()
	}
	return x.GetId()
}

func watch(t *testing.T, h *Hub, o Options) *Watcher {
	t.Helper()
	w, err := h.Watch(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// read reads to the end: the ids in order, "+n" for n skipped, "!n" for n failed.
func read(t *testing.T, w *Watcher) string {
	t.Helper()
	var got []string
	for {
		e, err := w.Next(context.Background())
		switch {
		case err == io.EOF:
			return strings.Join(got, " ")
		case err != nil:
			t.Fatal(err)
		case e.Skipped > 0:
			got = append(got, fmt.Sprintf("+%d", e.Skipped))
		case e.Failed > 0:
			got = append(got, fmt.Sprintf("!%d", e.Failed))
		default:
			got = append(got, idOf(e))
		}
	}
}

func TestBacklogResumeAndLag(t *testing.T) {
	h := New(Config{MaxRecords: 4})
	live := watch(t, h, Options{})
	for n := range 3 {
		h.Push(record(t, n))
	}
	tail := watch(t, h, Options{Backlog: 2})
	late := watch(t, h, Options{Backlog: 100})
	e, err := live.Next(context.Background())
	if err != nil || idOf(e) != "0" {
		t.Fatal(e, err)
	}
	resumed := watch(t, h, Options{ResumeToken: e.Token, Backlog: 1})
	for n := 3; n < 6; n++ {
		h.Push(record(t, n))
	}
	h.Close()
	for _, tc := range []struct {
		name string
		w    *Watcher
		want string
	}{
		{"has a batch already", live, "1 2 3 4 5"},
		{"two of three, one of them gone", tail, "+1 2 3 4 5"},
		{"all three, two of them gone", late, "+2 2 3 4 5"},
		{"behind the first, one gone", resumed, "+1 2 3 4 5"},
	} {
		if got := read(t, tc.w); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestRingIsBoundedInBytes(t *testing.T) {
	each := cost(record(t, 1))
	h := New(Config{MaxBytes: 3 * each})
	for range 100 {
		h.Push(record(t, 1))
	}
	if s := h.Stats(); s.Kept != 3 || s.Bytes != 3*each || s.Records != 100 {
		t.Errorf("%+v", s)
	}
	h = New(Config{MaxBytes: 1}) // a record that is too long passes alone
	h.Push(record(t, 1))
	h.Push(record(t, 2))
	if s := h.Stats(); s.Kept != 1 {
		t.Errorf("%+v", s)
	}
}

// TestShed: the older half goes, and who follows is told.
func TestShed(t *testing.T) {
	h := New(Config{})
	late := watch(t, h, Options{Backlog: 100})
	for n := range 5 {
		h.Push(record(t, n))
	}
	if !h.Shed() {
		t.Error("nothing was shed")
	}
	if s := h.Stats(); s.Kept != 2 || s.Bytes != 2*cost(record(t, 1)) || s.Taken != 5 || s.Shed != 3 {
		t.Errorf("%+v", s)
	}
	h.Push(record(t, 5))
	h.Close()
	if got, want := read(t, late), "+3 3 4 5"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	h.Shed()
	if !h.Shed() || h.Shed() {
		t.Error("something was left, and then nothing")
	}
	if s := h.Stats(); s.Kept != 0 || s.Bytes != 0 || s.Shed != 6 || s.Missed != 3 {
		t.Errorf("with nothing left: %+v", s)
	}
}

func TestWatchersAreLimited(t *testing.T) {
	h := New(Config{MaxWatchers: 1})
	w, err := h.Watch(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Watch(Options{}); !errors.Is(err, ErrTooManyWatchers) {
		t.Errorf("%v", err)
	}
	if s := h.Stats(); s.Watchers != 1 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
	w.Close()
	if s := h.Stats(); s.Watchers != 0 {
		t.Errorf("%+v", s)
	}
	watch(t, h, Options{})
}

// TestLimitsAreCounted: what is forgotten for newer records is, and what passes by.
func TestLimitsAreCounted(t *testing.T) {
	h := New(Config{MaxRecords: 2})
	for n := range 5 {
		h.Push(record(t, n))
	}
	h.Pass()
	if s := h.Stats(); s.Records != 6 || s.Taken != 5 || s.Forgotten != 3 || s.Kept != 2 {
		t.Errorf("%+v", s)
	}
}

func TestResumeTokens(t *testing.T) {
	h, other := New(Config{}), New(Config{})
	other.Push(record(t, 1))
	e, err := watch(t, other, Options{Backlog: 1}).Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{
		e.Token: "another run", "x": "is none", h.instance + "-": "is none", h.instance + "-1": "not come yet", h.instance + "--1": "is none",
	} {
		var bad *TokenError
		if _, err := h.Watch(Options{ResumeToken: token}); !errors.As(err, &bad) || !strings.Contains(bad.Reason, want) {
			t.Errorf("%s: %v, want %s", token, err, want)
		}
	}
	if h.Stats().Watchers != 0 {
		t.Error("a refused watcher counts")
	}
}

// TestPushNeverWaits: with watchers that wait, are stuck, and come and go.
func TestPushNeverWaits(t *testing.T) {
	h := New(Config{MaxRecords: 100})
	const total = 20_000
	watch(t, h, Options{}) // never reads
	var wg sync.WaitGroup
	for range 4 {
		w := watch(t, h, Options{})
		wg.Go(func() {
			var seen uint64
			for {
				e, err := w.Next(context.Background())
				if err != nil {
					break
				}
				if seen += e.Skipped; e.Record != nil {
					seen++
				}
			}
			if seen != total {
				t.Errorf("seen and skipped are %d, want %d", seen, total)
			}
		})
	}
	r := record(t, 1)
	for range total {
		h.Push(r)
	}
	h.Close()
	wg.Wait()
}

func TestPushAllocatesNothing(t *testing.T) {
	h := New(Config{MaxRecords: 100})
	r := record(t, 1)
	for range 200 {
		h.Push(r)
	}
	if n := testing.AllocsPerRun(100, func() { h.Push(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNextEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := watch(t, New(Config{}), Options{}).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
