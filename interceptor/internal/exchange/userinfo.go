package exchange

import (
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// hostField names the field that says who is asked.
const hostField = "Host"

// userInfo masks the user information of a request's Host fields, where nobody may
// send any (RFC 9110 §4.2.4), and returns in how many it did.
func (m *maskSet) userInfo(headers []*capstanv1.Header) (count uint64) {
	if m.empty {
		return 0
	}
	for _, h := range headers {
		if len(h.Name) != len(hostField) || h.Name != hostField && !strings.EqualFold(h.Name, hostField) {
			continue
		}
		if value, found := maskUserInfo(h.Value); found {
			h.Value = value
			count++
		}
	}
	return count
}

// targetUserInfo is userInfo for a target, which is a path of nearly all requests.
func (m *maskSet) targetUserInfo(target *string) {
	if t := *target; !m.empty && t != "" && t[0] != '/' {
		*target, _ = maskUserInfo(t)
	}
}

// linkUserInfo is userInfo for a URL of a field, and reports whether it masked any. One
// without a scheme is a path.
func (m *maskSet) linkUserInfo(url *string) (found bool) {
	if !m.empty && strings.Contains(*url, "://") {
		*url, found = maskUserInfo(*url)
	}
	return found
}

// maskUserInfo masks what is before the @ of an authority (RFC 3986 §3.2), alone
// or in a URI.
func maskUserInfo(s string) (string, bool) {
	if strings.IndexByte(s, '@') < 0 {
		return s, false
	}
	from := 0
	if i := strings.Index(s, "://"); i >= 0 && !strings.ContainsAny(s[:i], "/?#@") {
		from = i + len("://")
	}
	end := len(s)
	if i := strings.IndexAny(s[from:], "/?#"); i >= 0 {
		end = from + i
	}
	at := strings.LastIndexByte(s[from:end], '@')
	if at < 0 {
		return s, false
	}
	return s[:from] + masked + s[from+at:], true
}
