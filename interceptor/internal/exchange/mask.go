package exchange

import (
	"strings"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"
)

// masked replaces the whole value of a credential field, so that not even its
// length is told.
const masked = "***"

// maskNameLimit bounds the names that can be configured; longer ones are kept
// in one list.
const maskNameLimit = 48

// maskSet answers whether a field is to be masked. Names are found by length
// first, since that settles nearly every field without comparing bytes.
type maskSet struct {
	byLen [maskNameLimit + 1][]string
	// ends are the first and the last letters of these, a bit for each, which
	// settles nearly all others.
	ends  [maskNameLimit + 1]struct{ first, last uint32 }
	empty bool // nothing is to be masked
	// The parameters that are to be masked for what they look like.
	oauthCode, googleKey bool
}

func newMaskSet(names []string) *maskSet {
	m := &maskSet{empty: len(names) == 0}
	for _, n := range names {
		switch n {
		case maskOAuthCode:
			m.oauthCode = true
			continue
		case maskGoogleKey:
			m.googleKey = true
			continue
		}
		if n = strings.TrimSpace(n); n != "" {
			at := min(len(n), maskNameLimit)
			m.byLen[at] = append(m.byLen[at], n)
			m.ends[at].first |= letterBit(n[0])
			m.ends[at].last |= letterBit(n[len(n)-1])
		}
	}
	return m
}

// letterBit returns a bit for a byte of a name that is the same in any spelling.
// EqualFold takes U+017F for s and U+212A, the Kelvin sign, for k.
func letterBit(c byte) uint32 {
	if c >= utf8.RuneSelf {
		return 1<<('s'&31) | 1<<('k'&31)
	}
	return 1 << (c & 31)
}

// mayHave tells of nearly all names that they are not in m.
func (m *maskSet) mayHave(name string) bool {
	if name == "" {
		return false
	}
	e := &m.ends[min(len(name), maskNameLimit)]
	return e.first&letterBit(name[0]) != 0 && e.last&letterBit(name[len(name)-1]) != 0
}

// lists reports whether m has that name, in any spelling.
func (m *maskSet) lists(name string) bool {
	if !m.mayHave(name) {
		return false
	}
	for _, n := range m.byLen[min(len(name), maskNameLimit)] {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// maskFields masks fields in place, and parameters of the URLs in others. It adds to
// stats how many. A value whose name is unknown may be a credential.
func (s *Screen) maskFields(fields []*capstanv1.Header, stats *Stats) {
	for _, f := range fields {
		switch {
		case !s.suspects.mayHave(f.Name) && !f.NameUnknown:
		case s.mask.lists(f.Name) || f.NameUnknown && f.Value != "" && !s.mask.empty:
			f.Value = masked
			stats.MaskedHeaders++
		case isLink(f.Name):
			if s.query.parameters(&f.Value) {
				stats.MaskedQueries++
			}
			if s.mask.linkUserInfo(&f.Value) {
				stats.MaskedHeaders++
			}
		case isBearer(f.Name, f.Value) && !s.mask.empty:
			f.Value = maskBearer(f.Value)
			stats.MaskedHeaders++
		}
	}
}

const (
	// protocolField names the subprotocols of WebSocket that a client offers.
	protocolField = "Sec-WebSocket-Protocol"
	// bearerPrefix starts one that is a token, for Kubernetes: browsers can't send
	// Authorization with a handshake.
	bearerPrefix = "base64url.bearer.authorization.k8s.io."
)

// isBearer reports whether a field offers such a one.
func isBearer(name, value string) bool {
	return len(name) == len(protocolField) && strings.EqualFold(name, protocolField) && strings.Contains(value, bearerPrefix)
}

// maskBearer masks the tokens of a list of subprotocols.
func maskBearer(value string) string {
	list := strings.Split(value, ",")
	for i, one := range list {
		if at := strings.Index(one, bearerPrefix); at >= 0 {
			list[i] = one[:at+len(bearerPrefix)] + masked
		}
	}
	return strings.Join(list, ",")
}
