package exchange

import (
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// userInfo masks the user information of the request's target and Host fields,
// where nobody may send any (RFC 9110 §4.2.4), and returns in how many fields it
// did.
func (m *maskSet) userInfo(q *capstanv1.HttpRequest) (count uint64) {
	if m.empty {
		return 0
	}
	if q.Target != "" && q.Target[0] != '/' {
		q.Target, _ = maskUserInfo(q.Target)
	}
	for _, h := range q.Headers {
		if len(h.Name) != len("Host") || h.Name != "Host" && !strings.EqualFold(h.Name, "Host") {
			continue
		}
		if value, found := maskUserInfo(h.Value); found {
			h.Value = value
			count++
		}
	}
	return count
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
