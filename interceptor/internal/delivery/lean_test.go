package delivery

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

// tap is a Tap that counts.
type tap struct {
	wants          atomic.Bool
	pushed, passed int
	raw            int
}

func (t *tap) Wants() bool { return t.wants.Load() }
func (t *tap) Pass()       { t.passed++ }
func (t *tap) Push(r *Record) {
	t.pushed++
	if x, err := r.Exchange(); err == nil && x.GetId() != "" {
		t.raw++
	}
}

// TestLean: sinks that need nothing but a form get each record in it, however
// long, while the memory is used again.
func TestLean(t *testing.T) {
	form, other := formOf("form"), formOf("other")
	sinks := []*formSink{{form: form}, {form: other}, {form: form}}
	var queues []*Queue
	for i, s := range sinks {
		queues = append(queues, newQueue(t, Config{Name: string(rune('a' + i)), Form: s.form, FormAlone: true, MaxRecords: 50, BatchRecords: 7}, s))
	}
	f := NewFanout(queues...)
	rnd := rand.New(rand.NewPCG(1, 1))
	var want []*capstanv1.Exchange
	for n := range 3000 {
		x := exchange(n)
		x.Request = &capstanv1.HttpRequest{Body: &capstanv1.Body{Content: bytes.Repeat([]byte{byte(n)}, 1<<rnd.IntN(15))}}
		want = append(want, x)
		if err := f.Emit(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, s := range sinks {
		if len(s.out) != len(want) || s.encoded != len(want) {
			t.Fatalf("sink %d got %d records, %d of them encoded", i, len(s.out), s.encoded)
		}
		for n, x := range want {
			if text := string(s.form.Append(nil, x)); s.out[n] != text {
				t.Fatalf("sink %d, record %d is %.60q…, want %.60q…", i, n, s.out[n], text)
			}
		}
		balanced(t, queues[i])
	}
}

// TestLeanTap: who watches gets whole records; while nobody does, none is encoded for it.
func TestLeanTap(t *testing.T) {
	s := &formSink{form: formOf("form")}
	f := NewFanout(newQueue(t, Config{Name: "s", Form: s.form, FormAlone: true}, s))
	watching := new(tap)
	f.Tap(watching)
	for n := range 10 {
		watching.wants.Store(n >= 4)
		if err := f.Emit(exchange(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if watching.passed != 4 || watching.pushed != 6 || watching.raw != 6 || len(s.out) != 10 {
		t.Errorf("passed %d, pushed %d, %d of them whole; the sink got %d", watching.passed, watching.pushed, watching.raw, len(s.out))
	}
}

// TestLeanReplaced: a record that waits while queues are replaced reaches one that
// wants it whole.
func TestLeanReplaced(t *testing.T) {
	s, whole := &formSink{form: formOf("form")}, &memorySink{}
	f := NewFanout(newQueue(t, Config{Name: "s", Form: s.form, FormAlone: true}, s))
	old := f.current.Load()
	var emitted error
	done := make(chan struct{})
	err := f.Replace(t.Context(), func(*Queue) bool { return false }, func() []*Queue {
		go func() { // ends with the replacement
			defer close(done)
			emitted = f.emitLean(old, exchange(0))
		}()
		return []*Queue{newQueue(t, Config{Name: "w"}, whole)}
	})
	<-done
	if err := errors.Join(err, emitted, f.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	whole.want(t, 0, 1)
	if len(s.out) != 0 {
		t.Error("a sink that was closed got the record")
	}
}

// TestLeanIsDropped: memory of records that a policy drops, or the end, or want of
// memory, is used again no sooner than no queue has them.
func TestLeanIsDropped(t *testing.T) {
	form := formOf("form")
	s := slab{}
	r := s.lean(exchange(1), []*Form{form})
	p := r.texts[0].page
	if p == nil || p.users.Load() != 2 {
		t.Fatal("the text is in no page")
	}
	slow := &stuckSink{begun: make(chan struct{}), end: make(chan struct{})}
	dropping := newQueue(t, Config{Name: "d", Policy: DropOldest, Form: form, FormAlone: true}, slow)
	g := &generation{queues: []*Queue{dropping, newQueue(t, Config{Name: "b", Form: form, FormAlone: true}, &formSink{form: form})}}
	if !g.push(s.lean(exchange(0), []*Form{form})) {
		t.Fatal("not pushed")
	}
	<-slow.begun // so that r waits in the first queue
	g.push(r)
	await(t, "the second queue to deliver", func() bool { return g.queues[1].Stats().Delivered == 2 })
	if p.users.Load() != 3 {
		t.Errorf("%d users of the page, want the slab and two records", p.users.Load())
	}
	dropping.mem.shed()
	if n := p.users.Load(); n != 2 || dropping.Stats().Shed != 1 {
		t.Errorf("%d users of the page, want the slab and the record under way", n)
	}
	if _, err := r.Append(nil, form); !errors.Is(err, errLean) {
		t.Errorf("a record that is gone: %v", err)
	}
	close(slow.end)
	for _, q := range g.queues {
		closeNow(t, q)
	}
	if n := p.users.Load(); n != 1 {
		t.Errorf("%d users of the page, want the slab alone", n)
	}
}

// stuckSink takes nothing until end is closed.
type stuckSink struct{ begun, end chan struct{} }

func (s *stuckSink) Deliver(context.Context, []*Record) error {
	close(s.begun)
	<-s.end
	return nil
}

func (*stuckSink) Close() error { return nil }
