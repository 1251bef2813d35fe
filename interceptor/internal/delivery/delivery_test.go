package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"capstan/interceptor/internal/spool"
	"capstan/pkg/leaktest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

func exchange(n int) *capstanv1.Exchange {
	return &capstanv1.Exchange{Id: fmt.Sprint(n), DurationNs: 5}
}

// memorySink keeps ids. Its gate, if not nil, has to let each delivery through.
type memorySink struct {
	gate chan error

	mu     sync.Mutex
	ids    []string
	closed bool
}

func (s *memorySink) Deliver(ctx context.Context, batch []*Record) error {
	var reject *RejectError
	if s.gate != nil {
		select {
		case err := <-s.gate:
			if err != nil && !errors.As(err, &reject) {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range batch {
		x, err := r.Exchange()
		if err != nil {
			return err
		}
		s.ids = append(s.ids, x.GetId())
	}
	if reject != nil {
		return reject
	}
	return nil
}

func (s *memorySink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// want checks that exactly the records from to to arrived, in order.
func (s *memorySink) want(t *testing.T, from, to int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ids) != to-from {
		t.Fatalf("%d records arrived, want %d to %d", len(s.ids), from, to)
	}
	for i, id := range s.ids {
		if id != fmt.Sprint(from+i) {
			t.Fatalf("record %d is %s", from+i, id)
		}
	}
}

func newQueue(t *testing.T, c Config, s Sink) *Queue {
	t.Helper()
	c.RetryMin, c.RetryMax = time.Millisecond, time.Millisecond
	if c.Name == "" {
		c.Name = "test"
	}
	q, err := NewQueue(c, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, q) })
	return q
}

// closeNow closes without waiting for deliveries.
func closeNow(t *testing.T, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Close(ctx); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func push(t *testing.T, q *Queue, from, to int) {
	t.Helper()
	f := NewFanout(q)
	for n := from; n < to; n++ {
		if err := f.Emit(exchange(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func balanced(t *testing.T, q *Queue) Stats {
	t.Helper()
	s := q.Stats()
	if !s.Balanced() {
		t.Errorf("the counters don't balance: %+v", s)
	}
	return s
}

// waits reports whether an emitter waits for room.
func waits(q *Queue) bool {
	q.mem.mu.Lock()
	defer q.mem.mu.Unlock()
	return q.mem.waiting > 0
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestEachSinkGetsEachRecord(t *testing.T) {
	sinks := []*memorySink{{}, {}, {}}
	f := NewFanout(
		newQueue(t, Config{Name: "block", MaxRecords: 3, BatchRecords: 2}, sinks[0]),
		newQueue(t, Config{Name: "spool", Policy: Spool, Spool: spool.Options{Dir: t.TempDir()}}, sinks[1]),
		newQueue(t, Config{Name: "drop", Policy: DropOldest}, sinks[2]))
	var wg sync.WaitGroup
	for n := range 1000 {
		if err := f.Emit(exchange(n)); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, s := range sinks {
		s.want(t, 0, 1000)
		if st := balanced(t, f.Queues()[i]); st.Delivered != 1000 || !s.closed {
			t.Errorf("%s: %+v", f.Queues()[i].Name(), st)
		}
	}
}

// A sink that fails gets the same batch again.
func TestRetry(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{}, s)
	push(t, q, 0, 5)
	for range 3 {
		s.gate <- errors.New("down")
	}
	await(t, "failing", func() bool { return balanced(t, q).Failing })
	for done := false; !done; {
		select {
		case s.gate <- nil:
		default:
			done = q.Stats().Delivered == 5
			time.Sleep(time.Millisecond)
		}
	}
	s.want(t, 0, 5)
	if st := balanced(t, q); st.Retries != 3 || st.Failing {
		t.Errorf("%+v", st)
	}
}

func TestRejected(t *testing.T) {
	s := &memorySink{gate: make(chan error, 1)}
	s.gate <- &RejectError{Rejected: 2, Err: errors.New("too long")}
	q := newQueue(t, Config{}, s)
	push(t, q, 0, 1)
	await(t, "delivered", func() bool { return q.Stats().Rejected == 1 }) // never more than there were
	if st := balanced(t, q); st.Delivered != 0 {
		t.Errorf("%+v", st)
	}
}

// The policy Block makes emitters wait, and loses nothing.
func TestBlock(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{MaxRecords: 10, BatchRecords: 4}, s)
	push(t, q, 0, 10)
	pushed := make(chan struct{})
	go func() { // ends with the push; awaited below
		defer close(pushed)
		push(t, q, 10, 30)
	}()
	await(t, "an emitter that waits", func() bool { return waits(q) })
	time.Sleep(time.Millisecond)
	if st := balanced(t, q); st.Queued != 10 || st.Blocked < time.Millisecond || st.Blocked > time.Minute {
		t.Errorf("%+v", st)
	}
	close(s.gate)
	<-pushed
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(t, 0, 30)
	if st := balanced(t, q); st.Delivered != 30 || st.Blocked == 0 {
		t.Errorf("%+v", st)
	}
}

// In a hurry, who waits for room goes on, and what has none is dropped; what has
// some is not.
func TestHurry(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{MaxRecords: 10, BatchRecords: 4}, s)
	f := NewFanout(q)
	emitted := make(chan struct{})
	go func() { // awaited below
		defer close(emitted)
		push(t, q, 0, 15)
	}()
	await(t, "an emitter that waits", func() bool { return waits(q) })
	f.Hurry()
	<-emitted
	if st := balanced(t, q); st.Queued != 10 || st.Undelivered != 5 || st.Dropped != 5 {
		t.Errorf("%+v", st)
	}
	s.gate <- nil
	await(t, "room", func() bool { return q.Stats().Queued < 10 })
	push(t, q, 10, 11)
	close(s.gate)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(t, 0, 11)
	if st := balanced(t, q); st.Delivered != 11 {
		t.Errorf("%+v", st)
	}
}

// Queues that are opened in a hurry are hurried, too.
func TestHurryWhileReplaced(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	f := NewFanout()
	f.Hurry()
	err := f.Replace(t.Context(), func(*Queue) bool { return true }, func() []*Queue {
		return []*Queue{newQueue(t, Config{MaxRecords: 10}, s)}
	})
	if err != nil {
		t.Fatal(err)
	}
	emitted := make(chan struct{})
	go func() { // ends as nobody waits
		defer close(emitted)
		for n := range 15 {
			_ = f.Emit(exchange(n)) // what is lost is counted
		}
	}()
	select {
	case <-emitted:
	case <-time.After(10 * time.Second):
		t.Error("it waits for room")
	}
	close(s.gate)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-emitted
	if st := balanced(t, f.Queues()[0]); st.Delivered != 10 || st.Undelivered != 5 {
		t.Errorf("%+v", st)
	}
}

func TestDropOldest(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{Policy: DropOldest, MaxRecords: 10, BatchRecords: 1}, s)
	push(t, q, 0, 1)
	await(t, "a batch under way", func() bool { q.mem.mu.Lock(); defer q.mem.mu.Unlock(); return q.mem.taken == 1 })
	push(t, q, 1, 100)
	if st := balanced(t, q); st.Dropped != 90 || st.Undelivered != 0 || st.Queued != 10 {
		t.Errorf("%+v", st)
	}
	s.gate <- nil // record 0, which was under way
	close(s.gate)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.ids = s.ids[1:]
	s.mu.Unlock()
	s.want(t, 91, 100)
	balanced(t, q)
}

// TestDropOldestNeverWaits: not even when all the room is under way.
func TestDropOldestNeverWaits(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{Policy: DropOldest, MaxRecords: 5}, s)
	push(t, q, 0, 1)
	await(t, "a batch under way", func() bool { q.mem.mu.Lock(); defer q.mem.mu.Unlock(); return q.mem.taken == 1 })
	push(t, q, 1, 5)
	s.gate <- nil
	await(t, "all the room is under way", func() bool { q.mem.mu.Lock(); defer q.mem.mu.Unlock(); return q.mem.taken == 4 })
	q.mem.mu.Lock()
	q.mem.maxRecords = 4
	q.mem.mu.Unlock()
	push(t, q, 5, 10)
	if st := balanced(t, q); st.Dropped != 4 || st.Queued != 5 || st.Blocked != 0 {
		t.Errorf("%+v", st)
	}
}

// Bytes bound a queue as records do, and one record always fits.
func TestBytesBound(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{Policy: Block, MaxBytes: 100, BatchRecords: 1}, s)
	long := newRecord(t, &capstanv1.Exchange{Id: string(make([]byte, 500))})
	q.Push(long)
	await(t, "a batch under way", func() bool { q.mem.mu.Lock(); defer q.mem.mu.Unlock(); return q.mem.taken == 1 })
	done := make(chan struct{})
	go func() { // ends when there is room; awaited below
		defer close(done)
		q.Push(long)
	}()
	await(t, "an emitter that waits", func() bool { return waits(q) })
	if st := q.Stats(); st.QueuedBytes != len(long.Raw) {
		t.Errorf("%+v", st)
	}
	s.gate <- nil
	<-done
}

// What was not delivered by the deadline is counted, and the queue ends.
func TestCloseInTime(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{MaxRecords: 50, BatchRecords: 10}, s)
	push(t, q, 0, 50)
	closeNow(t, q)
	if st := balanced(t, q); st.Dropped != 50 || st.Undelivered != 50 || st.Queued != 0 {
		t.Errorf("%+v", st)
	}
	push(t, q, 50, 51) // too late
	if st := balanced(t, q); st.Dropped != 51 || st.Undelivered != 51 {
		t.Errorf("%+v", st)
	}
}

// A spool keeps what its sink didn't take for the next process.
func TestSpoolOutlivesTheProcess(t *testing.T) {
	c := Config{Policy: Spool, Spool: spool.Options{Dir: filepath.Join(t.TempDir(), "spool")}, BatchRecords: 7}
	down := &memorySink{gate: make(chan error)}
	q := newQueue(t, c, down)
	push(t, q, 0, 100)
	closeNow(t, q)
	if st := balanced(t, q); st.Spooled != 100 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	up := &memorySink{}
	q = newQueue(t, c, up)
	push(t, q, 100, 120)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	up.want(t, 0, 120)
	if st := balanced(t, q); st.Recovered != 100 || st.Accepted != 20 || st.Delivered != 120 {
		t.Errorf("%+v", st)
	}
}

// What Append has taken is delivered, also with what Push has.
func TestAppend(t *testing.T) {
	c := Config{Policy: Spool, Spool: spool.Options{Dir: t.TempDir(), MaxBytes: 2000}}
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, c, s)
	n := 0
	for ; ; n++ {
		r := newRecord(t, exchange(n))
		if err := q.Append(r.Raw); errors.Is(err, spool.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if st := balanced(t, q); st.Accepted != uint64(n) || st.SpoolFull != 0 {
		t.Errorf("%+v", st)
	}
	close(s.gate)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(t, 0, n)
}

func TestSpoolFull(t *testing.T) {
	s := &memorySink{gate: make(chan error)}
	q := newQueue(t, Config{Policy: Spool, Spool: spool.Options{Dir: t.TempDir(), MaxBytes: 1000}, BatchRecords: 1}, s)
	push(t, q, 0, 200)
	await(t, "all on disk or dropped", func() bool { return q.Stats().Queued == 0 })
	st := balanced(t, q)
	if st.SpoolFull == 0 || st.Spooled == 0 || st.SpoolBytes > 1000 {
		t.Errorf("%+v", st)
	}
	close(s.gate)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(t, 0, int(st.Spooled))
	balanced(t, q)
}

func TestPolicyText(t *testing.T) {
	for _, p := range []Policy{Block, DropOldest, Spool} {
		if got, err := ParsePolicy(p.String()); err != nil || got != p {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("policy 9"); err == nil {
		t.Error("no error")
	}
}

func BenchmarkEmit(b *testing.B) {
	q, err := NewQueue(Config{Name: "null"}, nullSink{})
	if err != nil {
		b.Fatal(err)
	}
	f := NewFanout(q)
	x := exchange(1)
	x.Request = &capstanv1.HttpRequest{Method: "GET", Target: "/", Body: &capstanv1.Body{Content: make([]byte, 1000)}}
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Emit(x); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

type nullSink struct{}

func (nullSink) Deliver(context.Context, []*Record) error { return nil }
func (nullSink) Close() error                             { return nil }

// TestQueuesAreReplaced while records come: a queue that stays, and one and its
// successor together, miss nothing, and their counters go on.
func TestQueuesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	spooled := func(s Sink) *Queue {
		return newQueue(t, Config{Name: "changes", Policy: Spool, Spool: spool.Options{Dir: dir}}, s)
	}
	stays, before, after := &memorySink{}, &memorySink{}, &memorySink{}
	kept := newQueue(t, Config{Name: "stays", MaxRecords: 100}, stays)
	f := NewFanout(kept, spooled(before))
	const records = 3000
	emitted := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() { // ends by itself
		for n := range records {
			if err := f.Emit(exchange(n)); err != nil {
				done <- err
				return
			}
			if n == 100 {
				emitted <- struct{}{}
			}
		}
		done <- nil
	}()
	<-emitted
	err := f.Replace(t.Context(), func(q *Queue) bool { return q == kept }, func() []*Queue {
		if !before.closed {
			t.Error("the successor opens before the queue is closed")
		}
		return []*Queue{spooled(after)}
	})
	if err := errors.Join(err, <-done, f.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	stays.want(t, 0, records)
	n := len(before.ids)
	if n < 100 {
		t.Errorf("%d records before", n)
	}
	before.want(t, 0, n)
	after.want(t, n, records)
	stats := f.Stats()
	if len(stats) != 2 || stats[1].Name != "changes" || stats[1].Delivered != records || !stats[1].Balanced() || stats[0].Delivered != records {
		t.Errorf("%+v", stats)
	}
}

// TestASinkThatIsStuckIsReplaced: an emitter waits for room in its queue; the
// record is dropped and counted, and goes to the others.
func TestASinkThatIsStuckIsReplaced(t *testing.T) {
	stuck := newQueue(t, Config{Name: "stuck", MaxRecords: 1}, &memorySink{gate: make(chan error)})
	healthy := &memorySink{}
	f := NewFanout(stuck, newQueue(t, Config{Name: "healthy"}, healthy))
	done := make(chan error, 1)
	go func() { // ends with the replacement
		done <- errors.Join(f.Emit(exchange(0)), f.Emit(exchange(1)), f.Emit(exchange(2)))
	}()
	await(t, "the emitter waits", func() bool { return waits(stuck) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := f.Replace(ctx, func(q *Queue) bool { return q != stuck }, func() []*Queue { return nil })
	if err := errors.Join(err, <-done, f.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	healthy.want(t, 0, 3)
	stats := f.Stats()
	// The third may still have come before the replacement.
	if len(stats) != 2 || stats[1].Name != "stuck" || stats[1].Accepted < 2 || stats[1].Dropped != stats[1].Accepted || !stats[1].Balanced() {
		t.Errorf("%+v", stats)
	}
}

// TestShed: short of memory, a queue that may drop loses the older half of what
// waits; one that blocks or spools loses nothing.
func TestShed(t *testing.T) {
	gates := []chan error{make(chan error), make(chan error), make(chan error)}
	var sinks []*memorySink
	for _, g := range gates {
		sinks = append(sinks, &memorySink{gate: g})
	}
	f := NewFanout(
		newQueue(t, Config{Name: "drop", Policy: DropOldest, BatchRecords: 1}, sinks[0]),
		newQueue(t, Config{Name: "block", BatchRecords: 1}, sinks[1]),
		newQueue(t, Config{Name: "spool", BatchRecords: 1, Policy: Spool, Spool: spool.Options{Dir: t.TempDir()}}, sinks[2]))
	emit := func(n int) {
		if err := f.Emit(exchange(n)); err != nil {
			t.Fatal(err)
		}
	}
	emit(0)
	drop := f.Queues()[0]
	await(t, "a batch under way", func() bool { drop.mem.mu.Lock(); defer drop.mem.mu.Unlock(); return drop.mem.taken == 1 })
	for n := range 10 {
		emit(n + 1)
	}
	if !f.Shed() {
		t.Error("nothing was shed")
	}
	for _, g := range gates {
		close(g)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, drop); s.Shed != 5 || s.Delivered != 6 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	if sinks[0].ids[1] != "6" {
		t.Errorf("%v", sinks[0].ids)
	}
	sinks[1].want(t, 0, 11)
	sinks[2].want(t, 0, 11)
}
