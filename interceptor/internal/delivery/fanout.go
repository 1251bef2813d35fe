package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

// Fanout hands every record to all its taps and queues, which may be replaced
// while records come.
type Fanout struct {
	taps      []Tap
	current   atomic.Pointer[generation]
	forms     atomic.Pointer[[]*Form] // that were ever wanted; written by one Replace at a time
	replacing sync.Mutex              // one Replace at a time
	awaited   atomic.Int64            // ns that emitters have waited for one

	// leaning is held for each lean record from Append to Push, whichever goroutines these
	// are, and alone by Replace.
	leaning sync.RWMutex

	mu sync.Mutex
	// Guarded by mu: queues that are closed or being closed, and the counters
	// of those that nobody pushes to any more, by name.
	closing []*Queue
	closed  map[string]Stats
	hurried bool // the end has begun
}

// Tap takes records without waiting. Any goroutine may call its methods.
type Tap interface {
	// Wants is asked before a record is encoded that no queue takes, or that all take
	// in forms of their own.
	Wants() bool
	// Push takes a record, which nobody may have asked about.
	Push(*Record)
	// Pass tells of a record that is not pushed, since nobody wants it.
	Pass()
}

// generation is the queues between two replacements.
type generation struct {
	queues []*Queue
	forms  []*Form      // that these want
	lean   bool         // none of them wants anything else
	using  sync.RWMutex // held by emitters while they push
	over   bool         // guarded by using
	next   chan struct{}
}

// NewFanout returns a fanout to queues, which it closes in the end.
func NewFanout(queues ...*Queue) *Fanout {
	f := &Fanout{closed: map[string]Stats{}}
	f.forms.Store(new([]*Form))
	f.start(queues)
	return f
}

// start makes queues the current generation.
func (f *Fanout) start(queues []*Queue) {
	g := &generation{queues: queues, forms: formsOf(queues), lean: !slices.ContainsFunc(queues, (*Queue).wantsRaw), next: make(chan struct{})}
	known := slices.Clone(*f.forms.Load())
	for _, form := range g.forms {
		if !slices.Contains(known, form) {
			known = append(known, form)
		}
	}
	f.forms.Store(&known) // before it is used
	f.current.Store(g)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hurried {
		g.hurry()
	}
}

// Emit encodes x and hands it to the queues. It waits as their policies demand,
// and while queues are replaced. x is the caller's again afterwards. Any
// goroutine may call it.
func (f *Fanout) Emit(x *capstanv1.Exchange) error {
	g := f.current.Load()
	if g.lean && !f.isTapped() { // no queue at all is lean, too
		f.pass()
		return f.emitLean(g, x)
	}
	s := slabs.Get().(*slab)
	r, err := s.encode(x, g.forms)
	slabs.Put(s)
	if err != nil {
		return err
	}
	f.push(r)
	return nil
}

// emitLean hands x to the queues in their forms alone. Queues that have come
// meanwhile may want others.
func (f *Fanout) emitLean(g *generation, x *capstanv1.Exchange) error {
	for len(g.queues) > 0 {
		r, err := g.encode(x)
		if err != nil {
			return err
		}
		if g.push(r) {
			return nil
		}
		f.await(g)
		g = f.current.Load()
	}
	return nil
}

// encode returns x as the queues want it.
func (g *generation) encode(x *capstanv1.Exchange) (*Record, error) {
	s := slabs.Get().(*slab)
	defer slabs.Put(s)
	if g.lean {
		return s.lean(x, g.forms), nil
	}
	return s.encode(x, g.forms)
}

func (f *Fanout) isWanted() bool {
	return len(f.Queues()) > 0 || f.isTapped()
}

func (f *Fanout) isTapped() bool { return slices.ContainsFunc(f.taps, Tap.Wants) }

func (f *Fanout) pass() {
	for _, t := range f.taps {
		t.Pass()
	}
}

// Append appends x as Push takes it: nothing if nobody wants it. Push has to be called
// for all that was appended: Replace waits for it. Any goroutine may call Append.
func (f *Fanout) Append(dst []byte, x *capstanv1.Exchange) ([]byte, error) {
	if !f.isWanted() {
		return dst, nil
	}
	if g := f.lean(); g != nil {
		return appendTexts(appendLean(dst), x, g.forms, *f.forms.Load()), nil
	}
	return appendBundle(dst, x, f.current.Load().forms, *f.forms.Load())
}

// lean returns the current generation if it wants nothing but forms, nor does anybody
// else. It stays the current one until Push has the record.
func (f *Fanout) lean() *generation {
	if !f.current.Load().lean || f.isTapped() || !f.leaning.TryRLock() {
		return nil
	}
	if g := f.current.Load(); g.lean {
		return g
	}
	f.leaning.RUnlock()
	return nil
}

// Push hands on what Append has appended, which it copies. It waits as
// Emit does. Any goroutine may call it.
func (f *Fanout) Push(bundle []byte) {
	if len(bundle) == 0 {
		f.pass()
		return
	}
	s := slabs.Get().(*slab)
	r := s.unbundle(bundle, *f.forms.Load())
	slabs.Put(s)
	if !r.lean {
		f.push(r)
		return
	}
	f.pass()
	f.queue(r)
	f.leaning.RUnlock()
}

func (f *Fanout) push(r *Record) {
	for _, t := range f.taps {
		t.Push(r)
	}
	f.queue(r)
}

// queue puts r into all queues.
func (f *Fanout) queue(r *Record) {
	for g := f.current.Load(); !g.push(r); g = f.current.Load() {
		f.await(g)
	}
}

// await waits for the generation after g.
func (f *Fanout) await(g *generation) {
	from := time.Now()
	<-g.next
	f.awaited.Add(int64(time.Since(from)))
}

// Replacing is how long emitters have waited while queues were replaced, summed up.
func (f *Fanout) Replacing() time.Duration { return time.Duration(f.awaited.Load()) }

// push reports false if the generation was over before it began.
func (g *generation) push(r *Record) bool {
	g.using.RLock()
	defer g.using.RUnlock()
	if g.over {
		return false
	}
	r.users.Store(int32(len(g.queues)))
	for _, q := range g.queues {
		if r.lean && q.wantsRaw() {
			q.mem.refuse(r) // Replace could not wait for those before it
			continue
		}
		q.Push(r)
	}
	return true
}

// end keeps emitters from pushing and returns a channel that is closed when
// none does any more. One that waits for room in a queue does so until it has
// room or is closed.
func (g *generation) end() <-chan struct{} {
	ended := make(chan struct{})
	go func() { // ends with the last emitter
		g.using.Lock()
		g.over = true
		g.using.Unlock()
		close(ended)
	}()
	return ended
}

// Replace closes the queues that keep doesn't want, which have until ctx ends,
// and adds those that open returns. Emitters wait meanwhile, so that a queue
// and its successor together miss nothing. The error is of closing.
func (f *Fanout) Replace(ctx context.Context, keep func(*Queue) bool, open func() []*Queue) error {
	f.replacing.Lock()
	defer f.replacing.Unlock()
	old := f.current.Load()
	var kept, gone []*Queue
	for _, q := range old.queues {
		if keep(q) {
			kept = append(kept, q)
		} else {
			gone = append(gone, q)
		}
	}
	defer f.wholeAgain(ctx)()
	ended := old.end()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	f.mu.Lock()
	f.closing = append(f.closing, gone...)
	f.mu.Unlock()
	err := closeAll(ctx, gone)
	f.start(append(kept, open()...))
	close(old.next)
	select {
	case <-ended:
		f.settle(gone)
	default: // their counters may change yet
	}
	return err
}

// wholeAgain has Append encode records in full, since other queues may want that, and
// waits for those that are on their way as lean ones, until ctx ends; both up to the call
// of resume.
func (f *Fanout) wholeAgain(ctx context.Context) (resume func()) {
	over := make(chan struct{})
	go func() { // ends with the last lean record
		f.leaning.Lock()
		close(over)
	}()
	select {
	case <-over:
		return f.leaning.Unlock
	case <-ctx.Done():
		return func() {
			go func() { // likewise
				<-over
				f.leaning.Unlock()
			}()
		}
	}
}

// settle keeps only the counters of closed queues.
func (f *Fanout) settle(gone []*Queue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closing = f.closing[:len(f.closing)-len(gone)] // they are the last ones
	for _, q := range gone {
		f.closed[q.Name()] = f.closed[q.Name()].followedBy(q.Stats())
	}
}

// Tap adds t. It must not be called while Emit may be.
func (f *Fanout) Tap(t Tap) { f.taps = append(f.taps, t) }

// Queues returns the queues; the slice is the fanout's.
func (f *Fanout) Queues() []*Queue { return f.current.Load().queues }

// SinkStats is the counters of all queues of one name.
type SinkStats struct {
	Name string
	Stats
}

// Stats returns the counters of the sinks there are, in order, then of those
// there were.
func (f *Fanout) Stats() []SinkStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := make(map[string]Stats, len(f.closed))
	for name, s := range f.closed {
		before[name] = s
	}
	for _, q := range f.closing {
		before[q.Name()] = before[q.Name()].followedBy(q.Stats())
	}
	var all []SinkStats
	for _, q := range f.Queues() {
		all = append(all, SinkStats{q.Name(), before[q.Name()].followedBy(q.Stats())})
		delete(before, q.Name())
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		all = append(all, SinkStats{name, before[name]})
	}
	return all
}

// Shed gives memory back: of queues with the policy DropOldest the older half of
// what waits, counted as Shed. The policy Block makes engines wait, so that such a
// queue grows no further than its bound; with Spool records are on their way to
// disk. It reports whether anything was given back.
func (f *Fanout) Shed() (some bool) {
	for _, q := range f.Queues() {
		some = q.mem.shed() || some
	}
	return some
}

// Hurry keeps emitters from waiting for queues that are full from now on, also
// those that Replace opens: what has no room is dropped and counted as undelivered.
// It is for the end, before Close, where engines have to end first. Any goroutine may
// call it.
func (f *Fanout) Hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hurried = true
	f.current.Load().hurry()
}

func (g *generation) hurry() {
	for _, q := range g.queues {
		q.mem.hurry()
	}
}

// Close closes the queues at the same time, which have until ctx ends. Their
// counters stay.
func (f *Fanout) Close(ctx context.Context) error { return closeAll(ctx, f.Queues()) }

func closeAll(ctx context.Context, queues []*Queue) error {
	errs := make([]error, len(queues))
	var wg sync.WaitGroup
	for i, q := range queues {
		wg.Go(func() {
			if err := q.Close(ctx); err != nil {
				errs[i] = fmt.Errorf("sink %s: %w", q.Name(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
