package terminal

import (
	"context"
	"sync"

	capstanv1 "capstan/proto/capstan/v1"
)

// maxPending is how many events wait for the screen. With more, the stream
// waits, and the interceptor tells what it had to leave out.
const maxPending = 1000

// update is what a feed has to tell since it was asked last.
type update struct {
	records         []*capstanv1.Exchange
	skipped, failed uint64
	failReason      string
	problem         string // why nothing comes; empty when something does
	refused         error  // why nothing will, with this filter
}

// feed follows records for a screen, which asks for them when it draws.
type feed struct {
	ctx    context.Context
	client capstanv1.InterceptorClient
	query  Query

	mu      sync.Mutex
	room    sync.Cond // of mu
	pending update
	current int // numbers the watches; what older ones say is not heard
	stop    context.CancelFunc
	running sync.WaitGroup
}

// newFeed returns a feed that follows nothing until start.
func newFeed(ctx context.Context, c capstanv1.InterceptorClient, q Query) *feed {
	f := &feed{ctx: ctx, client: c, query: q, stop: func() {}}
	f.room.L = &f.mu
	return f
}

// start follows what a filter lets through, instead of what was followed before.
func (f *feed) start(filter string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop()
	ctx, cancel := context.WithCancel(f.ctx)
	f.current++
	f.pending = update{problem: "connecting"}
	q, n := f.query, f.current
	q.Filter = filter
	f.stop = func() { cancel(); f.current++; f.room.Broadcast() }
	f.running.Go(func() { // ended by stop
		defer cancel()
		err := follow(ctx, f.client, q, func(m *capstanv1.WatchResponse) error { f.take(n, m); return nil }, true,
			func(err error) { f.tell(n, func(u *update) { u.problem = reason(err) }) })
		f.tell(n, func(u *update) { u.refused = err })
	})
}

// close ends the feed.
func (f *feed) close() {
	f.mu.Lock()
	f.stop()
	f.mu.Unlock()
	f.running.Wait()
}

// tell changes what is pending, for watch n.
func (f *feed) tell(n int, change func(*update)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n == f.current {
		change(&f.pending)
	}
}

func (f *feed) take(n int, m *capstanv1.WatchResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n == f.current && len(f.pending.records) >= maxPending {
		f.room.Wait()
	}
	if n != f.current {
		return
	}
	f.pending.problem = ""
	f.pending.skipped += m.GetLagged().GetSkipped()
	if e := m.GetFilterFailure(); e != nil {
		f.pending.failed += e.GetRecords()
		f.pending.failReason = e.GetReason()
	}
	if x := m.GetExchange().GetExchange(); x != nil {
		f.pending.records = append(f.pending.records, x)
	}
}

// next returns what has come since the last call.
func (f *feed) next() update {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.pending
	f.pending = update{problem: u.problem, refused: u.refused}
	f.room.Broadcast()
	return u
}
