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
	for way, emit := range emitting {
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
			if err := emit(f, x); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, s := range sinks {
			if len(s.out) != len(want) || s.encoded != len(want) || s.raw != 0 {
				t.Fatalf("%s: sink %d got %d records, %d of them encoded, %d whole", way, i, len(s.out), s.encoded, s.raw)
			}
			for n, x := range want {
				if text := string(s.form.Append(nil, x)); s.out[n] != text {
					t.Fatalf("%s: sink %d, record %d is %.60q…, want %.60q…", way, i, n, s.out[n], text)
				}
			}
			balanced(t, queues[i])
		}
	}
}

// TestLeanTap: who watches gets whole records; while nobody does, none is encoded for it.
func TestLeanTap(t *testing.T) {
	for way, emit := range emitting {
		s := &formSink{form: formOf("form")}
		f := NewFanout(newQueue(t, Config{Name: "s", Form: s.form, FormAlone: true}, s))
		watching := new(tap)
		f.Tap(watching)
		for n := range 10 {
			watching.wants.Store(n >= 4)
			if err := emit(f, exchange(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if watching.passed != 4 || watching.pushed != 6 || watching.raw != 6 || len(s.out) != 10 || s.raw != 6 {
			t.Errorf("%s: passed %d, pushed %d, %d of them whole; the sink got %d, %d of them whole",
				way, watching.passed, watching.pushed, watching.raw, len(s.out), s.raw)
		}
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

// appended returns what Append makes of a record.
func appended(t *testing.T, f *Fanout, n int) []byte {
	t.Helper()
	b, err := f.Append(nil, exchange(n))
	if err != nil {
		t.Error(err)
	}
	return b
}

// TestReplaceWaitsForLeanRecords: what is on its way as a form alone reaches the queues
// that it was encoded for; what comes behind is whole, since those to come may want that.
func TestReplaceWaitsForLeanRecords(t *testing.T) {
	s, whole := &formSink{form: formOf("form")}, &memorySink{}
	f := NewFanout(newQueue(t, Config{Name: "s", Form: s.form, FormAlone: true}, s))
	lean := appended(t, f, 0)
	done := make(chan error, 1)
	go func() { // ends with the lean record
		done <- f.Replace(t.Context(), func(*Queue) bool { return false }, func() []*Queue { return []*Queue{newQueue(t, Config{Name: "w"}, whole)} })
	}()
	await(t, "records to be whole", func() bool {
		if f.leaning.TryRLock() {
			f.leaning.RUnlock()
			return false
		}
		return true
	})
	behind := appended(t, f, 1)
	f.Push(lean)
	err := <-done
	f.Push(behind)
	if err := errors.Join(err, f.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	whole.want(t, 1, 2)
	if len(s.out) != 1 || s.raw != 0 {
		t.Errorf("the sink that was closed got %d records, %d of them whole", len(s.out), s.raw)
	}
}

// TestLeanQueuesAreReplaced again and again, by one that wants records whole and back, while
// some are on their way: each reaches one queue, in order.
func TestLeanQueuesAreReplaced(t *testing.T) {
	form := formOf("form")
	var forms []*formSink
	var wholes []*memorySink
	next := func() *Queue {
		if len(forms) > len(wholes) {
			wholes = append(wholes, &memorySink{})
			return newQueue(t, Config{Name: "s"}, wholes[len(wholes)-1])
		}
		forms = append(forms, &formSink{form: form})
		return newQueue(t, Config{Name: "s", Form: form, FormAlone: true}, forms[len(forms)-1])
	}
	f := NewFanout(next())
	const records, replacements = 20_000, 19
	onWay, done := make(chan []byte, 100), make(chan struct{})
	go func() { // ends with the records
		defer close(onWay)
		for n := range records {
			onWay <- appended(t, f, n)
		}
	}()
	pushed := make(chan struct{}, replacements)
	go func() { // likewise
		defer close(done)
		n := 0
		for b := range onWay {
			f.Push(b)
			if n++; n%(records/(replacements+1)) == 0 && len(pushed) < replacements {
				pushed <- struct{}{}
			}
		}
	}()
	for range replacements {
		<-pushed
		if err := f.Replace(t.Context(), func(*Queue) bool { return false }, func() []*Queue { return []*Queue{next()} }); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range forms {
		for _, text := range forms[i].out {
			if want := string(form.Append(nil, exchange(n))); text != want {
				t.Fatalf("sink %d got %q, want %q", i, text, want)
			}
			n++
		}
		wholes[i].want(t, n, n+len(wholes[i].ids))
		n += len(wholes[i].ids)
	}
	if st := f.Stats(); n != records || len(st) != 1 || st[0].Delivered != records || !st[0].Balanced() {
		t.Errorf("%d of %d records came: %+v", n, records, st)
	}
}

// TestLeanRecordComesTooLate: a queue that wants more than there is of a record counts it
// as not delivered; others get it, and once none is under way they are lean again.
func TestLeanRecordComesTooLate(t *testing.T) {
	s, whole := &formSink{form: formOf("form")}, &memorySink{}
	kept := newQueue(t, Config{Name: "s", Form: s.form, FormAlone: true}, s)
	f := NewFanout(kept)
	lean := appended(t, f, 0)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	replace := func(queues ...*Queue) {
		if err := f.Replace(over, func(q *Queue) bool { return q == kept }, func() []*Queue { return queues }); err != nil {
			t.Fatal(err)
		}
	}
	replace(newQueue(t, Config{Name: "w"}, whole))
	f.Push(lean)
	f.Push(appended(t, f, 1))
	replace()
	await(t, "records to be lean again", func() bool {
		g := f.lean()
		if g != nil {
			f.leaning.RUnlock()
		}
		return g != nil
	})
	f.Push(appended(t, f, 2))
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.out) != 3 || s.raw != 1 {
		t.Errorf("the sink that stays got %d records, %d of them whole", len(s.out), s.raw)
	}
	stats := f.Stats()
	if w := stats[1]; w.Name != "w" || w.Accepted != 2 || w.Undelivered == 0 || !w.Balanced() {
		t.Errorf("%+v", w)
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
