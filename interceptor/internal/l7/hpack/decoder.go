package hpack

import (
	"errors"
	"fmt"

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
	// NeverIndexed tells that its sender marked the field as too secret for a
	// table (RFC 7541 §7.1.3).
	NeverIndexed bool
	// Indexed tells that name and value both come from a table.
	Indexed bool
}

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

// entryChunk is how much text of entries is allocated at once: little, since a
// connection may have but a few entries for a long time.
const entryChunk = 256

// Start sets the state at the start of a connection: an empty table of
// [DefaultTableSize].
func (d *Decoder) Start() {
	d.table = table{max: DefaultTableSize, maxKnown: true, whole: true}
}

// Forget tells that a block was lost, or part of one. What is in the table, and
// how large it may be, is not known from here on.
func (d *Decoder) Forget() { d.table.forget() }

// Len returns the number of known entries.
func (d *Decoder) Len() int { return d.table.n }

// maxUnknownIndex bounds references while the size of the table isn't known:
// a table of 4 MiB.
const maxUnknownIndex = staticLen + 4<<20/entryOverhead

// maxInteger bounds every integer of a block; lengths and indexes are far below.
const maxInteger = 1<<32 - 1

// block is a header block on its way through a decoder.
type block struct {
	d       *Decoder
	limits  Limits
	scratch *Scratch
	rest    []byte
	fields  []Field
	left    int // of Limits.ListSize
	first   bool
	cut     bool
}

// Decode appends the fields of block, which is whole, to dst. cut tells that
// there were more than limits allow; the table is right in that case too. On an
// error the fields are not to be believed, and everything known is forgotten.
func (d *Decoder) Decode(dst []Field, data []byte, limits Limits, scratch *Scratch) (fields []Field, cut bool, err error) {
	limits = limits.WithDefaults()
	b := block{d: d, limits: limits, scratch: scratch, rest: data, fields: dst, left: limits.ListSize, first: true}
	b.limits.Fields += len(dst)
	for len(b.rest) > 0 {
		if err := b.next(); err != nil {
			d.Forget()
			return b.fields, b.cut, err
		}
	}
	return b.fields, b.cut, nil
}

// next takes one representation (RFC 7541 §6).
func (b *block) next() error {
	switch c := b.rest[0]; {
	case c&0x80 != 0: // indexed
		i, err := b.integer(7)
		if err != nil {
			return err
		}
		f, err := b.lookup(i)
		if err != nil {
			return err
		}
		f.Indexed = true
		b.add(f)
	case c&0xc0 == 0x40: // literal, to be inserted
		f, nameLiteral, err := b.literal(6)
		if err != nil {
			return err
		}
		b.insert(&f, nameLiteral)
		b.add(f)
	case c&0xe0 == 0x20: // table size update
		size, err := b.integer(5)
		if err != nil {
			return err
		}
		if !b.first {
			return ErrSizeUpdate
		}
		b.d.table.resize(size)
		return nil
	default: // literal, not to be inserted
		f, _, err := b.literal(4)
		if err != nil {
			return err
		}
		f.NeverIndexed = c&0x10 != 0
		b.add(f)
	}
	b.first = false
	return nil
}

// add returns f to the caller, as far as limits allow.
func (b *block) add(f Field) {
	n := len(f.Name) + len(f.Value)
	if b.cut || n > b.left || len(b.fields) >= b.limits.Fields {
		b.cut = true
		return
	}
	b.left -= n
	b.fields = append(b.fields, f)
}

// insert adds f to the table. The text is copied: an entry stays for long.
func (b *block) insert(f *Field, nameLiteral bool) {
	text := &b.d.text
	text.ChunkLen = entryChunk
	if nameLiteral {
		f.Name = text.String(append(b.scratch.decoded[:0], f.Name...))
	}
	f.Value = text.String(append(b.scratch.decoded[:0], f.Value...))
	if b.d.table.insert(entry{f.Name, f.Value, f.NameUnknown}, uint64(b.limits.TableSize)) {
		b.scratch.cuts++
	}
}

// lookup returns the entry with index i.
func (b *block) lookup(i uint64) (Field, error) {
	t := &b.d.table
	switch {
	case i == 0:
		return Field{}, IndexError(i)
	case i <= staticLen:
		return Field{Name: static[i].name, Value: static[i].value}, nil
	case i-staticLen <= uint64(t.n):
		e := t.at(int(i - staticLen - 1))
		return Field{Name: e.name, Value: e.value, NameUnknown: e.nameUnknown}, nil
	case t.whole || i > maxUnknownIndex || t.maxKnown && (i-staticLen)*entryOverhead > t.max:
		return Field{}, IndexError(i)
	}
	return Field{NameUnknown: true, ValueUnknown: true}, nil
}

// literal takes a field whose value, and maybe name, is given as text.
func (b *block) literal(prefix uint8) (f Field, nameLiteral bool, err error) {
	i, err := b.integer(prefix)
	if err != nil {
		return f, false, err
	}
	if i > 0 {
		f, err = b.lookup(i)
		f.ValueUnknown = false
	} else {
		f.Name, err = b.string()
		nameLiteral = true
	}
	if err != nil {
		return f, nameLiteral, err
	}
	f.Value, err = b.string()
	return f, nameLiteral, err
}

// integer takes a number whose first bits are the low prefix bits of the next
// byte (RFC 7541 §5.1).
func (b *block) integer(prefix uint8) (uint64, error) {
	if len(b.rest) == 0 {
		return 0, ErrTruncated
	}
	mask := byte(1)<<prefix - 1
	n := uint64(b.rest[0] & mask)
	b.rest = b.rest[1:]
	if n < uint64(mask) {
		return n, nil
	}
	for shift := 0; ; shift += 7 {
		if len(b.rest) == 0 {
			return 0, ErrTruncated
		}
		c := b.rest[0]
		b.rest = b.rest[1:]
		if shift > 28 {
			return 0, ErrInteger
		}
		n += uint64(c&0x7f) << shift
		if n > maxInteger {
			return 0, ErrInteger
		}
		if c&0x80 == 0 {
			return n, nil
		}
	}
}

// string takes a string (RFC 7541 §5.2).
func (b *block) string() (string, error) {
	if len(b.rest) == 0 {
		return "", ErrTruncated
	}
	coded := b.rest[0]&0x80 != 0
	n, err := b.integer(7)
	if err != nil {
		return "", err
	}
	if n > uint64(len(b.rest)) {
		return "", ErrTruncated
	}
	text := b.rest[:n]
	b.rest = b.rest[n:]
	if coded {
		decoded, ok := appendHuffman(b.scratch.decoded[:0], text)
		b.scratch.decoded = decoded
		if !ok {
			return "", ErrHuffman
		}
		text = decoded
	}
	return b.scratch.text.String(text), nil
}
