package exchange

import (
	"slices"
	"strings"
)

// parameterSet answers whether a parameter of a URL is to be masked.
type parameterSet struct {
	names *maskSet // folded
	looks []look
	jwt   bool // whatever looks like a JSON web token
	empty bool // nothing is to be masked
}

// look is a parameter that is to be masked if its value looks like what is secret.
type look struct {
	name   string // folded
	prefix string // of the value
	least  int    // bytes of the value
}

// newParameterSet returns the set of names, among which are endings and exceptions, as in
// newMaskSet, and looks: see [DefaultMaskQuery].
func newParameterSet(names []string) *parameterSet {
	p := &parameterSet{empty: len(names) == 0}
	var plain []string
	for _, n := range names {
		n = strings.TrimSpace(n)
		name, value, looked := strings.Cut(n, "=")
		folded := foldParameter(name)
		switch {
		case strings.HasPrefix(n, notThat):
			plain = append(plain, notThat+folded)
		case n == maskJWT:
			p.jwt = true
		case looked:
			prefix := value[:min(len(value), indexOr(value, "?*"))]
			p.looks = append(p.looks, look{folded, prefix, len(strings.TrimSuffix(value, "*"))})
		default:
			plain = append(plain, folded)
		}
	}
	p.names = newMaskSet(plain)
	for i := range p.looks { // mayHave is asked first
		p.names.hint(p.looks[i].name)
	}
	return p
}

func indexOr(s, chars string) int {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return i
	}
	return len(s)
}

// kind tells what a parameter is by its name as it was sent, or by a part of a nested name,
// as a[b], a.b and a:b: one to be masked, or one to be masked if it looks like that.
func (p *parameterSet) kind(name string) (listed bool, looks *look) {
	var room [64]byte
	folded, part := room[:0], 0
	for at := 0; !listed && at < len(name); {
		c := charAt(name, at)
		at += c.width
		switch {
		case c.byte == '_' || c.byte == '-':
		case isAlnum(c.byte) || c.byte >= 0x80:
			folded = append(folded, foldName[c.byte])
		default:
			listed, looks = p.either(folded[part:], looks)
			part = len(folded)
		}
	}
	if !listed {
		listed, looks = p.either(folded[part:], looks)
	}
	if !listed && part > 0 {
		listed, looks = p.either(folded, looks)
	}
	return listed, looks
}

// either is exactly, or what is known of another part.
func (p *parameterSet) either(part []byte, before *look) (listed bool, looks *look) {
	if len(part) == 0 {
		return false, before
	}
	if listed, looks = p.exactly(string(part)); looks == nil {
		looks = before
	}
	return listed, looks
}

// exactly is kind for a name that is folded.
func (p *parameterSet) exactly(name string) (listed bool, looks *look) {
	if !p.names.mayHave(name) || p.names.excepts(name) {
		return false, nil
	}
	if p.names.names(name) || p.names.endsListed(name) && !slices.Contains(pages, name) {
		return true, nil
	}
	for i := range p.looks {
		if p.looks[i].name == name {
			return false, &p.looks[i]
		}
	}
	return false, nil
}

// pages are the parameters that end like what is secret, but tell where a list goes on.
var pages = []string{"pagetoken", "nextpagetoken", "nexttoken", "continuationtoken", "synctoken", "paginationtoken"}

// foldParameter returns the name of a parameter as it is compared: without capitals and
// what separates words, which servers write in many ways.
func foldParameter(name string) string {
	var folded []byte
	for i := range len(name) {
		if c := name[i]; isAlnum(c) || c >= 0x80 || c == '*' {
			folded = append(folded, foldName[c])
		}
	}
	return string(folded)
}

func isAlnum(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 26 }
