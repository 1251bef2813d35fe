package otlp

import (
	"crypto/sha256"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"

	capstanv1 "capstan/proto/capstan/v1"
)

// batch is what the requests of one batch of records are made of. Its memory is used
// again for the next: a span has some twenty attributes of three parts each.
type batch struct {
	records []view
	lists   []*commonpb.KeyValue
	keys    chunks[commonpb.KeyValue]
	values  chunks[commonpb.AnyValue]
	texts   chunks[commonpb.AnyValue_StringValue]
	numbers chunks[commonpb.AnyValue_IntValue]
	flags   chunks[commonpb.AnyValue_BoolValue]
	ids     chunks[[sha256.Size]byte]
	spans   chunks[tracepb.Span]
	key     []byte // of a point
}

// view is a record with its attributes. The first are common to its span and its
// duration.
type view struct {
	*capstanv1.Exchange
	attributes []*commonpb.KeyValue
	common     int
}

// reset makes b empty.
func (b *batch) reset() {
	if len(b.lists) > maxKept {
		*b = batch{}
	}
	clear(b.records)
	b.records, b.lists = b.records[:0], b.lists[:0]
	b.keys.reset()
	b.values.reset()
	b.texts.reset()
	b.numbers.reset()
	b.flags.reset()
	b.ids.reset()
	b.spans.reset()
}

// maxKept is with how many attributes a batch keeps its memory: some 10 MB.
const maxKept = 64 << 10

// add adds a record; whole says that its span is wanted.
func (b *batch) add(x *capstanv1.Exchange, whole bool) *view {
	l := list{batch: b, from: len(b.lists)}
	l.common(x)
	common := len(l.all())
	if whole {
		l.others(x)
	}
	b.records = append(b.records, view{x, l.all(), common})
	return &b.records[len(b.records)-1]
}

// list builds the attributes of a record. Empty texts are left out.
type list struct {
	batch *batch
	from  int // in its lists
}

func (l list) all() []*commonpb.KeyValue {
	return l.batch.lists[l.from:len(l.batch.lists):len(l.batch.lists)]
}

// value adds an attribute and returns where its value goes.
func (l list) value(key string) *commonpb.AnyValue {
	k, v := l.batch.keys.next(), l.batch.values.next()
	k.Key, k.Value = key, v
	l.batch.lists = append(l.batch.lists, k)
	return v
}

func (l list) text(key, value string) {
	if value != "" {
		t := l.batch.texts.next()
		t.StringValue = clean(value)
		l.value(key).Value = t
	}
}

func (l list) number(key string, value int64) {
	n := l.batch.numbers.next()
	n.IntValue = value
	l.value(key).Value = n
}

func (l list) flag(key string, value bool) {
	f := l.batch.flags.next()
	f.BoolValue = value
	l.value(key).Value = f
}

// chunks are values that are handed out one by one, and all taken back at once.
type chunks[T any] struct {
	all  [][]T
	used int // in the last one of these that is in use
	at   int // the number of that
}

const chunkLen = 256

// next returns one; it may have been used before.
func (c *chunks[T]) next() *T {
	if c.used == chunkLen {
		c.at, c.used = c.at+1, 0
	}
	if c.at == len(c.all) {
		c.all = append(c.all, make([]T, chunkLen))
	}
	v := &c.all[c.at][c.used]
	c.used++
	return v
}

func (c *chunks[T]) reset() { c.at, c.used = 0, 0 }
