package http1

import (
	"strings"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"
)

// parseFields turns the lines of s from offset at, those of a header or trailer
// section, into fields (RFC 9112 §5) and tells framing of each. ends are the
// offsets behind those lines, the first maxLineEnds or all; c is the census of s,
// start line included. s may end with the
// empty line or in the middle of the section, but not in the middle of a line.
// The fields share the memory of s, and are room's. valid tells that s is UTF-8.
func parseFields(s string, c census, at int, ends []uint32, f *framing, room *fieldRoom, most int) (fields []*capstanv1.Header, cut, valid bool) {
	valid = c.ascii() || utf8.ValidString(s)
	controls := c.controls
	if at > 0 {
		controls -= 2 // which end the start line
	}
	n := 0
	var lines lineWalk
	lines.s, lines.at, lines.ends = s, at, ends
	for lines.at < len(s) {
		field, folded := lines.field(f)
		if field == "" {
			continue
		}
		name, value, ok := splitField(field, folded, f)
		if !ok {
			continue
		}
		f.field(kindOf(name), value)
		if n == most {
			cut = true
			continue
		}
		if n == 0 {
			room.take(min(lines.most(), most))
		}
		if !valid {
			name, value = clean(name), clean(value)
		}
		room.set(n, name, value)
		n++
	}
	if !f.malformed && controls != 2*lines.count && (strings.Count(s[at:], "\r") > lines.count || strings.IndexByte(s[at:], 0) >= 0) {
		f.malformed = true // a CR that ends no line, a NUL: read in one way here, in another there
	}
	return room.of(n), cut, valid
}

// lineWalk walks over the lines of a section.
type lineWalk struct {
	s     string
	at    int      // where the next line starts
	ends  []uint32 // of the lines from there on, as far as known
	count int      // of the lines passed
}

// most returns how many lines there are at most, from the one passed last. Where
// as many ends are known as are noted, that of a start line aside, lines follow
// whose ends are not.
func (l *lineWalk) most() int {
	if l.count+len(l.ends) >= maxLineEnds-1 {
		return len(l.s) - l.at + 1
	}
	return len(l.ends) + 1
}

// line returns the next line without its end, which has to be CR and LF: not
// everybody takes LF alone.
func (l *lineWalk) line(f *framing) string {
	from, end := l.at, len(l.s)
	if len(l.ends) > 0 {
		end, l.ends = int(l.ends[0]), l.ends[1:]
	} else if i := strings.IndexByte(l.s[from:], '\n'); i >= 0 {
		end = from + i + 1
	}
	l.at = end
	l.count++
	if end-from >= 2 && l.s[end-2] == '\r' {
		return l.s[from : end-2]
	}
	f.malformed = true
	return l.s[from : end-1]
}

// field returns the next field, with its line ends inside when it is folded.
// Folds, which none may send (RFC 9112 §5.2), mark the message malformed: not
// everybody reads them in the same way.
func (l *lineWalk) field(f *framing) (field string, folded bool) {
	from := l.at
	if len(l.ends) > 0 {
		// Nearly all are a line whose end is known and another line behind it.
		if end := int(l.ends[0]); end-from >= 2 && l.s[end-2] == '\r' && (end == len(l.s) || l.s[end] > ' ') {
			l.at, l.ends = end, l.ends[1:]
			l.count++
			return l.s[from : end-2], false
		}
	}
	field = l.line(f)
	for field != "" && l.at < len(l.s) && isBlank(l.s[l.at]) {
		folded, f.malformed = true, true
		last := l.at
		field = l.s[from : last+len(l.line(f))]
	}
	return field, folded
}

// fieldRoom is memory for the fields of one section, which may be used again.
type fieldRoom struct {
	fields []capstanv1.Header
	list   []*capstanv1.Header // of all of these
}

// take makes room for n fields.
func (r *fieldRoom) take(n int) {
	if len(r.fields) >= n {
		return
	}
	n = max(n, firstFields)
	r.fields, r.list = make([]capstanv1.Header, n), make([]*capstanv1.Header, n)
	for i := range r.fields {
		r.list[i] = &r.fields[i]
	}
}

// firstFields is how many fields there is room for at first.
const firstFields = 16

// grow makes room for more fields than there is room for, which stay. It reports
// whether there may be more than those, of most.
func (r *fieldRoom) grow(most int) bool {
	old := r.fields
	if len(old) >= most {
		return false
	}
	r.take(min(max(2*len(old), firstFields), most))
	for i := range old {
		r.set(i, old[i].Name, old[i].Value)
	}
	return true
}

// set makes the i-th field that of the given name and value.
func (r *fieldRoom) set(i int, name, value string) {
	h := &r.fields[i]
	h.Name, h.Value, h.NameUnknown, h.ValueUnknown = name, value, false, false
}

// of returns the first n fields, nil if there are none.
func (r *fieldRoom) of(n int) []*capstanv1.Header {
	if n == 0 {
		return nil
	}
	return r.list[:n:n]
}

// trim makes r ready for reuse: a large one is let go.
func (r *fieldRoom) trim() {
	if len(r.fields) > keepFieldsLen {
		*r = fieldRoom{}
	}
}

// splitField splits a field at its colon. A line that is no field is dropped
// and marks the message malformed; so does space around the name, which is
// taken off.
func splitField(field string, folded bool, f *framing) (name, value string, ok bool) {
	colon := colonIn(field)
	if colon == len(field) {
		f.malformed = true
		return "", "", false
	}
	name, value = field[:colon], field[colon+1:]
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:] // what nearly everybody sends
	}
	if !folded && trimmed(name) && trimmed(value) {
		return name, value, true
	}
	name, value = strings.Trim(name, space), strings.Trim(value, space)
	if name == "" {
		f.malformed = true
		return "", "", false
	}
	if len(name) != colon || folded && strings.Contains(name, "\n") {
		f.malformed = true
	}
	if folded {
		value = unfold(value)
	}
	return name, value, true
}

// space is what doesn't belong to a name or value at whose ends it stands.
const space = " \t\r\n"

// trimmed reports whether s is not empty and certainly has no space at its ends.
func trimmed(s string) bool { return s != "" && s[0] > ' ' && s[len(s)-1] > ' ' }

// unfold replaces each fold by one space (RFC 9112 §5.2).
func unfold(value string) string {
	lines := strings.Split(value, "\n")
	for i, l := range lines {
		lines[i] = strings.Trim(l, " \t\r")
	}
	return strings.Join(lines, " ")
}

// clean makes s valid UTF-8, as protobuf strings must be: each run of bad bytes
// becomes one U+FFFD.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// authority returns who is asked: the authority of an absolute target, the
// target of CONNECT, else the Host field (RFC 9112 §3.3). User information is
// left out, since it is a credential.
func authority(method, target string, fields []*capstanv1.Header) string {
	a := ""
	if method == "CONNECT" {
		a = target
	} else if i := schemeLen(target); i > 0 {
		a = target[i+len("://"):]
		if end := strings.IndexAny(a, "/?#"); end >= 0 {
			a = a[:end]
		}
	} else {
		for _, f := range fields {
			if len(f.Name) == len("Host") && isName(f.Name, "Host") {
				a = f.Value
				break
			}
		}
	}
	if strings.IndexByte(a, '@') < 0 { // many bytes at a time, unlike LastIndexByte
		return a
	}
	return a[strings.LastIndexByte(a, '@')+1:]
}

// schemeLen returns the length of the scheme of an absolute target, 0 if it is
// none.
func schemeLen(target string) int {
	if target == "" || target[0] == '/' {
		return 0
	}
	i := strings.Index(target, "://")
	if i < 0 || strings.ContainsAny(target[:i], "/?#") {
		return 0
	}
	return i
}

// isName reports whether a field whose name is as long as want has that name, in
// any spelling. Most others have another first letter, and most are spelt as
// registered.
func isName(name, want string) bool {
	return name[0]|0x20 == want[0]|0x20 && (name == want || strings.EqualFold(name, want))
}
