package http1

import (
	"encoding/binary"
	"hash/maphash"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/grpc"
)

// knownLines remembers field lines. Nearly all lines of a header section stood in
// an earlier one, byte for byte and behind the same line; seeing one again takes a
// comparison instead of being searched, checked, split and copied.
//
// A line is stored when it comes a second time, so that dates and ids, which don't,
// cost nothing here; nor are credentials kept. Its hash gives it the one place
// where it can be, and where it replaces another.
type knownLines struct {
	seed  maphash.Seed
	by    *exchange.Screen        // that nothing of the lines is masked by
	lines *[knownPlaces]knownLine // by place, nil until one is met
	met   []uint16                // by place, of the hash of the line met last that isn't stored
	first [2]followers

	statuses [knownStatuses]knownStatus
}

// knownStatus is a status line that the usual section came behind.
type knownStatus struct {
	text string // with CR and LF
	line statusLine
}

// knownStatuses is how many status lines are remembered.
const knownStatuses = 16

// knownLine is a line that there is nothing to say against.
type knownLine struct {
	text        string // with CR and LF, empty if there is none
	last        uint64 // its last eight bytes
	name, value string // parts of text
	kind        fieldKind
	messages    grpc.Kind // that Content-Type tells
	length      int64     // that Content-Length tells as usual, else 0
	passes      bool      // the screen
	then        followers
}

// followers are the places of what came behind a line the last time: the next
// stored line with no others in between, with one, or with two.
type followers [3]uint16

const (
	knownPlaces = 1 << 10
	// maxKnownLen bounds a line that is stored: 256 KiB for all of them.
	maxKnownLen = 256
	// minKnownLen is how long one has to be: so many bytes are compared at once.
	minKnownLen = 8
)

func newKnownLines() knownLines { return knownLines{seed: maphash.MakeSeed()} }

// release forgets all lines.
func (k *knownLines) release() {
	k.lines, k.met = nil, nil
	clear(k.statuses[:])
}

// look makes k judge lines by that screen from now on.
func (k *knownLines) look(by *exchange.Screen) {
	if k.by != by {
		k.release()
		k.by = by
	}
}

// status returns where the status line is, or may be, that b starts with, nil if
// that is too short. The codes in use differ in their first and last digits.
func (k *knownLines) status(b []byte) *knownStatus {
	const code = len("HTTP/1.1 ")
	if len(b) < code+3 {
		return nil
	}
	return &k.statuses[(b[code]<<2^b[code+2])%knownStatuses]
}

// starts reports whether b starts with s.
func (s *knownStatus) starts(b []byte) bool {
	return s.text != "" && len(b) > len(s.text) && string(b[:len(s.text)]) == s.text
}

// sectionWalk is how far a section has been read that b holds.
type sectionWalk struct {
	b       []byte
	at      int        // where the next line begins
	fields  int        // read so far
	then    *followers // of the stored line passed last
	between int        // lines passed since that
	passed  bool       // all fields the screen
	room    *fieldRoom
	frame   *framing
}

// foreseen goes on over lines that are stored, each of which came behind the one before the
// last time. Nearly all lines are such, so it does for each as little as there is to do: it
// calls nobody, for whom all that is in registers would have to be saved, but for lines that
// tell of the body.
func (k *knownLines) foreseen(w *sectionWalk) {
	if k.lines == nil || w.between >= len(w.then) {
		return
	}
	b, at, n, passed, fields, i := w.b, w.at, w.fields, w.passed, w.room.fields, w.then[w.between]
	var l *knownLine
walk:
	for n < len(fields) {
		next := &k.lines[i%knownPlaces]
		text, end := next.text, at+len(next.text)
		if len(text) < minKnownLen || end >= len(b) {
			break
		}
		line := b[at:end]
		if lastOf(line) != next.last || isBlank(b[end]) {
			break
		}
		for at := 0; at >= 0 && at < len(text)-minKnownLen && at < len(line)-minKnownLen; at += minKnownLen {
			if word(line, at) != word(text, at) {
				break walk
			}
		}
		l, at, i = next, end, next.then[0]
		f := &fields[n]
		f.Name, f.Value, f.NameUnknown, f.ValueUnknown = l.name, l.value, false, false
		n++
		passed = passed && l.passes
		if l.kind != kindOther {
			w.frame.stored(l)
		}
	}
	if l != nil {
		w.at, w.fields, w.passed, w.then, w.between = at, n, passed, &l.then, 0
	}
}

// stored is field for a line that is stored.
func (f *framing) stored(l *knownLine) {
	switch {
	case l.kind == kindContentType:
		f.messages = l.messages
	case l.kind == kindContentLength && l.length > 0 && !f.lengthSeen:
		f.lengthSeen, f.length = true, l.length
	default:
		f.field(l.kind, l.value)
	}
}

// next returns the stored line that is next in w, else the line there, which is not stored,
// else nil for both: it is out of the ordinary.
func (k *knownLines) next(w *sectionWalk) (l *knownLine, line []byte) {
	if line = usualLine(w.b[w.at:]); line == nil {
		return nil, nil
	}
	l, i := k.find(line)
	if l == nil {
		w.between++
		return nil, line
	}
	if w.between < len(w.then) {
		w.then[w.between] = i
	}
	w.then, w.between = &l.then, 0
	return l, line
}

// find returns the stored line that equals line, and its index; nil if it isn't
// stored even now. Lines whose fields are masked never are.
func (k *knownLines) find(line []byte) (l *knownLine, i uint16) {
	if len(line) > maxKnownLen || len(line) < minKnownLen {
		return nil, 0
	}
	if k.lines == nil {
		k.lines, k.met = new([knownPlaces]knownLine), make([]uint16, knownPlaces)
	}
	hash := maphash.Bytes(k.seed, line)
	i = uint16(hash % knownPlaces)
	l = &k.lines[i]
	if string(line) == l.text {
		return l, i
	}
	if met := uint16(hash >> 48); k.met[i] != met {
		k.met[i] = met
		return nil, 0
	}
	if !l.learn(line, k.by) {
		return nil, 0
	}
	return l, i
}

// learn makes l the given line, unless there is something to say against that.
func (l *knownLine) learn(line []byte, by *exchange.Screen) bool {
	text := string(line)
	field := text[:len(text)-len(lineEnd)]
	var f framing
	name, value, ok := splitField(field, false, &f)
	if !ok || f.malformed || by.Masks(name, value) {
		return false
	}
	*l = knownLine{text: text, last: lastOf(line), name: name, value: value, kind: kindOf(name), passes: by.Passes(name, value)}
	switch l.kind {
	case kindContentType:
		l.messages = grpc.KindOf(value)
	case kindContentLength:
		l.length, _ = usualLength(value)
	}
	return true
}

// lastOf returns the last eight bytes of line.
func lastOf(line []byte) uint64 { return binary.LittleEndian.Uint64(line[len(line)-minKnownLen:]) }

// behindStart returns what came behind start lines.
func (k *knownLines) behindStart(request bool) *followers {
	if request {
		return &k.first[0]
	}
	return &k.first[1]
}

// usualSection reads the section that b holds behind its start line, which is the
// first from bytes, if it is there as a whole and nothing about it is out of the
// ordinary. It returns the offset behind the empty line, or -1 if others have to
// read it: then nothing has happened.
func (h *half) usualSection(b []byte, from int) (end int) {
	if !h.census.usual() || b[from-2] != '\r' || h.interim {
		return -1
	}
	s, screen := h.c.shared, h.c.shared.rec.Screen()
	s.known.look(screen)
	var w sectionWalk // set field by field, as in requestLine.take
	w.b, w.at, w.then, w.passed = b, from, s.known.behindStart(h.request), true
	w.room, w.frame = h.room(), &h.frame
	for {
		if s.known.foreseen(&w); emptyLine(b, w.at) {
			break
		}
		if !s.unforeseen(&w) {
			h.frame = framing{}
			return -1
		}
	}
	h.kept = true
	if w.passed {
		h.screen(screen)
	}
	h.keepHead(h.startText(b[:from]), w.room.of(w.fields), true)
	return w.at + len(lineEnd)
}

// unforeseen takes a line that foreseen has left, unless it is out of the ordinary.
func (s *Shared) unforeseen(w *sectionWalk) bool {
	l, line := s.known.next(w)
	if line == nil || w.fields == len(w.room.fields) && !w.room.grow(s.cfg.MaxFields) {
		return false
	}
	w.at += len(line)
	if l != nil {
		w.frame.stored(l)
		w.room.set(w.fields, l.name, l.value)
		w.fields++
		w.passed = w.passed && l.passes
		return true
	}
	name, value, ok := splitField(s.text.String(line[:len(line)-len(lineEnd)]), false, w.frame)
	if ok {
		w.frame.field(kindOf(name), value)
		w.room.set(w.fields, name, value)
		w.fields++
		w.passed = w.passed && s.known.by.Passes(name, value)
	}
	return true
}

// usualStart starts a message, and reads its section as usualSection does, if it starts
// with a usual request line, or a status line that is known. If that returns -1, scan goes
// on with what is behind the line.
func (h *half) usualStart(b []byte) (end int) {
	n := 0
	if h.request {
		n = h.reqLine.take(b)
	} else if k := h.c.shared.known.status(b); k != nil && k.starts(b) {
		n, h.status = len(k.text), k.line
	}
	if n == 0 {
		return -1
	}
	h.lined = true
	h.census = census{controls: len(lineEnd)}
	h.scanned, h.lineStart, h.ends = n, n, append(h.ends, uint32(n))
	if h.request {
		h.beginRequest(b)
	} else {
		h.beginResponse()
	}
	return h.usualSection(b, n)
}

// startText returns a start line as a string, of which status lines are few.
func (h *half) startText(line []byte) string {
	s := h.c.shared
	if h.request {
		return s.text.String(line)
	}
	k := s.known.status(line)
	if k == nil || len(line) > maxKnownLen {
		return s.text.String(line)
	}
	if k.text != string(line) {
		*k = knownStatus{string(line), h.status}
	}
	return k.text
}

// lineEnd is how a line has to end.
const lineEnd = "\r\n"

// emptyLine reports whether b has an empty line at offset at.
func emptyLine(b []byte, at int) bool { return at+1 < len(b) && b[at] == '\r' && b[at+1] == '\n' }

// isBlank reports whether a line that starts with c goes on with the field before
// it (RFC 9112 §5.2).
func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// usualLine returns the line that b starts with, its end included, or nil if it
// isn't ASCII that CR and LF end, or goes on in another line, or does not end in b.
func usualLine(b []byte) []byte {
	var c census
	i := c.line(b)
	if i < 0 || i+1 == len(b) || !c.usual() || b[i-1] != '\r' || isBlank(b[i+1]) {
		return nil
	}
	return b[:i+1]
}
