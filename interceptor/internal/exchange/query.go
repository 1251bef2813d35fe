package exchange

import (
	"net/url"
	"slices"
	"strings"
)

// parameters masks parameters of a URL in place, and reports whether it did.
func (m *maskSet) parameters(url *string) bool {
	if m.empty {
		return false
	}
	masked, found := m.maskParameters(*url)
	if found {
		*url = masked
	}
	return found
}

// links are the fields whose values are URLs: where somebody came from, where to go, and
// what proxies tell of the target that they were asked for.
var links = []string{
	"Referer", "Location", "Content-Location", "Destination",
	"X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Envoy-Original-Path",
}

func isLink(name string) bool {
	return slices.ContainsFunc(links, func(l string) bool { return strings.EqualFold(l, name) })
}

// separates tells what is between parameters.
var separates = [256]bool{'?': true, '&': true, ';': true, '#': true}

// maskParameters masks the values of those parameters of a URL that m lists, in its
// query and in its fragment, which OAuth uses like it (RFC 6749 §4.2.2). It
// allocates only for one that has such.
func (m *maskSet) maskParameters(s string) (string, bool) {
	at := strings.IndexByte(s, '?')
	if i := strings.IndexByte(s, '#'); i >= 0 && (at < 0 || i < at) {
		at = i
	}
	if at < 0 {
		return s, false
	}
	var out strings.Builder
	copied := 0
	for at < len(s) {
		name, equals := at+1, -1
		for at++; at < len(s) && !separates[s[at]]; at++ {
			if s[at] == '=' && equals < 0 {
				equals = at
			}
		}
		if equals >= 0 && equals+1 < at && m.listsParameter(s[name:equals], s[equals+1:at]) && s[equals+1:at] != masked {
			out.WriteString(s[copied : equals+1])
			out.WriteString(masked)
			copied = at
		}
	}
	if copied == 0 {
		return s, false
	}
	out.WriteString(s[copied:])
	return out.String(), true
}

// listsParameter is lists for a name as URLs have it, with a value that may be what
// tells.
func (m *maskSet) listsParameter(name, value string) bool {
	if strings.IndexByte(name, '%') >= 0 {
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
	}
	return m.lists(name) ||
		m.oauthCode && len(value) >= 16 && strings.EqualFold(name, "code") ||
		m.googleKey && strings.HasPrefix(value, "AIza") && strings.EqualFold(name, "key")
}
