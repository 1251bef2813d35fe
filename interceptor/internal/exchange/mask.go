package exchange

import (
	"slices"
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// masked replaces the whole value of a credential field, so that not even its
// length is told.
const masked = "***"

// Fields by what their values are. Where a value starts like a URL it is taken for one
// whatever its field.
var (
	// urlFields hold URLs: where somebody came from, where to go, and what proxies tell of
	// the target that they were asked for.
	urlFields = []string{
		"Referer", "Location", "Content-Location", "Destination", "Refresh", "Link", "SourceMap", "Alt-Svc",
		"Content-Security-Policy", "Content-Security-Policy-Report-Only", "Reporting-Endpoints", "Report-To",
		"X-Original-URL", "X-Original-URI", "X-Original-Path", "X-Original-Query", "X-Rewrite-URL", "X-Request-URI",
		"X-Forwarded-Uri", "X-Forwarded-Url", "X-Forwarded-Path", "X-Forwarded-Query", "X-Forwarded-Prefix",
		"X-Envoy-Original-Path", "X-Accel-Redirect", "X-Ms-Copy-Source", "X-Ms-Rename-Source", "X-Amz-Copy-Source",
	}
	// hostFields hold an authority.
	hostFields = []string{
		hostField, "X-Host", "X-Forwarded-Host", "X-Forwarded-Server", "X-Original-Host", "X-HTTP-Host-Override",
		"X-Envoy-Original-Host", "Forwarded",
	}
)

// Names of fields with forms of their own.
const (
	hostField = "Host"
	linkField = "Link"
	// protocolField names the subprotocols of WebSocket that a client offers: since browsers
	// can't send Authorization with a handshake, tokens are among them.
	protocolField = "Sec-WebSocket-Protocol"
)

// maskFields masks fields in place. It adds to stats how many. A value whose name is
// unknown may be a credential.
func (s *Screen) maskFields(fields []*capstanv1.Header, stats *Stats) {
	for _, f := range fields {
		if f.NameUnknown {
			if f.Value != "" && !s.mask.empty {
				f.Value = masked
				stats.MaskedHeaders++
			}
		} else if s.suspects(f.Name, f.Value) {
			var what found
			f.Value, what = s.maskField(f.Name, f.Value)
			stats.count(what)
		}
	}
}

func (s *Stats) count(what found) {
	if what&foundCredential != 0 {
		s.MaskedHeaders++
	}
	if what&foundParameter != 0 {
		s.MaskedQueries++
	}
}

// suspects tells of nearly all fields that there is nothing to be done about them.
func (s *Screen) suspects(name, value string) bool {
	return s.names.mayHave(name) || value != "" && startsSuspect[value[0]]
}

// startsSuspect are the first bytes of values that maskValue may do something about; read
// only.
var startsSuspect = func() (t [256]bool) {
	for _, c := range []byte("/<hHwWbBnNe") {
		t[c] = true
	}
	return t
}()

// maskField returns what is told of a field's value.
func (s *Screen) maskField(name, value string) (string, found) {
	switch {
	case s.mask.listsField(name):
		return masked, foundCredential
	case value == "":
		return value, 0
	case s.hosts.lists(name):
		return s.maskURL(value, bareAuthority)
	case len(name) == len(linkField) && strings.EqualFold(name, linkField):
		return s.maskLinks(value)
	case s.urls.lists(name):
		return s.maskURL(value, noAuthority)
	case len(name) == len(protocolField) && strings.EqualFold(name, protocolField):
		return s.maskProtocols(value)
	}
	return s.maskValue(value)
}

// maskLinks masks the URLs of a Link (RFC 8288 §3) each by itself.
func (s *Screen) maskLinks(value string) (string, found) {
	if !s.mayHide(value) {
		return value, 0
	}
	var out strings.Builder
	var all found
	for rest := value; rest != ""; {
		i := indexOr(rest, `<>"`)
		text, what := s.maskURL(rest[:i], noAuthority)
		all |= what
		end := min(i+1, len(rest))
		out.WriteString(text)
		out.WriteString(rest[i:end])
		rest = rest[end:]
	}
	return out.String(), all
}

// maskValue masks the value of any field if it looks like a URL, or a credential.
func (s *Screen) maskValue(value string) (string, found) {
	switch {
	case !startsSuspect[value[0]]:
	case value[0] == '/', value[0] == '<', hasPrefixFold(value, "http"), hasPrefixFold(value, "ws"):
		return s.maskURL(value, noAuthority)
	case s.mask.empty:
	case tokenEnd(value, 0) == len(value) && strings.HasPrefix(value, tokenStart):
		return masked, foundCredential
	default:
		for _, scheme := range schemes {
			if hasPrefixFold(value, scheme) && isToken68(value[len(scheme):]) {
				return value[:len(scheme)] + masked, foundCredential
			}
		}
	}
	return value, 0
}

// schemes of authentication whose credentials are one word (RFC 9110 §11.4). Behind the
// name of a challenge's there are parameters, or a server's turn of the exchange.
var schemes = []string{"Bearer ", "Basic ", "Negotiate ", "NTLM "}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// isToken68 reports whether s is one word of base64, or of what is written like it (RFC
// 9110 §11.2).
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !isWord(s[i]) && s[i] != '~' && s[i] != '+' && s[i] != '/' {
			return false
		}
	}
	return s != ""
}

// maxProtocolLen is how long a subprotocol may be: longer than those that are
// registered, shorter than most tokens.
const maxProtocolLen = 48

// tokenProtocols start subprotocols that are tokens: of Kubernetes, of OpenAI, of AppSync.
var tokenProtocols = []string{"base64url.bearer.authorization.k8s.io.", "openai-insecure-api-key.", "openai-ephemeral-user-", "header-eyJ"}

// maskProtocols masks the tokens of a list of subprotocols: those that start or look like
// one, and those behind one that says so.
func (s *Screen) maskProtocols(value string) (string, found) {
	if s.mask.empty || value == "" {
		return value, 0
	}
	list := strings.Split(value, ",")
	var what found
	announced := false
	for i, one := range list {
		word := strings.TrimSpace(one)
		secret := announced && word != "" || len(word) > maxProtocolLen
		announced = s.announces(word)
		keep := 0
		if p := slices.IndexFunc(tokenProtocols, func(p string) bool { return strings.HasPrefix(word, p) }); p >= 0 {
			secret, keep = true, len(tokenProtocols[p])
		}
		if secret {
			at := strings.Index(one, word)
			list[i] = one[:at+keep] + masked
			what = foundCredential
		}
	}
	if what == 0 {
		return value, 0
	}
	return strings.Join(list, ","), what
}

// announces reports whether a subprotocol names what the next one is.
func (s *Screen) announces(word string) bool {
	listed, _ := s.query.exactly(foldParameter(word))
	return listed || s.mask.lists(word)
}

// maskBroken masks what of a malformed message somebody else may read as a field that is
// to be masked: names with what no name may have, and lines inside of a value.
func (s *Screen) maskBroken(fields []*capstanv1.Header, stats *Stats) {
	for _, f := range fields {
		what := foundCredential
		switch {
		case f.Value == masked:
			continue
		case s.mask.listsPart(f.Name):
			f.Value = masked
		default:
			f.Value, what = s.maskInside(f.Value)
		}
		stats.count(what)
	}
}

// maskInside masks a text from the first field in it on that is to be masked.
func (s *Screen) maskInside(text string) (string, found) {
	for at := range len(text) {
		if text[at] != ':' {
			continue
		}
		end := at
		for end > 0 && isBlank(text[end-1]) {
			end--
		}
		from := end
		for from > 0 && isWord(text[from-1]) {
			from--
		}
		if s.mask.listsField(text[from:end]) && text[at+1:] != masked {
			return text[:at+1] + masked, foundCredential
		}
	}
	return text, 0
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
