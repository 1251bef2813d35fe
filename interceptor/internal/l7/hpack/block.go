package hpack

import (
	"unicode/utf8"

	"capstan/interceptor/internal/arena"
)

// maxUnknownIndex bounds references while the size of the table isn't known:
// a table of 4 MiB.
const maxUnknownIndex = staticLen + 4<<20/EntryOverhead

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
	from    int // index of its first field
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
		b.add(f)
	case c&0xc0 == 0x40: // literal, to be inserted
		var f Field
		// The text is copied: an entry stays for long.
		if err := b.literal(&f, 6, &b.d.text); err != nil {
			return err
		}
		b.insert(&f)
		b.add(&f)
	case c&0xe0 == 0x20: // table size update
		size, err := b.integer(5)
		if err != nil {
			return err
		}
		if !b.first {
			return ErrSizeUpdate
		}
		b.d.table.resize(uint32(size)) // no integer is larger
		return nil
	default: // literal, not to be inserted
		var f Field
		if c&0x10 != 0 {
			f.Form = NeverIndexed
		}
		if err := b.literal(&f, 4, &b.scratch.text); err != nil {
			return err
		}
		b.add(&f)
	}
	b.first = false
	return nil
}

// add returns a copy of f to the caller, as far as limits allow.
func (b *block) add(f *Field) {
	n := len(f.Name) + len(f.Value)
	if b.cut || n > b.left || len(b.fields) >= b.limits.Fields {
		b.cut = true
		return
	}
	b.left -= n
	b.fields = append(b.fields, *f)
}

// insert adds f to the table.
func (b *block) insert(f *Field) {
	f.Passed = b.scratch.passed(f)
	e := *f
	e.Form, e.Doubted = Indexed, e.Doubted || b.d.table.doubt
	if b.d.table.insert(&e, uint64(b.limits.TableSize)) {
		b.scratch.cuts++
	}
}

// unknown is what stands behind the window.
var unknown = Field{NameUnknown: true, ValueUnknown: true, Form: Indexed, UTF8: true}

// lookup returns the entry with index i, which is not to be changed.
func (b *block) lookup(i uint64) (*Field, error) {
	t := &b.d.table
	switch {
	case i-1 < staticLen:
		return &static[i], nil
	case i == 0:
		return nil, IndexError(i)
	case i-staticLen <= uint64(t.n):
		t.reached(int(i - staticLen))
		return t.at(int(i - staticLen - 1)), nil
	case t.whole || i > maxUnknownIndex || t.maxKnown && (i-staticLen)*EntryOverhead > uint64(t.max):
		return nil, IndexError(i)
	}
	t.reached(int(i - staticLen))
	if !t.cut {
		b.scratch.behind = append(b.scratch.behind, reference{len(b.fields) - b.from, uint32(i-staticLen) - uint32(t.n)})
	}
	return &unknown, nil
}

// literal takes a field whose value, and maybe name, is given as text, of which
// strings are made by text.
func (b *block) literal(f *Field, prefix uint8, text *arena.Text) error {
	i, err := b.integer(prefix)
	if err != nil {
		return err
	}
	if i > 0 {
		e, err := b.lookup(i)
		if err != nil {
			return err
		}
		f.Name, f.NameUnknown, f.Static = e.Name, e.NameUnknown, e.Static
		f.Doubted = e.Doubted && !e.NameUnknown
		f.UTF8 = e.UTF8 || utf8.ValidString(e.Name)
	} else {
		name, err := b.string()
		if err != nil {
			return err
		}
		f.UTF8 = utf8.Valid(name)
		if f.Static = staticNames[string(name)]; f.Static > 0 {
			f.Name = static[f.Static].Name
		} else {
			f.Name = text.String(name)
		}
	}
	value, err := b.string()
	if err != nil {
		return err
	}
	f.UTF8 = f.UTF8 && utf8.Valid(value)
	f.Value = text.String(value)
	f.judge()
	return nil
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

// string takes a string (RFC 7541 §5.2), which is valid until the next call.
func (b *block) string() ([]byte, error) {
	if len(b.rest) == 0 {
		return nil, ErrTruncated
	}
	coded := b.rest[0]&0x80 != 0
	n, err := b.integer(7)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(b.rest)) {
		return nil, ErrTruncated
	}
	text := b.rest[:n]
	b.rest = b.rest[n:]
	if !coded {
		return text, nil
	}
	decoded, ok := appendHuffman(b.scratch.decoded[:0], text)
	b.scratch.decoded = decoded
	if !ok {
		return nil, ErrHuffman
	}
	return decoded, nil
}

// StartsPseudo reports whether a block certainly has a pseudo-header field, whatever the
// table holds: after references to entries, if any, comes one that the static table names.
func StartsPseudo(block []byte) bool {
	for len(block) > 0 && block[0] > 0x80+staticLen && block[0] < 0xff {
		block = block[1:]
	}
	if len(block) == 0 {
		return false
	}
	index := block[0] & 0x0f // of a literal that is not inserted
	switch c := block[0]; {
	case c&0x80 != 0:
		index = c & 0x7f
	case c&0x40 != 0:
		index = c & 0x3f
	case c&0x20 != 0:
		return false
	}
	return index > 0 && index <= lastStatus
}
