package http2

import (
	"slices"

	"capstan/interceptor/internal/l7/grpc"
	"capstan/interceptor/internal/l7/hpack"
)

const (
	// maxRecalled bounds the fields of a section that is looked at, and so what that costs.
	maxRecalled = 32
	// maxTries bounds how many sections are.
	maxTries = 16
	// leastGrowth is how much a byte that is missing may have brought into the table, unless
	// those of the blocks before brought more than half of that. A field with a short value
	// brings more, but mostly with a frame and other fields around it.
	leastGrowth = 4
)

// earlier is HPACK's table as it was known before header blocks were lost.
type earlier struct {
	table hpack.Window
	from  int64 // of what is missing
	grown int64 // how many bytes may have come into the table since
	tries int
	// nothing: a response refers to its content type where it was, as if nothing was lost.
	nothing bool
}

// next returns what there is after one more loss.
func (p *earlier) next(h *half) *earlier {
	since := h.hpack.Window()
	switch {
	case since.Len() > 0 && (p == nil || p.table.Len() <= since.Len()):
		p = &earlier{table: since}
	case p == nil:
		return nil
	default:
		p.grown += since.Size()
	}
	p.from, p.nothing = h.offset, false
	if h.inBlock || h.lostPart {
		p.grow(h, int64(len(h.buf)+int(h.frame.length)))
	}
	return p
}

// grow reckons with n missing bytes.
func (p *earlier) grow(h *half, n int64) {
	p.grown += int64(max(leastGrowth, 2*h.hpack.Growth()) * float64(n))
}

// missed tells that frames were found at place.
func (p *earlier) missed(h *half, place int64) {
	if p != nil {
		p.grow(h, place-p.from)
		p.from = place
	}
}

// recall finds, by the header sections of calls of gRPC, what their references to entries
// from before a loss are; the package comment tells how. It completes fields.
func (h *half) recall(b *block, fields []hpack.Field) {
	p := h.earlier()
	if p == nil && !h.hpack.Recalled() || b.promise || !h.c.rolesKnown {
		return
	}
	r := recollection{earlier: p, fields: fields, kind: h.kindOf(b, fields), end: b.endStream}
	if p == nil {
		h.uphold(&r)
		return
	}
	if !h.hpack.Steady() || h.c.half[h.c.client].others || len(fields) > maxRecalled || r.kind == ofNone {
		return
	}
	if r.kind == ofResponse && h.c.severalTypes(h.c.byID.get(b.stream), p) {
		return
	}
	if p.tries++; p.tries > maxTries {
		h.setEarlier(nil)
		return
	}
	r.behind = h.c.shared.behind[:len(fields)]
	h.c.shared.scratch.Behind(r.behind)
	if unseen := r.unseen(); unseen >= 0 {
		before := h.hpack.Size()
		h.hpack.Recall(p.table, unseen, fields, r.behind, h.c.cfg.Headers)
		h.tabled(before)
		h.setLosses(losses{})
	}
}

// severalTypes reports whether calls of the connection have several content types, so that a
// response may refer to another than that which its table is known to have. s is one of them.
func (c *Conn) severalTypes(s *stream, server *earlier) bool {
	client := &c.half[c.client]
	now := client.hpack.Window()
	requests := types{value: joined(s.req.Headers, "content-type")}
	requests.add(&now)
	if e := client.earlier(); e != nil {
		requests.add(&e.table)
	}
	var responses types
	responses.add(&server.table)
	return requests.several || responses.several
}

// types are the content types of calls.
type types struct {
	value   string // one of them
	several bool
}

// add adds those of a table.
func (t *types) add(w *hpack.Window) {
	for i := range w.Len() {
		f := w.Entry(i)
		if f.Static != hpack.StaticContentType || f.Value == t.value || grpc.KindOf(f.Value) == grpc.None {
			continue
		}
		t.several = t.several || t.value != ""
		t.value = f.Value
	}
}

// uphold holds a section against what was recalled: what no call has refutes that, and the
// encoder is none of those that the package comment tells of.
func (h *half) uphold(r *recollection) {
	if !slices.ContainsFunc(r.fields, func(f hpack.Field) bool { return f.Doubted }) || r.agrees() != refuted {
		return
	}
	for i := range r.fields {
		if f := &r.fields[i]; f.Doubted {
			*f = hpack.Field{NameUnknown: true, ValueUnknown: true, Form: hpack.Indexed, UTF8: true}
		}
	}
	h.forget()
	h.setLosses(losses{})
	h.hpack.Distrust()
}

// callSection is what a header section of a call is.
type callSection uint8

const (
	ofNone callSection = iota
	ofRequest
	ofResponse
	ofTrailers
)

// kindOf tells which section of a call it is, if it is one.
func (h *half) kindOf(b *block, fields []hpack.Field) callSection {
	if h.dir == h.c.client {
		return ofRequest
	}
	switch s := h.c.byID.get(b.stream); {
	case s == nil || !s.isCall() || len(fields) == 0:
		return ofNone
	case fields[0].Static == hpack.StaticStatus:
		return ofResponse
	case b.endStream:
		return ofTrailers
	}
	return ofNone
}

// recollection is a header section, and what was known of the table before a loss.
type recollection struct {
	earlier *earlier
	fields  []hpack.Field
	behind  []uint32 // of each, as hpack.Scratch tells; none if they refer to nothing unknown
	kind    callSection
	end     bool // of the stream
}

// unseen returns how many insertions were lost. It is less than 0 if that isn't known by this
// section.
func (r *recollection) unseen() int {
	switch r.kind {
	case ofRequest:
		return r.placed()
	case ofResponse:
		r.earlier.nothing = r.placed() == 0 // but trailers have to say so, too
	case ofTrailers:
		if r.earlier.nothing && r.support(0) == supported {
			return 0
		}
	}
	return -1
}

// placed returns how many insertions were lost, as the place tells where the table has the
// field now that all such sections have. It is less than 0 if that isn't known.
func (r *recollection) placed() int {
	place := r.common()
	if place < 0 || r.earlier.table.Room(place) < r.earlier.grown {
		return -1 // it may have left the table, and come again
	}
	n := r.moved(place)
	if n >= 0 && r.earlier.table.Doubles() {
		return -1 // it may be there twice
	}
	return n
}

// common returns where the table had the field that all such sections have, or -1.
func (r *recollection) common() int {
	for i := range r.earlier.table.Len() {
		f := r.earlier.table.Entry(i)
		if r.kind == ofRequest && f.Name == "te" || r.kind == ofResponse && f.Static == hpack.StaticContentType && grpc.KindOf(f.Value) != grpc.None {
			return i
		}
	}
	return -1
}

// moved returns how far the field that was at place is from there, if one of the section's
// references is to it. It is less than 0 if not exactly one number agrees with what else the
// section refers to, or too little does.
func (r *recollection) moved(place int) int {
	found, sure := -1, false
	for i := range r.fields {
		n := int(r.behind[i]) - 1 - place
		if r.behind[i] == 0 || !r.fields[i].ValueUnknown || n < 0 || n == found || int64(n)*hpack.EntryOverhead > r.earlier.grown {
			continue
		}
		s := r.support(n)
		if s == refuted {
			continue
		}
		if found >= 0 {
			return -1
		}
		found, sure = n, s == supported
	}
	if !sure {
		return -1
	}
	return found
}

// support is what a section says of a number of insertions.
type support uint8

const (
	refuted support = iota
	possible
	supported
)

// support tells what the section says if n insertions were lost.
func (r *recollection) support(n int) support {
	var t tally
	for i := range r.fields {
		f, ok := r.earlier.table.Resolve(&r.fields[i], r.behind[i], n)
		if !ok {
			return refuted
		}
		t.take(&f)
	}
	return t.support(r.kind, r.end)
}

// agrees tells what the section says as it is.
func (r *recollection) agrees() support {
	var t tally
	for i := range r.fields {
		t.take(&r.fields[i])
	}
	return t.support(r.kind, r.end)
}

// tally counts the fields that tell sections of calls from each other, and from others.
type tally struct {
	sec           section // its pseudo-header fields, and the content type
	te, status    int
	unknown       int  // fields whose names are not known
	unknownPseudo bool // one of them may be a pseudo-header field
	regular       bool // there was one that is none
	impossible    bool // no call has such fields
}

// take counts the next field.
func (t *tally) take(f *hpack.Field) {
	switch {
	case f.NameUnknown:
		t.unknown++
		t.unknownPseudo = t.unknownPseudo || !t.regular
		return
	case f.Fault != hpack.FaultNone:
		t.impossible = true
		return
	case isPseudo(f):
		t.impossible = t.impossible || t.regular || !t.sec.pseudo(f)
		return
	}
	t.regular = true
	switch {
	case f.Static == hpack.StaticContentType:
		twice := !t.sec.contentType.set(f)
		t.impossible = t.impossible || twice || grpc.KindOf(f.Value) == grpc.None
	case f.Name == "te":
		t.te++
	case f.Name == "grpc-status":
		t.status++
	}
}

// support tells whether the fields are those of a call's section of that kind: whether none is
// missing nor too many, and whether what only such a section has is there. end tells that the stream ends behind it.
func (t *tally) support(kind callSection, end bool) support {
	var may, is bool
	switch {
	case t.impossible:
	case kind == ofNone:
		may = true
	case kind == ofRequest:
		may, is = t.ofRequest()
	case kind == ofResponse:
		typed := t.sec.contentType.seen
		may = !t.sec.request && t.te == 0 && (typed || t.unknown > 0) && (t.status == 0 || t.status == 1 && end)
		is = typed
	case kind == ofTrailers:
		may = !t.sec.request && !t.sec.response && !t.sec.contentType.seen && t.te == 0 && (t.status == 1 || t.status == 0 && t.unknown > 0)
		is = t.status == 1
	}
	switch {
	case !may:
		return refuted
	case !is:
		return possible
	}
	return supported
}

func (t *tally) ofRequest() (may, is bool) {
	s := &t.sec
	has := func(p *pseudo) bool { return p.seen || t.unknownPseudo }
	may = !s.response && t.status == 0 && (t.te == 1 || t.te == 0 && t.unknown > 0) && (s.contentType.seen || t.unknown > 0) &&
		has(&s.path) && has(&s.method) && has(&s.authority) && (!s.method.seen || s.method.value == "POST")
	return may, t.te == 1 && s.contentType.seen && s.authority.seen && s.path.seen
}
