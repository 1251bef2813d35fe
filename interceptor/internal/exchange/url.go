package exchange

import "strings"

// found tells what of a text was masked.
type found uint8

const (
	foundCredential found = 1 << iota // what a field is for, or user information
	foundParameter                    // of a URL
)

// maskURL masks what a text that is a URL, or has some inside, tells of credentials: user
// information (RFC 3986 §3.2.1), parameters, wherever a server may look for them, and
// tokens. authority is what the text may start with. It allocates only for one that has such.
func (s *Screen) maskURL(text string, authority authorityForm) (string, found) {
	if !s.mayHide(text) {
		return text, 0
	}
	u := urlScan{Screen: s, text: text}
	return u.run(authority)
}

// maskCutURL is maskURL for a text whose end is missing, and maybe what would tell that the
// last thing in it is a credential.
func (s *Screen) maskCutURL(text string, authority authorityForm) (string, found) {
	u := urlScan{Screen: s, text: text, cut: true}
	return u.run(authority)
}

// authorityForm tells where an authority may stand in front of all else in a text.
type authorityForm uint8

const (
	noAuthority   authorityForm = iota
	bareAuthority               // as in Host; a URL may stand there, too
)

// mayHide tells of nearly all URLs that there is nothing to be masked.
func (s *Screen) mayHide(text string) bool {
	if strings.IndexByte(text, '@') >= 0 || strings.IndexByte(text, '%') >= 0 {
		return true
	}
	if dot := strings.IndexByte(text, '.'); dot >= len(tokenStart) && strings.IndexByte(text[dot+1:], '.') >= 0 && strings.Contains(text, tokenStart) {
		return true
	}
	for rest := text; ; {
		i := strings.IndexByte(rest, '=')
		if i < 0 {
			return false
		}
		from := i
		for from > 0 && isAlnum(rest[from-1]) {
			from--
		}
		if from == 0 || !separates(rest[from-1]) || s.query.names.mayHave(rest[from:i]) {
			return true // a name of letters is folded but for their case
		}
		rest = rest[i+1:]
	}
}

// separates reports whether c stands in front of a parameter's name.
func separates(c byte) bool { return c == '&' || c == '?' || c == ';' || c == '#' }

// urlScan is a walk along a text. What is percent-encoded, once or several times, is taken
// for what it stands for: URLs have others inside.
type urlScan struct {
	*Screen
	text    string
	out     []byte // what is told of text up to copied
	copied  int
	found   found
	cut     bool // its end is missing
	query   bool // behind the first ? or #
	encoded int  // where the character ended that did something last
}

func (u *urlScan) run(authority authorityForm) (string, found) {
	at, name, level, slashed := 0, 0, 0, -1
	if authority == bareAuthority && u.text != "" && u.text[0] != '/' && u.text[0] != '\\' {
		at = u.authority(0, 0, !strings.Contains(u.text, "://"))
	}
	for at < len(u.text) {
		if !marks[u.text[at]] {
			at++
			continue
		}
		c := charAt(u.text, at)
		next := at + c.width
		switch c.byte {
		case '?', '#', '&', ';':
			u.query = u.query || c.byte == '?' || c.byte == '#'
			name, level = next, c.level
		case '=':
			if name >= 0 {
				next = u.parameter(u.text[name:at], next, level)
				name = -1
			}
		case '/', '\\':
			if slashed == at {
				next = u.authority(next, c.level, false)
			}
			slashed = at + c.width
			if !u.query {
				name = -1
			}
		case tokenStart[0]:
			next = u.token(at)
		}
		if c.level > 0 {
			u.encoded = at + c.width
		}
		at = next
	}
	if u.found == 0 {
		return u.text, 0
	}
	return string(append(u.out, u.text[u.copied:]...)), u.found
}

// marks are the bytes that run does something about; read only.
var marks = func() (t [256]bool) {
	for _, c := range []byte("?#&;=/\\%" + tokenStart[:1]) {
		t[c] = true
	}
	return t
}()

// authority masks the user information of the authority that starts there, and returns
// where to go on. whole tells that no path follows.
func (u *urlScan) authority(from, level int, whole bool) (next int) {
	user, colon := from, false
	for at := from; at < len(u.text); {
		c := charAt(u.text, at)
		switch c.byte {
		case '@':
			user = at
		case ':':
			colon = true
		case '&':
			if u.query && c.level < max(level, 1) {
				return u.maskUser(from, user)
			}
		case '?', '#', '/':
			if c.level <= level && !(whole && c.byte == '/') {
				return u.maskUser(from, user)
			}
		}
		at += c.width
	}
	if u.cut && colon && user == from {
		user = len(u.text)
	}
	return u.maskUser(from, user)
}

func (u *urlScan) maskUser(from, to int) (next int) {
	if u.mask.empty || from == to || u.text[from:to] == masked {
		return from
	}
	return u.replace(from, to, foundCredential)
}

// parameter masks the value that starts there if its name says so, and returns where to go
// on. level is how often what is in front of the name is encoded: the value is encoded as
// often at the least, and so is what ends it.
func (u *urlScan) parameter(name string, value, level int) (next int) {
	if listed, looks := u.Screen.query.kind(name); !listed && (looks == nil || !u.looks(looks, value, level)) {
		return value
	}
	end := u.valueEnd(value, level, len(u.text))
	if end == value || u.text[value:end] == masked {
		return value
	}
	return u.replace(value, end, foundParameter)
}

// looks reports whether the value that starts there looks like l.
func (u *urlScan) looks(l *look, value, level int) bool {
	end := u.valueEnd(value, level, l.least)
	if u.cut && end == len(u.text) {
		return strings.HasPrefix(u.text[value:], l.prefix[:min(len(l.prefix), end-value)])
	}
	return end >= value+l.least && strings.HasPrefix(u.text[value:], l.prefix)
}

// valueEnd returns where the value ends that starts there, or where enough of it ends: at
// an &, and at nothing else that only some servers take for an end; in a path where that
// goes on.
func (u *urlScan) valueEnd(from, level, enough int) int {
	at := from
	for at < len(u.text) && at-from < enough {
		c := charAt(u.text, at)
		if c.level <= level && (c.byte == '&' || !u.query && (c.byte == '/' || c.byte == '?' || c.byte == '#' || c.byte == ';')) {
			break
		}
		at += c.width
	}
	return at
}

// tokenStart is what a JSON web token starts with: {" in base64 (RFC 7519 §3.1).
const tokenStart = "eyJ"

// token masks the JSON web token that starts there, if one does, and returns where to go
// on.
func (u *urlScan) token(from int) (next int) {
	inWord := from > 0 && from != u.encoded && isWord(u.text[from-1])
	if inWord || !u.Screen.query.jwt || !strings.HasPrefix(u.text[from:], tokenStart) {
		return from + 1
	}
	end := tokenEnd(u.text, from)
	if u.cut && end == from && strings.IndexFunc(u.text[from:], func(r rune) bool { return r >= 0x80 || !isWord(byte(r)) }) < 0 {
		end = len(u.text)
	}
	if end == from {
		return from + 1
	}
	return u.replace(from, end, foundParameter)
}

// tokenEnd returns where the JSON web token ends that may start there, from if none does. It
// has two dots at the least (RFC 7515 §7.1, RFC 7516 §7.1).
func tokenEnd(text string, from int) (end int) {
	dots := 0
	for end = from; end < len(text) && isWord(text[end]); end++ {
		if text[end] == '.' {
			dots++
		}
	}
	if dots < 2 {
		return from
	}
	return end
}

// isWord reports whether c may be in a JSON web token.
func isWord(c byte) bool { return isAlnum(c) || c == '-' || c == '_' || c == '.' }

func (u *urlScan) replace(from, to int, what found) (next int) {
	u.out = append(append(u.out, u.text[u.copied:from]...), masked...)
	u.copied, u.found = to, u.found|what
	return to
}

// char is a character of a text, as it is meant.
type char struct {
	byte  byte
	level int // how often it is percent-encoded, maxLevel at the most
	width int // in the text
}

// maxLevel bounds how deep URLs are told apart. It bounds the work, too, which grows with
// the length of a text and the levels.
const maxLevel = 4

// charAt returns the character of text there. A % that encodes nothing is itself.
func charAt(text string, at int) char {
	if text[at] != '%' {
		return char{text[at], 0, 1}
	}
	return encodedChar(text[at:])
}

// encodedChar is charAt for a text that starts with %.
func encodedChar(text string) char {
	n, level := 1, 1
	for len(text) >= n+4 && text[n] == '2' && text[n+1] == '5' && isHex(text[n+2]) && isHex(text[n+3]) {
		n, level = n+2, min(level+1, maxLevel)
	}
	if len(text) < n+2 || !isHex(text[n]) || !isHex(text[n+1]) {
		return char{text[0], 0, 1}
	}
	return char{unhex(text[n])<<4 | unhex(text[n+1]), level, n + 2}
}

func isHex(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 6 }

// unhex returns the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
