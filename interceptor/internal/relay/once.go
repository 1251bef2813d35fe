package relay

import (
	"context"
	"errors"
	"hash/maphash"

	"capstan/interceptor/internal/delivery"
)

// once leaves out records that come again, as far as it remembers their ids. It
// implements delivery.Sink.
type once struct {
	sink delivery.Sink
	seed maphash.Seed

	seen map[uint64]struct{}
	ring []uint64 // of what is in seen, oldest at next when it is full
	next int
	size int
}

// newOnce returns one in front of sink that remembers so many ids; with none sink itself.
func newOnce(sink delivery.Sink, size int) delivery.Sink {
	if size <= 0 {
		return sink
	}
	return &once{sink: sink, seed: maphash.MakeSeed(), seen: make(map[uint64]struct{}), size: size}
}

// Deliver implements delivery.Sink. Ids are remembered once they are delivered.
func (o *once) Deliver(ctx context.Context, batch []*delivery.Record) error {
	fresh := make([]*delivery.Record, 0, len(batch))
	sums := make([]uint64, 0, len(batch))
	inBatch := make(map[uint64]struct{}, len(batch))
	for _, r := range batch {
		x, err := r.Exchange()
		if err != nil || x.GetId() == "" {
			fresh = append(fresh, r) // for the sink to judge
			continue
		}
		sum := maphash.String(o.seed, x.GetId())
		_, before := o.seen[sum]
		_, here := inBatch[sum]
		if before || here {
			continue
		}
		inBatch[sum] = struct{}{}
		fresh, sums = append(fresh, r), append(sums, sum)
	}
	err := o.sink.Deliver(ctx, fresh)
	var reject *delivery.RejectError
	if err == nil || errors.As(err, &reject) {
		for _, s := range sums {
			o.remember(s)
		}
	}
	return err
}

func (o *once) remember(sum uint64) {
	if len(o.ring) < o.size {
		o.ring = append(o.ring, sum)
	} else {
		delete(o.seen, o.ring[o.next])
		o.ring[o.next] = sum
		o.next = (o.next + 1) % o.size
	}
	o.seen[sum] = struct{}{}
}

// Close implements delivery.Sink.
func (o *once) Close() error { return o.sink.Close() }
