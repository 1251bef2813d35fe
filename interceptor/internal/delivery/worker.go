package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"capstan/interceptor/internal/spool"
)

// Queue brings the records that it accepts to one sink.
type Queue struct {
	cfg  Config
	sink Sink // nil until it is open
	mem  *memory
	disk atomic.Pointer[spool.Spool] // nil without the policy Spool, or until it is open

	ctx    context.Context // ends when delivery has to stop at once
	cancel context.CancelFunc
	work   sync.WaitGroup

	// settling is held while records move from one counter to another, so that
	// Stats sees each once.
	settling sync.Mutex
	// Guarded by settling.
	delivered, rejected, spoolFull, undelivered uint64

	// appending is held by Append, and alone by Stats.
	appending sync.RWMutex
	appended  atomic.Uint64

	cutter  atomic.Pointer[Cutter] // the sink, if it is one
	opening atomic.Bool            // an [OpenQueue] still tries
	retries atomic.Uint64
	problem atomic.Pointer[string] // of the sink that fails; nil if it doesn't
}

// NewQueue starts a queue in front of sink, which it closes in the end.
func NewQueue(c Config, sink Sink) (*Queue, error) {
	q := unstarted(c)
	q.use(sink)
	if err := q.openSpool(); err != nil {
		return nil, fmt.Errorf("sink %s: %w", q.cfg.Name, err)
	}
	q.start(func() bool { return true })
	return q, nil
}

func unstarted(c Config) *Queue {
	c = c.withDefaults()
	q := &Queue{cfg: c, mem: newMemory(c)}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// use takes the sink, which is open.
func (q *Queue) use(sink Sink) {
	q.sink = sink
	if c, ok := sink.(Cutter); ok {
		q.cutter.Store(&c)
	}
}

func (q *Queue) openSpool() error {
	if q.cfg.Policy != Spool || q.disk.Load() != nil {
		return nil
	}
	d, err := spool.Open(q.cfg.Spool)
	if err != nil {
		return err
	}
	if n := d.Stats().TruncatedBytes; n > 0 {
		q.cfg.Log.Warn("the spool's end was not whole and is removed", "sink", q.cfg.Name, "bytes", n)
	}
	q.disk.Store(d)
	return nil
}

// start starts the workers. Delivery begins once opened has returned true, and
// never if it returns false.
func (q *Queue) start(opened func() bool) {
	if q.cfg.Policy != Spool {
		q.work.Go(func() { // ended by Close
			if opened() {
				q.deliverMemory()
			}
		})
		return
	}
	spooled := make(chan struct{})
	q.work.Go(func() { // ended by Close
		defer close(spooled)
		q.spool()
	})
	q.work.Go(func() { // ended by Close
		if opened() {
			q.deliverSpool(spooled)
		}
	})
}

// Name returns the sink's name.
func (q *Queue) Name() string { return q.cfg.Name }

// wantsRaw reports whether a form alone is not enough.
func (q *Queue) wantsRaw() bool {
	return !q.cfg.FormAlone || q.cfg.Form == nil || q.cfg.Policy == Spool
}

// Push takes a record. Any goroutine may call it.
func (q *Queue) Push(r *Record) { q.mem.push(r) }

// Append puts encoded records, in order, on disk and returns when they are safe
// there. It is for queues of NewQueue with the policy Spool, and for those who must not lose
// what they have taken: all records are accepted, or none and the error tells
// why, [spool.ErrFull] perhaps. Any goroutine may call it, until Close.
func (q *Queue) Append(raw ...[]byte) error {
	q.appending.RLock() // shared: callers share a write
	defer q.appending.RUnlock()
	if err := q.disk.Load().Append(raw...); err != nil {
		return err
	}
	q.appended.Add(uint64(len(raw)))
	return nil
}

// Close stops accepting, delivers what is queued until ctx ends, and closes the
// sink. With the policy Spool, what is not delivered stays on disk; otherwise it
// is dropped and counted. The error is the sink's.
func (q *Queue) Close(ctx context.Context) error {
	if q.opening.Load() {
		q.cancel() // whatever keeps it from being opened, has had its time
	}
	q.mem.close()
	stop := context.AfterFunc(ctx, q.cancel)
	q.work.Wait()
	stop()
	q.cancel()
	q.mem.drop()
	var err error
	if q.sink != nil {
		err = q.sink.Close()
	}
	if d := q.disk.Load(); d != nil {
		err = errors.Join(err, d.Close())
	}
	return err
}

// deliverMemory is the worker of a queue without a spool.
func (q *Queue) deliverMemory() {
	batch := make([]*Record, 0, q.cfg.BatchRecords)
	for {
		batch = q.mem.take(q.ctx, batch[:0], q.cfg.BatchRecords, batchBytes)
		if len(batch) == 0 {
			return
		}
		rejected, ok := q.deliver(batch)
		q.settle(batch, func() {
			if ok {
				q.delivered += uint64(len(batch)) - rejected
				q.rejected += rejected
			} else {
				q.undelivered += uint64(len(batch))
			}
		})
		clear(batch)
	}
}

// settle takes batch out of the memory, and counts it by count.
func (q *Queue) settle(batch []*Record, count func()) {
	q.settling.Lock()
	defer q.settling.Unlock()
	q.mem.done(batch)
	count()
}

// deliver hands batch to the sink until it takes it, or delivery has to stop.
func (q *Queue) deliver(batch []*Record) (rejected uint64, ok bool) {
	pause := q.cfg.RetryMin
	for {
		err := q.sink.Deliver(q.ctx, batch)
		var reject *RejectError
		if err == nil || errors.As(err, &reject) {
			if reject != nil {
				rejected = uint64(min(max(reject.Rejected, 0), len(batch)))
				q.cfg.Log.Warn("records rejected", "sink", q.cfg.Name, "records", rejected, "err", reject.Err)
			}
			q.works()
			return rejected, true
		}
		if q.ctx.Err() != nil {
			return 0, false
		}
		q.fails(err)
		q.retries.Add(1)
		if !q.sleep(pause) {
			return 0, false
		}
		pause = min(2*pause, q.cfg.RetryMax)
	}
}

// fails notes why the sink takes no records.
func (q *Queue) fails(err error) {
	problem := err.Error()
	if q.problem.Swap(&problem) == nil {
		q.cfg.Log.Warn("sink fails", "sink", q.cfg.Name, "err", err)
	}
}

func (q *Queue) works() {
	if q.problem.Swap(nil) != nil {
		q.cfg.Log.Info("sink works again", "sink", q.cfg.Name)
	}
}

// sleep pauses, and reports whether delivery goes on.
func (q *Queue) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.ctx.Done():
		return false
	}
}

// spool moves records from memory to disk.
func (q *Queue) spool() {
	batch := make([]*Record, 0, q.cfg.BatchRecords)
	raw := make([][]byte, 0, q.cfg.BatchRecords)
	wasFull := false
	for {
		// Not q.ctx: what was accepted goes to disk, also when delivery stops.
		batch = q.mem.take(context.Background(), batch[:0], q.cfg.BatchRecords, batchBytes)
		if len(batch) == 0 {
			return
		}
		raw = raw[:0]
		for _, r := range batch {
			raw = append(raw, r.Raw)
		}
		q.settling.Lock()
		err := errNotOpen
		if d := q.disk.Load(); d != nil {
			err = d.Append(raw...)
		}
		if err != nil {
			q.spoolFull += uint64(len(batch))
		}
		q.mem.done(batch)
		q.settling.Unlock()
		if full := err != nil; full != wasFull {
			wasFull = full
			if full {
				q.cfg.Log.Error("records dropped: the spool takes no more", "sink", q.cfg.Name, "err", err)
			} else {
				q.cfg.Log.Info("spool takes records again", "sink", q.cfg.Name)
			}
		}
		clear(batch)
	}
}

// deliverSpool is the worker of a queue with a spool. It ends when nothing is
// on disk after spooled has been closed, or delivery has to stop.
func (q *Queue) deliverSpool(spooled <-chan struct{}) {
	waiting, stopWaiting := context.WithCancel(q.ctx)
	defer stopWaiting()
	q.work.Go(func() { // ends with spooled or the queue
		select {
		case <-spooled:
			stopWaiting()
		case <-q.ctx.Done():
		}
	})
	disk := q.disk.Load()
	batch := make([]*Record, 0, q.cfg.BatchRecords)
	for {
		raw, err := disk.Next(waiting, q.cfg.BatchRecords, batchBytes)
		switch {
		case errors.Is(err, context.Canceled):
			return
		case err != nil:
			q.cfg.Log.Error("spool can't be read", "sink", q.cfg.Name, "err", err)
			if !q.sleep(q.cfg.RetryMax) {
				return
			}
			continue
		}
		batch = batch[:0]
		for _, b := range raw {
			batch = append(batch, &Record{Raw: b})
		}
		rejected, ok := q.deliver(batch)
		if !ok {
			return
		}
		q.acknowledge(len(batch), rejected)
	}
}

func (q *Queue) acknowledge(n int, rejected uint64) {
	q.settling.Lock()
	defer q.settling.Unlock()
	if err := q.disk.Load().Ack(n); err != nil { // they are delivered again after a restart
		q.cfg.Log.Warn("spool", "sink", q.cfg.Name, slog.Any("err", err))
	}
	q.delivered += uint64(n) - rejected
	q.rejected += rejected
}

// Stats returns the counters, and what bounds the queue.
func (q *Queue) Stats() Stats {
	q.appending.Lock()
	defer q.appending.Unlock()
	q.settling.Lock()
	defer q.settling.Unlock()
	s := q.mem.snapshot()
	s.Delivered, s.Rejected, s.SpoolFull = q.delivered, q.rejected, q.spoolFull
	s.Dropped += q.undelivered
	s.Undelivered += q.undelivered
	s.Accepted += q.appended.Load()
	s.Retries = q.retries.Load()
	if c := q.cutter.Load(); c != nil {
		s.Cut = (*c).Cut()
	}
	if problem := q.problem.Load(); problem != nil {
		s.Failing, s.Problem = true, *problem
	}
	s.Kind, s.Policy, s.MaxRecords, s.MaxBytes = q.cfg.Kind, q.cfg.Policy, q.cfg.MaxRecords, q.cfg.MaxBytes
	if q.cfg.Policy == Spool {
		s.MaxSpoolBytes = q.cfg.Spool.MaxBytes
	}
	if disk := q.disk.Load(); disk != nil {
		d := disk.Stats()
		s.Recovered, s.Spooled, s.SpoolLost, s.SpoolBytes = d.Recovered, d.Pending, d.Lost, d.Bytes
	}
	return s
}
