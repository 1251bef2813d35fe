package engine

import "cmp"

// batch is records of a share, in order. Mostly it is all of them.
type batch struct {
	records []record
	encoded []byte // of the records
}

// recordLen is what a record takes besides what is encoded, which may be next to nothing.
const recordLen = 32

// size is how many bytes of memory the records take.
func (p *batch) size() int { return len(p.encoded) + len(p.records)*recordLen }

// record is an exchange with its place in the order of all: the instant of the
// packet that completed it; where time did so, then that at which its
// connection came.
type record struct {
	instant, turn uint64
	from, to      int // in the batch's encoded
}

func (r *record) compare(o *record) int {
	return cmp.Or(cmp.Compare(r.instant, o.instant), cmp.Compare(r.turn, o.turn))
}

// reset makes a batch ready for the next use. It keeps about as much room as a batch of
// most bytes takes.
func (p *batch) reset(most int) {
	if cap(p.encoded)+cap(p.records)*recordLen > 2*most {
		*p = batch{}
	}
	p.records, p.encoded = p.records[:0], p.encoded[:0]
}

// cursor is how far the merger is with a share.
type cursor struct {
	batch
	next    int
	further <-chan batch
}

// record returns the next record, for which it may have to wait; nil if there is none.
func (c *cursor) record() *record {
	for c.next == len(c.records) {
		if c.further == nil {
			return nil
		}
		p, ok := <-c.further
		if !ok {
			c.further = nil
		}
		c.batch, c.next = p, 0
	}
	return &c.records[c.next]
}

// merge hands out the records of one round after the other.
func (r *rounds) merge() {
	cursors := make([]cursor, len(r.shards))
	for d := range r.started {
		d.work.Wait()
		for i := range d.shares {
			cursors[i] = cursor{batch: d.shares[i].batch, further: d.shares[i].further}
		}
		for c := earliest(cursors); c != nil; c = earliest(cursors) {
			x := &c.records[c.next]
			r.write(c.encoded[x.from:x.to])
			c.next++
		}
		clear(cursors)
		for i := range d.chunks {
			r.found.add(&d.chunks[i])
		}
		d.front.decoded = r.found
		r.publish(d.front, d.counts...)
		if d.drained && r.drained != nil {
			r.drained()
		}
		r.end(d)
	}
}

// earliest returns the cursor at the earliest record; nil if there is no record.
func earliest(cursors []cursor) (c *cursor) {
	var first *record
	for i := range cursors {
		if x := cursors[i].record(); x != nil && (first == nil || x.compare(first) < 0) {
			first, c = x, &cursors[i]
		}
	}
	return c
}
