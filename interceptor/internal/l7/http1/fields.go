package http1

import (
	"strings"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"
)

// parseFields turns the lines of a header or trailer section into fields (RFC
// 9112 §5) and tells framing of each. s may end with the empty line or in the
// middle of the section, but not in the middle of a line. The fields share the
// memory of s, and are room's.
func parseFields(s string, f *framing, room *fieldRoom) (fields []*capstanv1.Header, cut bool) {
	n := strings.Count(s, "\n")
	if n <= 1 && (s == "\r\n" || s == "\n" || s == "") {
		return nil, false
	}
	if strings.Count(s, "\r") > n || strings.IndexByte(s, 0) >= 0 {
		f.malformed = true // a CR that ends no line, a NUL: read in one way here, in another there
	}
	n = min(n, maxFields)
	fields = room.take(n)
	valid := utf8.ValidString(s)
	for s != "" {
		var field string
		var folded bool
		field, s, folded = cutField(s, f)
		if field == "" {
			continue
		}
		name, value, ok := splitField(field, folded, f)
		if !ok {
			continue
		}
		f.field(name, value)
		if len(fields) == n {
			cut = true
			continue
		}
		h := room.field(len(fields))
		h.Name, h.Value = name, value
		if !valid {
			h.Name, h.Value = clean(name), clean(value)
		}
		fields = append(fields, h)
	}
	return fields, cut
}

// fieldRoom is memory for the fields of one section, which may be used again.
type fieldRoom struct {
	fields []capstanv1.Header
	list   []*capstanv1.Header
}

// take returns an empty list with room for n fields.
func (r *fieldRoom) take(n int) []*capstanv1.Header {
	if cap(r.fields) < n {
		n = max(n, firstFields)
		r.fields, r.list = make([]capstanv1.Header, n), make([]*capstanv1.Header, 0, n)
	}
	return r.list[:0:n]
}

// firstFields is how many fields there is room for at first.
const firstFields = 16

// field returns the i-th field, with nothing in it.
func (r *fieldRoom) field(i int) *capstanv1.Header {
	h := &r.fields[:cap(r.fields)][i]
	h.NameUnknown, h.ValueUnknown = false, false
	return h
}

// kept returns r for reuse, unless it is large.
func (r *fieldRoom) kept() fieldRoom {
	if cap(r.fields) > keepFieldsLen {
		return fieldRoom{}
	}
	return *r
}

// cutField takes the next field off s, with its line ends inside when it is
// folded. Folds, which none may send (RFC 9112 §5.2), and line ends without CR
// mark the message malformed: not everybody reads them in the same way.
func cutField(s string, f *framing) (field, rest string, folded bool) {
	end := 0
	for {
		i := strings.IndexByte(s[end:], '\n')
		if i < 0 {
			return s, "", folded
		}
		end += i + 1
		f.malformed = f.malformed || bareLF(s[:end])
		if end == len(s) || s[end] != ' ' && s[end] != '\t' || trimEnd(s[:end]) == "" {
			return trimEnd(s[:end]), s[end:], folded
		}
		folded, f.malformed = true, true
	}
}

// bareLF reports whether s, which ends with LF, has no CR before it.
func bareLF(s string) bool { return len(s) < 2 || s[len(s)-2] != '\r' }

// trimEnd takes one line end off s.
func trimEnd(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}

// splitField splits a field at its colon. A line that is no field is dropped
// and marks the message malformed; so does space around the name, which is
// taken off.
func splitField(field string, folded bool, f *framing) (name, value string, ok bool) {
	name, value, ok = strings.Cut(field, ":")
	trimmed := strings.Trim(name, " \t\r\n")
	if !ok || trimmed == "" {
		f.malformed = true
		return "", "", false
	}
	if len(trimmed) != len(name) || folded && strings.Contains(trimmed, "\n") {
		f.malformed = true
	}
	value = strings.Trim(value, " \t\r\n")
	if folded {
		value = unfold(value)
	}
	return trimmed, value, true
}

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
	} else if i := strings.Index(target, "://"); i > 0 && !strings.ContainsAny(target[:i], "/?#") {
		a = target[i+len("://"):]
		if end := strings.IndexAny(a, "/?#"); end >= 0 {
			a = a[:end]
		}
	} else {
		for _, f := range fields {
			if strings.EqualFold(f.Name, "Host") {
				return f.Value
			}
		}
	}
	return a[strings.LastIndexByte(a, '@')+1:]
}
