package exchange

import (
	"net/url"
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// target masks parameters of the request's target, and returns 1 if it did.
func (m *maskSet) target(q *capstanv1.HttpRequest) (count uint64) {
	if m.empty {
		return 0
	}
	if masked, found := m.maskParameters(q.Target); found {
		q.Target, count = masked, 1
	}
	return count
}

// links masks parameters of the URLs in header fields, and returns in how many it
// did: where somebody came from, and where to go.
func (m *maskSet) links(fields []*capstanv1.Header) (count uint64) {
	if m.empty {
		return 0
	}
	for _, f := range fields {
		if !isLink(f.Name) {
			continue
		}
		if masked, found := m.maskParameters(f.Value); found {
			f.Value = masked
			count++
		}
	}
	return count
}

func isLink(name string) bool {
	switch len(name) {
	case len("Referer"):
		return strings.EqualFold(name, "Referer")
	case len("Location"):
		return strings.EqualFold(name, "Location")
	case len("Content-Location"):
		return strings.EqualFold(name, "Content-Location")
	}
	return false
}

// separators are between parameters, in the query of a URL and in its fragment,
// which OAuth uses like it (RFC 6749 §4.2.2).
const separators = "?&;#"

// maskParameters masks the values of those parameters of a URL that m lists. It
// allocates only for one that has such.
func (m *maskSet) maskParameters(s string) (string, bool) {
	at := strings.IndexAny(s, "?#")
	if at < 0 {
		return s, false
	}
	var out strings.Builder
	copied := 0
	for at < len(s) {
		at++ // behind the separator
		end := len(s)
		if i := strings.IndexAny(s[at:], separators); i >= 0 {
			end = at + i
		}
		if key, value, ok := strings.Cut(s[at:end], "="); ok && value != "" && value != masked && m.listsParameter(key) {
			out.WriteString(s[copied : end-len(value)])
			out.WriteString(masked)
			copied = end
		}
		at = end
	}
	if copied == 0 {
		return s, false
	}
	out.WriteString(s[copied:])
	return out.String(), true
}

// listsParameter is lists for a name as URLs have it.
func (m *maskSet) listsParameter(name string) bool {
	if strings.IndexByte(name, '%') >= 0 {
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
	}
	return m.mayHave(name) && m.lists(name)
}
