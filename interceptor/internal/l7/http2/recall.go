package http2

import (
	"capstan/interceptor/internal/l7/grpc"
	"capstan/interceptor/internal/l7/hpack"
)

const (
	// maxRecalled bounds the fields of a section that is looked at, and so what that costs.
	maxRecalled = 32
	// maxTries bounds how many sections are.
	maxTries = 16
	// growth is how much a byte that is missing may have brought into the table. A field
	// with a short value brings more, but with a frame and other fields around it.
	growth = 4
)

// earlier is HPACK's table as it was known before header blocks were lost.
type earlier struct {
	table hpack.Window
	from  int64 // of what is missing
	grown int64 // how many bytes may have come into the table since
	tries int
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
	p.from = h.offset
	if h.inBlock || h.lostPart {
		p.grown += growth * int64(len(h.buf)+int(h.frame.length))
	}
	return p
}

// missed tells that frames were found at place.
func (p *earlier) missed(place int64) {
	if p != nil {
		p.grown += growth * (place - p.from)
		p.from = place
	}
}

// recall finds, by the header section of a call of gRPC, what its references to entries
// from before a loss are; the package comment tells how. It completes fields.
func (h *half) recall(b *block, fields []hpack.Field) {
	p := h.earlier()
	if p == nil || b.promise || !h.c.rolesKnown || h.c.half[h.c.client].others || len(fields) > maxRecalled {
		return
	}
	r := recollection{earlier: p, behind: h.c.shared.behind[:len(fields)], fields: fields, end: b.endStream, response: h.dir != h.c.client}
	if s := h.c.byID.get(b.stream); r.response && (s == nil || !s.isCall()) {
		return
	}
	if p.tries++; p.tries > maxTries {
		h.setEarlier(nil)
		return
	}
	h.c.shared.scratch.Behind(r.behind)
	unseen := r.unseen()
	if unseen < 0 || unseen > 0 && r.response {
		return
	}
	h.hpack.Recall(p.table, unseen, fields, r.behind, h.c.cfg.Headers)
	h.losses = nil
}

// recollection is a header section, and what was known of the table before a loss.
type recollection struct {
	earlier  *earlier
	fields   []hpack.Field
	behind   []uint32 // of each, as hpack.Scratch tells
	end      bool     // of the stream
	response bool
}

// unseen returns how many insertions were lost, as the place tells where the table has the
// field now that all calls have. It is less than 0 if not exactly one number agrees with
// what else the section refers to, or too little does.
func (r *recollection) unseen() int {
	if r.response && (len(r.fields) == 0 || r.fields[0].Static != hpack.StaticStatus) {
		return -1 // these may be trailers
	}
	place := r.common()
	if place < 0 || r.earlier.table.Room(place) < r.earlier.grown {
		return -1 // it may have left the table, and come again
	}
	found, sure := -1, false
	for i := range r.fields {
		f := &r.fields[i]
		n := int(r.behind[i]) - 1 - place
		if r.behind[i] == 0 || !f.ValueUnknown || n < 0 || n == found || int64(n)*hpack.EntryOverhead > r.earlier.grown {
			continue
		}
		switch v := r.with(n); {
		case v == refuted:
		case found >= 0:
			return -1
		default:
			found, sure = n, v == supported
		}
	}
	if !sure {
		return -1
	}
	return found
}

// common returns where the table had the field that all calls have, or -1.
func (r *recollection) common() int {
	for i := range r.earlier.table.Len() {
		f := r.earlier.table.Entry(i)
		if !r.response && f.Name == "te" || r.response && f.Static == hpack.StaticContentType && grpc.KindOf(f.Value) != grpc.None {
			return i
		}
	}
	return -1
}

// support is what a section says of a number of insertions.
type support uint8

const (
	refuted support = iota
	possible
	supported
)

// with tells what the section says if n insertions were lost.
func (r *recollection) with(n int) support {
	var sec section
	te, unknown, unknownPseudo := 0, 0, 0
	regular := false
	for i := range r.fields {
		f, ok := r.earlier.table.Resolve(&r.fields[i], r.behind[i], n)
		switch {
		case !ok || !f.NameUnknown && f.Fault != hpack.FaultNone:
			return refuted
		case f.NameUnknown:
			unknown++
			unknownPseudo += count(!regular)
		case isPseudo(&f):
			if regular || !sec.pseudo(&f) {
				return refuted
			}
		case f.Static == hpack.StaticContentType && !sec.contentType.set(&f),
			r.response && !r.end && (f.Name == "grpc-status" || f.Name == "grpc-message"):
			return refuted
		default:
			regular = true
			te += count(f.Name == "te")
		}
	}
	if sec.contentType.seen && grpc.KindOf(sec.contentType.value) == grpc.None || sec.method.seen && sec.method.value != "POST" {
		return refuted
	}
	lacks := func(p *pseudo) bool { return !p.seen && unknownPseudo == 0 }
	switch {
	case r.response && (sec.request || !sec.contentType.seen),
		!r.response && (sec.response || te != 1 || !sec.contentType.seen && unknown == 0 ||
			lacks(&sec.path) || lacks(&sec.method) || lacks(&sec.authority)):
		return refuted
	case !r.response && !(sec.contentType.seen && sec.authority.seen):
		return possible
	}
	return supported
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
