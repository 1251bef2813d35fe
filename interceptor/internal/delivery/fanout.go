package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	capstanv1 "capstan/proto/capstan/v1"
)

// Fanout hands every record to all its queues.
type Fanout struct{ queues []*Queue }

// NewFanout returns a fanout to queues, which it closes in the end.
func NewFanout(queues ...*Queue) *Fanout { return &Fanout{queues: queues} }

// Emit encodes x and hands it to the queues. It waits as their policies demand.
// x is the caller's again afterwards. Any goroutine may call it.
func (f *Fanout) Emit(x *capstanv1.Exchange) error {
	raw, err := f.Append(nil, x)
	if err == nil {
		f.push(raw)
	}
	return err
}

// Append appends the encoded x for Push, or nothing if there is no queue.
func (f *Fanout) Append(dst []byte, x *capstanv1.Exchange) ([]byte, error) {
	if len(f.queues) == 0 {
		return dst, nil
	}
	return appendRecord(dst, x)
}

// Push hands the queues what Append has appended, which it copies. It waits as
// their policies demand. Any goroutine may call it.
func (f *Fanout) Push(raw []byte) {
	if len(f.queues) > 0 {
		f.push(bytes.Clone(raw))
	}
}

func (f *Fanout) push(raw []byte) {
	r := &Record{Raw: raw}
	for _, q := range f.queues {
		q.Push(r)
	}
}

// Queues returns the queues; the slice is the fanout's.
func (f *Fanout) Queues() []*Queue { return f.queues }

// Close closes the queues at the same time, which have until ctx ends.
func (f *Fanout) Close(ctx context.Context) error {
	errs := make([]error, len(f.queues))
	var wg sync.WaitGroup
	for i, q := range f.queues {
		wg.Go(func() {
			if err := q.Close(ctx); err != nil {
				errs[i] = fmt.Errorf("sink %s: %w", q.Name(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
