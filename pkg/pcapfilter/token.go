package pcapfilter

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// tokenKind is what a token is.
type tokenKind uint8

const (
	tokenEnd      tokenKind = iota
	tokenWord               // a keyword or a name
	tokenName               // a name that was escaped with a backslash, so no keyword
	tokenNumber             // 80, 0x50, 0120, tcp-syn
	tokenIPv4               // dotted, with two to four parts
	tokenIPv6               //
	tokenEthernet           // a MAC address
	tokenSymbol             // an operator or a bracket; "and", "or", "not" too
)

// token is a piece of an expression.
type token struct {
	kind   tokenKind
	offset int    // in the expression, in bytes
	text   string // as written; of a symbol the canonical spelling; of a name without its backslash
	number uint32 // of a tokenNumber
	mac    [6]byte
	ip     netip.Addr // of a tokenIPv6
}

// is reports whether t is the symbol or the keyword text.
func (t *token) is(text string) bool {
	return (t.kind == tokenSymbol || t.kind == tokenWord) && t.text == text
}

// String describes t in an error.
func (t *token) String() string {
	if t.kind == tokenEnd {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// symbols are the operators, longest first, and what they mean.
var symbols = []struct{ text, canonical string }{
	{"&&", "and"}, {"||", "or"}, {">=", ">="}, {"<=", "<="}, {"!=", "!="}, {"==", "="}, {"<<", "<<"}, {">>", ">>"},
	{"!", "not"}, {"+", "+"}, {"-", "-"}, {"*", "*"}, {"/", "/"}, {"%", "%"}, {":", ":"}, {"[", "["}, {"]", "]"},
	{"<", "<"}, {">", ">"}, {"(", "("}, {")", ")"}, {"&", "&"}, {"|", "|"}, {"^", "^"}, {"=", "="},
}

// tokenize splits an expression. The last token is a tokenEnd.
func tokenize(s string) ([]token, error) {
	var tokens []token
	for i := 0; ; {
		for i < len(s) && strings.IndexByte(" \t\r\n", s[i]) >= 0 {
			i++
		}
		if i == len(s) {
			return append(tokens, token{kind: tokenEnd, offset: i}), nil
		}
		t, length, err := scan(s[i:], i)
		if err != nil {
			return nil, err
		}
		t.offset = i
		tokens = append(tokens, t)
		i += length
	}
}

// scan returns the token at the beginning of s, which is at offset of the
// expression, and its length in bytes.
func scan(s string, offset int) (token, int, error) {
	if s[0] == '\\' {
		n := 1
		for n < len(s) && strings.IndexByte(" !()\r\n\t", s[n]) < 0 {
			n++
		}
		if n == 1 {
			return token{}, 0, errorAt(offset, "a backslash with no name behind it")
		}
		return token{kind: tokenName, text: s[1:n]}, n, nil
	}
	if run := addressRun(s); run != "" {
		t, err := scanAddress(run, offset)
		return t, len(run), err
	}
	if word := wordRun(s); word != "" {
		t, err := scanWord(word, offset)
		return t, len(word), err
	}
	for _, y := range symbols {
		if strings.HasPrefix(s, y.text) {
			return token{kind: tokenSymbol, text: y.canonical}, len(y.text), nil
		}
	}
	return token{}, 0, errorAt(offset, "unexpected character %q", firstRune(s))
}

func firstRune(s string) rune {
	for _, r := range s {
		return r
	}
	return 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// addressRun returns the text that starts s and has the form of an address
// with colons, or "". A single colon separates offset and size in brackets.
func addressRun(s string) string {
	n, colons := 0, 0
	for n < len(s) && (isHex(s[n]) || s[n] == ':' || s[n] == '.' && colons > 0) {
		if s[n] == ':' {
			colons++
		}
		n++
	}
	if colons < 2 {
		return ""
	}
	return s[:n]
}

// scanAddress takes text with two or more colons for an IPv6 or MAC address.
func scanAddress(text string, offset int) (token, error) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
		return token{kind: tokenIPv6, text: text, ip: ip}, nil
	}
	if mac, ok := parseMAC(text); ok {
		return token{kind: tokenEthernet, text: text, mac: mac}, nil
	}
	return token{}, errorAt(offset, "%q is neither an IPv6 nor an Ethernet address", text)
}

// parseMAC parses six bytes of one or two hexadecimal digits, separated by
// colons, hyphens or dots, or three groups or one of four and twelve digits.
func parseMAC(text string) (mac [6]byte, ok bool) {
	for _, separator := range []string{":", "-", "."} {
		parts := strings.Split(text, separator)
		if len(parts) != len(mac) {
			continue
		}
		for i, p := range parts {
			if len(p) > 2 {
				return mac, false
			}
			n, err := strconv.ParseUint(p, 16, 8)
			if err != nil {
				return mac, false
			}
			mac[i] = byte(n)
		}
		return mac, true
	}
	if len(text) == 12 {
		text = text[:4] + "." + text[4:8] + "." + text[8:]
	}
	if len(text) != len("0123.4567.89ab") || strings.Count(text, ".") != 2 {
		return mac, false
	}
	address, err := net.ParseMAC(text)
	if err != nil || len(address) != len(mac) {
		return mac, false
	}
	return [6]byte(address), true
}

// wordRun returns the word that starts s: letters and digits, with dots,
// hyphens and underscores inside.
func wordRun(s string) string {
	n := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isAlphanumeric(c), c == '.' && i > 0:
			n = i + 1
		case (c == '-' || c == '_') && i > 0:
		default:
			return s[:n]
		}
	}
	return s[:n]
}

// scanWord tells what a word is.
func scanWord(word string, offset int) (token, error) {
	if mac, ok := parseMAC(word); ok {
		return token{kind: tokenEthernet, text: word, mac: mac}, nil
	}
	if isNumeric(word) {
		n, err := strconv.ParseUint(word, 0, 32)
		if err != nil || strings.Contains(word, "o") {
			return token{}, errorAt(offset, "%q is no number of 32 bits", word).
				hint("a leading 0 means octal, 0x hexadecimal")
		}
		return token{kind: tokenNumber, text: word, number: uint32(n)}, nil
	}
	if isDotted(word) {
		return token{kind: tokenIPv4, text: word}, nil
	}
	if n, ok := namedNumbers[word]; ok {
		return token{kind: tokenNumber, text: word, number: n}, nil
	}
	switch word {
	case "and", "or", "not":
		return token{kind: tokenSymbol, text: word}, nil
	}
	return token{kind: tokenWord, text: word}, nil
}

// isNumeric reports whether word is written as a number: decimal digits, or
// hexadecimal ones behind 0x.
func isNumeric(word string) bool {
	if len(word) > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X') {
		for i := 2; i < len(word); i++ {
			if !isHex(word[i]) {
				return false
			}
		}
		return true
	}
	return isDecimal(word)
}

func isDecimal(word string) bool {
	for i := range len(word) {
		if word[i] < '0' || word[i] > '9' {
			return false
		}
	}
	return word != ""
}

// isDotted reports whether word is two to four numbers with dots between.
func isDotted(word string) bool {
	parts := strings.Split(word, ".")
	if len(parts) < 2 || len(parts) > 4 {
		return false
	}
	for _, p := range parts {
		if !isDecimal(p) {
			return false
		}
	}
	return true
}
