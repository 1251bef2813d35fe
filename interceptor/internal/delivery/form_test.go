package delivery

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"capstan/interceptor/internal/spool"
	capstanv1 "capstan/proto/capstan/v1"
)

// formSink keeps what records are in its form.
type formSink struct {
	form    *Form
	mu      sync.Mutex
	out     []string
	encoded int // of those that nobody had to decode
	raw     int // of those that were encoded otherwise, too
}

func (s *formSink) Deliver(_ context.Context, batch []*Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range batch {
		b, err := r.Append(nil, s.form)
		if err != nil {
			return &RejectError{Rejected: 1, Err: err}
		}
		for _, t := range r.texts {
			if t.form == s.form {
				s.encoded++
			}
		}
		s.out = append(s.out, string(b))
		if len(r.Raw) > 0 {
			s.raw++
		}
	}
	return nil
}

func (*formSink) Close() error { return nil }

func formOf(prefix string) *Form {
	return &Form{Append: func(dst []byte, x *capstanv1.Exchange) []byte {
		return append(fmt.Appendf(dst, "%s %s ", prefix, x.GetId()), x.GetRequest().GetBody().GetContent()...)
	}}
}

// emitting are the ways of a record to the queues: of an engine with one shard, and of one
// with several.
var emitting = map[string]func(f *Fanout, x *capstanv1.Exchange) error{
	"emit": (*Fanout).Emit,
	"append": func(f *Fanout, x *capstanv1.Exchange) error {
		b, err := f.Append([]byte("before"), x)
		if err == nil {
			f.Push(b[len("before"):])
		}
		clear(b)
		return err
	},
}

// TestForms: each sink gets each record in its form, by whatever way and however
// long, and none of those in memory has to decode it.
func TestForms(t *testing.T) {
	for way, emit := range emitting {
		shared, alone := formOf("shared"), formOf("alone")
		sinks := []*formSink{{form: shared}, {form: alone}, {form: shared}, {form: shared}}
		plain := &memorySink{}
		f := NewFanout(
			newQueue(t, Config{Name: "a", Form: shared}, sinks[0]),
			newQueue(t, Config{Name: "b", Form: alone}, sinks[1]),
			newQueue(t, Config{Name: "c", Form: shared, Policy: Spool, Spool: spool.Options{Dir: t.TempDir()}}, sinks[2]),
			newQueue(t, Config{Name: "d", Form: shared}, sinks[3]),
			newQueue(t, Config{Name: "e"}, plain))
		rnd := rand.New(rand.NewPCG(1, 1))
		var want []*capstanv1.Exchange
		for n := range 300 {
			x := exchange(n)
			x.Request = &capstanv1.HttpRequest{Body: &capstanv1.Body{Content: bytes.Repeat([]byte{byte(n)}, 1<<rnd.IntN(18))}}
			want = append(want, x)
			if err := emit(f, x); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		plain.want(t, 0, len(want))
		for i, s := range sinks {
			if len(s.out) != len(want) {
				t.Fatalf("%s: sink %d got %d records", way, i, len(s.out))
			}
			for n, x := range want {
				if text := string(s.form.Append(nil, x)); s.out[n] != text {
					t.Fatalf("%s: sink %d, record %d is %.60q…, want %.60q…", way, i, n, s.out[n], text)
				}
			}
			if fromDisk := f.Queues()[i].cfg.Policy == Spool; !fromDisk && s.encoded != len(want) {
				t.Errorf("%s: sink %d had to decode records", way, i)
			}
		}
	}
}

// TestFormsChange: what was appended before the queues were replaced reaches new
// ones in their forms.
func TestFormsChange(t *testing.T) {
	before, after := &formSink{form: formOf("before")}, &formSink{form: formOf("after")}
	f := NewFanout(newQueue(t, Config{Name: "s", Form: before.form}, before))
	x := exchange(7)
	b, err := f.Append(nil, x)
	if err != nil {
		t.Fatal(err)
	}
	err = f.Replace(t.Context(), func(*Queue) bool { return false }, func() []*Queue {
		return []*Queue{newQueue(t, Config{Name: "s", Form: after.form}, after)}
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Push(b)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(before.out) != 0 || len(after.out) != 1 || after.out[0] != string(after.form.Append(nil, x)) {
		t.Errorf("%q and %q", before.out, after.out)
	}
}

// TestEmitAllocates next to nothing for a record of usual length.
func TestEmitAllocates(t *testing.T) {
	f := NewFanout()
	f.Tap(nullTap{})
	x := exchange(1)
	x.Request = &capstanv1.HttpRequest{Method: "GET", Body: &capstanv1.Body{Content: make([]byte, 1000)}}
	if n := testing.AllocsPerRun(1000, func() {
		if err := f.Emit(x); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

type nullTap struct{}

func (nullTap) Wants() bool  { return true }
func (nullTap) Push(*Record) {}
func (nullTap) Pass()        {}

// fussyTap counts, and wants no record or all.
type fussyTap struct {
	wants          bool
	pushed, passed int
}

func (t *fussyTap) Wants() bool  { return t.wants }
func (t *fussyTap) Push(*Record) { t.pushed++ }
func (t *fussyTap) Pass()        { t.passed++ }

// TestUnwanted: what no tap wants is not encoded and told, but is had by taps, too,
// where another wants it or a queue takes it.
func TestUnwanted(t *testing.T) {
	emit := func(f *Fanout) {
		if err := f.Emit(exchange(1)); err != nil {
			t.Fatal(err)
		}
		b, err := f.Append(nil, exchange(2))
		if err != nil {
			t.Fatal(err)
		}
		f.Push(b)
	}
	for _, tc := range []struct {
		name           string
		queues         int
		wants          bool // of another tap
		pushed, passed int
	}{
		{"nobody", 0, false, 0, 2},
		{"another tap", 0, true, 2, 0},
		{"a queue", 1, false, 2, 0},
	} {
		var queues []*Queue
		for range tc.queues {
			queues = append(queues, newQueue(t, Config{Name: "q"}, &memorySink{}))
		}
		f, tap := NewFanout(queues...), &fussyTap{}
		f.Tap(tap)
		f.Tap(&fussyTap{wants: tc.wants})
		emit(f)
		if tap.pushed != tc.pushed || tap.passed != tc.passed {
			t.Errorf("%s: %+v", tc.name, tap)
		}
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
