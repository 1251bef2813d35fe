package delivery

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	capstanv1 "capstan/proto/capstan/v1"
)

// Form is how a sink writes records if not as capstan.v1.Exchange. Whoever emits
// a record has it at hand and encodes it in the forms of all queues, once each:
// that costs less than what it saves a sink, to decode it. Forms are told apart by
// their addresses.
type Form struct {
	// Append appends x to dst, and nothing else.
	Append func(dst []byte, x *capstanv1.Exchange) []byte
}

// text is a record in a form.
type text struct {
	form *Form
	b    []byte
	page *page // that b lies in, and which is used again; nil: b is garbage in the end
}

// formsOf returns the forms that queues want, each once. On disk a record has
// none.
func formsOf(queues []*Queue) (forms []*Form) {
	for _, q := range queues {
		if f := q.cfg.Form; f != nil && q.cfg.Policy != Spool && !slices.Contains(forms, f) {
			forms = append(forms, f)
		}
	}
	return forms
}

// slab is where records are put beside one another, so that each costs no
// allocation of its own.
type slab struct {
	buf     []byte
	records []Record
	texts   []text
	page    *page // where the next text of a lean record goes; nil: a new one
	usual   int   // bytes that this is likely to take
}

// page is memory for texts of lean records, used again once nobody uses it.
type page struct {
	buf   []byte
	users atomic.Int32 // texts in it, and the slab that adds to it
}

var pages = sync.Pool{New: func() any { return &page{buf: make([]byte, 0, slabBytes)} }}

// leave is called once by each user.
func (p *page) leave() {
	if p.users.Add(-1) == 0 {
		p.buf = p.buf[:0]
		pages.Put(p)
	}
}

// Lengths of what a slab allocates together.
const (
	slabBytes   = 64 << 10
	slabRecords = 64
)

var slabs = sync.Pool{New: func() any { return new(slab) }}

// record returns a new Record with room for so many texts.
func (s *slab) record(texts int) *Record {
	if len(s.records) == 0 {
		s.records = make([]Record, slabRecords)
	}
	r := &s.records[0]
	r.ours = true
	s.records = s.records[1:]
	if texts > 0 {
		if len(s.texts) < texts {
			s.texts = make([]text, slabRecords*texts)
		}
		r.texts, s.texts = s.texts[:0:texts], s.texts[texts:]
	}
	return r
}

// grow makes room for n bytes, if they are few enough to share a slab.
func (s *slab) grow(n int) {
	if cap(s.buf)-len(s.buf) < n && n <= slabBytes/8 {
		s.buf = make([]byte, 0, slabBytes)
	}
}

// tail is where to append what take then takes.
func (s *slab) tail() []byte { return s.buf[len(s.buf):] }

// take returns b, which was appended to the tail, or outgrew it.
func (s *slab) take(b []byte) []byte {
	if n := len(s.buf) + len(b); len(b) > 0 && n <= cap(s.buf) && &b[0] == &s.buf[:n][len(s.buf)] {
		s.buf = s.buf[:n]
	}
	return slices.Clip(b)
}

// encode returns x as a record, in the forms wanted.
func (s *slab) encode(x *capstanv1.Exchange, forms []*Form) (*Record, error) {
	s.grow(x.SizeVT())
	raw, err := appendRecord(s.tail(), x)
	if err != nil {
		return nil, err
	}
	r := s.record(len(forms))
	r.Raw = s.take(raw)
	for _, f := range forms {
		s.grow(len(r.Raw) + len(r.Raw)/2) // about what JSON takes
		r.texts = append(r.texts, text{form: f, b: s.take(f.Append(s.tail(), x))})
	}
	return r, nil
}

// lean returns x as a record that is in the forms wanted alone.
func (s *slab) lean(x *capstanv1.Exchange, forms []*Form) *Record {
	r := s.record(len(forms))
	r.lean = true
	for _, f := range forms {
		r.texts = append(r.texts, s.text(f, func(dst []byte) []byte { return f.Append(dst, x) }))
	}
	return r
}

// text puts what add appends into a page. What outgrows one is garbage in the end.
func (s *slab) text(f *Form, add func(dst []byte) []byte) text {
	p := s.page
	if p != nil && cap(p.buf)-len(p.buf) < s.usual {
		p.leave()
		p = nil
	}
	if p == nil {
		p = pages.Get().(*page)
		p.users.Store(1)
	}
	s.page = p
	from := len(p.buf)
	b := add(p.buf[from:])
	s.usual = min(len(b)+len(b)/4, slabBytes/8)
	if n := from + len(b); len(b) > 0 && n <= cap(p.buf) && &b[0] == &p.buf[:n][from] {
		p.buf = p.buf[:n]
		p.users.Add(1)
		return text{f, slices.Clip(b), p}
	}
	return text{f, b, nil}
}

// A bundle is a record with its texts as bytes, on its way from the goroutine
// that encodes it to the one whose turn it is: the length of Raw and Raw, then for
// each text the number of its form, its length and its bytes; numbers of 4 bytes,
// little-endian. Raw is empty if the record is lean.

// appendBundle appends the bundle of x. Numbers are those of forms in known.
func appendBundle(dst []byte, x *capstanv1.Exchange, forms, known []*Form) ([]byte, error) {
	from := len(dst)
	dst, err := appendSized(dst, func(dst []byte) ([]byte, error) { return appendRecord(dst, x) })
	if err != nil {
		return dst[:from], err
	}
	return appendTexts(dst, x, forms, known), nil
}

// appendLean appends what a bundle of a lean record begins with.
func appendLean(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

// appendTexts appends x in forms.
func appendTexts(dst []byte, x *capstanv1.Exchange, forms, known []*Form) []byte {
	for _, f := range forms {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(slices.Index(known, f)))
		dst, _ = appendSized(dst, func(dst []byte) ([]byte, error) { return f.Append(dst, x), nil })
	}
	return dst
}

// appendSized appends a length, then what add appends.
func appendSized(dst []byte, add func([]byte) ([]byte, error)) ([]byte, error) {
	at := len(dst)
	dst, err := add(append(dst, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst, err
}

// unbundle returns a copy of the record in b.
func (s *slab) unbundle(b []byte, known []*Form) *Record {
	raw, texts := cutSized(b)
	if len(raw) == 0 {
		return s.unbundleLean(texts, known)
	}
	s.grow(len(b))
	b = s.take(append(s.tail(), b...))
	raw, texts = cutSized(b)
	r := s.record(countTexts(texts))
	r.Raw = raw
	for len(texts) > 0 {
		var t text
		t.form, t.b, texts = cutText(texts, known)
		r.texts = append(r.texts, t)
	}
	return r
}

// unbundleLean is unbundle for a lean record, of texts.
func (s *slab) unbundleLean(texts []byte, known []*Form) *Record {
	r := s.record(countTexts(texts))
	r.lean = true
	for len(texts) > 0 {
		var f *Form
		var b []byte
		f, b, texts = cutText(texts, known)
		r.texts = append(r.texts, s.text(f, func(dst []byte) []byte { return append(dst, b...) }))
	}
	return r
}

func cutText(b []byte, known []*Form) (f *Form, text, rest []byte) {
	f = known[binary.LittleEndian.Uint32(b)]
	text, rest = cutSized(b[4:])
	return f, text, rest
}

func countTexts(b []byte) (n int) {
	for ; len(b) > 0; n++ {
		_, b = cutSized(b[4:])
	}
	return n
}

func cutSized(b []byte) (first, rest []byte) {
	n := 4 + int(binary.LittleEndian.Uint32(b))
	return b[4:n:n], b[n:]
}
