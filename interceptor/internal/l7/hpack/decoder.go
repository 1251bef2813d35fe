package hpack

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"capstan/interceptor/internal/arena"
)

// DefaultTableSize is the size of a dynamic table that no size update has
// changed (RFC 9113 §6.5.2, SETTINGS_HEADER_TABLE_SIZE).
const DefaultTableSize = 4096

// Field is one header field. Name and Value are immutable and may be kept; they
// are what was sent, which need not be UTF-8.
type Field struct {
	Name, Value string
	// The text behind a reference to an entry that was inserted unseen is not
	// known, and empty here.
	NameUnknown, ValueUnknown bool
	Form                      Form
	// Passed tells that it is in the dynamic table and has passed what [Scratch.Screen] was told.
	Passed bool
	// Doubted tells that it, or its name, is from an entry inserted when the block was
	// in doubt ([Decoder.Doubt]).
	Doubted bool
	// UTF8 tells that what is known of Name and Value is valid UTF-8.
	UTF8 bool
	// Static is the index of the first entry of the static table with this name,
	// such as [StaticPath], 0 if there is none: who looks for such a name need not
	// compare it.
	Static uint8
	// Fault tells what HTTP/2 forbids about the field; it says nothing of one whose name is
	// unknown, nor of a pseudo-header field that the static table has not.
	Fault Fault
}

// Form is how a field was sent.
type Form uint8

// The forms.
const (
	// Literal is a field of which the value, and maybe the name, was sent.
	Literal Form = iota
	// NeverIndexed is one that its sender marked as too secret for a table (RFC 7541 §7.1.3).
	NeverIndexed
	// Indexed is one of which name and value both come from a table.
	Indexed
)

// Limits bounds what a [Decoder] keeps. The zero value of a field stands for
// its default.
type Limits struct {
	// TableSize is how many bytes of a dynamic table are kept, counted as RFC
	// 7541 §4.1 does, whatever the ends agree on. Default 64 KiB.
	TableSize int
	// Fields and ListSize bound the fields returned of one block: their number
	// and the bytes of their names and values. Default 1,024 and 256 KiB.
	Fields, ListSize int
}

const (
	defaultKeep     = 64 << 10
	defaultFields   = 1024
	defaultListSize = 256 << 10
)

// WithDefaults returns l with its zero fields replaced.
func (l Limits) WithDefaults() Limits {
	if l.TableSize <= 0 {
		l.TableSize = defaultKeep
	}
	if l.Fields <= 0 {
		l.Fields = defaultFields
	}
	if l.ListSize <= 0 {
		l.ListSize = defaultListSize
	}
	return l
}

// Scratch is memory that the decoders of one goroutine share. The zero value
// is ready.
type Scratch struct {
	text    arena.Text
	decoded []byte
	cuts    uint64
	behind  []reference // of the last block, which are few

	passes   func(name, value string) bool
	screened uint16 // how often passes was set
}

// Screen sets what entries of the tables are marked by that they pass it ([Field.Passed]). It is
// asked once for each entry.
func (s *Scratch) Screen(passes func(name, value string) bool) {
	s.passes = passes
	s.screened = max(s.screened+1, 1)
}

// Screens returns how often Screen was told something, 0 if never.
func (s *Scratch) Screens() uint16 { return s.screened }

// reference is one behind the window.
type reference struct {
	field int    // its index among those that Decode appended
	depth uint32 // see Scratch.Behind
}

// Behind fills to, which has an element for each of the fields that Decode appended last: where
// the name, or both, is a reference behind the window it is which entry of those
// that the table got before the window's, from the newest, which is 1. It is 0 elsewhere, and where that
// isn't known.
func (s *Scratch) Behind(to []uint32) {
	clear(to)
	for _, r := range s.behind {
		if r.field < len(to) {
			to[r.field] = r.depth
		}
	}
}

// TakeTableCuts returns at how many insertions since the last call
// Limits.TableSize made older entries unknown.
func (s *Scratch) TakeTableCuts() uint64 {
	n := s.cuts
	s.cuts = 0
	return n
}

// Errors of Decode. After any of them the table is forgotten.
var (
	ErrTruncated  = errors.New("header block ends inside a field")
	ErrInteger    = errors.New("integer is too large")
	ErrHuffman    = errors.New("string breaks the Huffman code")
	ErrSizeUpdate = errors.New("table size update behind a field")
)

// IndexError is a reference to an entry that no table can have.
type IndexError uint64

func (e IndexError) Error() string { return fmt.Sprintf("no entry has index %d", uint64(e)) }

// Decoder is the state of one direction of a connection. The zero value is that
// of a connection joined late; see [Decoder.Start].
type Decoder struct {
	table table
	text  arena.Text // of the table's entries, which leave it in the order they came
}

// How much text of entries is allocated at once: little, since a connection may
// have but a few entries for a long time.
const (
	minEntryChunk = 64
	maxEntryChunk = 256
)

// Start sets the state at the start of a connection: an empty table of
// [DefaultTableSize].
func (d *Decoder) Start() {
	d.table = table{max: DefaultTableSize, maxKnown: true, whole: true, doubt: d.table.doubt, unsteady: d.table.unsteady}
}

// Forget tells that a block was lost, or part of one. What is in the table, and
// how large it may be, is not known from here on.
func (d *Decoder) Forget() { d.table.forget() }

// Limit tells that the receiver asks for a table of at most size bytes (RFC 9113 §6.5.2).
func (d *Decoder) Limit(size uint32) { d.table.limit(size) }

// Steady reports whether no entry has left the table, or may have, for another reason than
// that others came: whether nothing has made it smaller, or asked for that, since the first
// came in. If that isn't known it returns false.
func (d *Decoder) Steady() bool { return !d.table.unsteady }

// Distrust makes Steady false from here on.
func (d *Decoder) Distrust() { d.table.unsteady = true }

// Growth returns how many bytes the table got, as entries count (RFC 7541 §4.1), for each byte of
// the header blocks that were decoded.
func (d *Decoder) Growth() float64 { return float64(d.table.came) / float64(max(d.table.read, 1)) }

// Window is what a [Decoder] knew of the table at some moment.
type Window struct{ table table }

// Window returns what is known. It is to be taken before [Decoder.Forget], and given back
// to [Decoder.Follow] once at the most.
func (d *Decoder) Window() Window { return Window{d.table} }

// Follow tells that no block was lost where [Decoder.Forget] was told so: what was known
// before holds, too. doubted tells that this is in doubt, as [Decoder.Doubt] does of blocks.
func (d *Decoder) Follow(before Window, doubted bool, limits Limits) {
	d.table.follow(before.table, 0, doubted, uint64(limits.WithDefaults().TableSize))
}

// Len returns the number of known entries.
func (w *Window) Len() int { return int(w.table.n) }

// Size returns how many bytes the entries count for, at the least.
func (w *Window) Size() int64 { return int64(w.table.size) }

// Entry returns the i-th newest entry, from 0, which is not to be changed.
func (w *Window) Entry(i int) *Field { return w.table.at(i) }

// maxCompared bounds the entries that Doubles compares.
const maxCompared = 128

// Doubles reports whether two of the newest entries are the same: its encoder does not look
// for what the table has.
func (w *Window) Doubles() bool {
	n := min(int(w.table.n), maxCompared)
	for i := range n {
		a := w.table.at(i)
		for j := range i {
			if b := w.table.at(j); a.Value == b.Value && a.Name == b.Name && !a.NameUnknown && !b.NameUnknown && !a.ValueUnknown && !b.ValueUnknown {
				return true
			}
		}
	}
	return false
}

// unknownSize is what the unknown text of an entry is reckoned to count for.
const unknownSize = 64

// Room returns how many bytes may have come into the table since without evicting entry i,
// as entries count (RFC 7541 §4.1), if the table has the size that it had, or more: of one that
// was joined late no more is known than what it had room for. It is less than 0 if that was too little.
func (w *Window) Room(i int) int64 {
	size := int64(w.table.max)
	for ; i >= 0; i-- {
		e := w.table.at(i)
		size -= int64(entrySize(e))
		if e.NameUnknown || e.ValueUnknown {
			size -= unknownSize
		}
	}
	return size
}

// Resolve returns what f, decoded after a loss, is if w was known before it and unseen
// insertions were lost: f itself, if it refers to one of those or to what is behind w.
// behind is what [Scratch.Behind] tells of f. ok is false if it refers to what no table can have.
func (w *Window) Resolve(f *Field, behind uint32, unseen int) (r Field, ok bool) {
	r = *f
	i := int(behind) - 1 - unseen
	switch {
	case behind == 0 || i < 0:
		return r, true
	case i >= int(w.table.n):
		return r, !w.table.whole
	}
	e := w.table.at(i)
	if f.ValueUnknown {
		r = *e
	} else {
		r.Name, r.NameUnknown, r.Static = e.Name, e.NameUnknown, e.Static
		r.UTF8 = r.UTF8 && utf8.ValidString(e.Name)
		r.Doubted = r.Doubted || e.Doubted
		r.judge()
	}
	return r, true
}

// Recall tells that before was known when blocks were lost, and that they brought unseen
// insertions into the table, which is in doubt: what comes of it is marked as
// [Decoder.Doubt] does. fields, just decoded, are completed; behind is of them.
func (d *Decoder) Recall(before Window, unseen int, fields []Field, behind []uint32, limits Limits) {
	for i := range fields {
		if f, ok := before.Resolve(&fields[i], behind[i], unseen); ok && behind[i] > 0 {
			fields[i] = f
			fields[i].Doubted, fields[i].Passed = f.Doubted || !f.NameUnknown, false
		}
	}
	d.table.follow(before.table, unseen, true, uint64(limits.WithDefaults().TableSize))
	d.table.recalled = true
}

// Recalled reports whether the table may have entries by Recall.
func (d *Decoder) Recalled() bool { return d.table.recalled }

// Doubt tells whether the blocks that follow are in doubt: whether they are what the
// sender sent. What they insert is marked, wherever it is referred to.
func (d *Decoder) Doubt(on bool) { d.table.doubt = on }

// Len returns the number of known entries.
func (d *Decoder) Len() int { return int(d.table.n) }

// Size returns how many bytes they count for, at the least.
func (d *Decoder) Size() int64 { return int64(d.table.size) }

// Decode appends the fields of block, which is whole, to dst. cut tells that
// there were more than limits allow; the table is right in that case too. On an
// error the fields are not to be believed, and everything known is forgotten.
func (d *Decoder) Decode(dst []Field, data []byte, limits Limits, scratch *Scratch) (fields []Field, cut bool, err error) {
	limits = limits.WithDefaults()
	d.text.ChunkLen = int(min(max(d.table.size/2, minEntryChunk), maxEntryChunk))
	b := block{d: d, limits: limits, scratch: scratch, rest: data, fields: dst, left: limits.ListSize, first: true}
	b.limits.Fields += len(dst)
	d.table.count(len(data))
	if d.table.screened != scratch.screened {
		d.table.screen(scratch)
	}
	b.from, scratch.behind = len(dst), scratch.behind[:0]
	for len(b.rest) > 0 {
		if err := b.next(); err != nil {
			d.Forget()
			return b.fields, b.cut, err
		}
	}
	return b.fields, b.cut, nil
}
