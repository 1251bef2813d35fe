package ndjson

import (
	"slices"
	"unicode/utf8"

	"github.com/segmentio/asm/base64"
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259 §7). What could drive a terminal
// that shows it is escaped too, and so are U+2028 and U+2029, which end a line in
// JavaScript; a byte that is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0 // s[from:i] is still to be copied
	for i := plain(s, 0); i < len(s); i = plain(s, i) {
		if c := s[i]; c < utf8.RuneSelf {
			dst = appendEscaped(append(dst, s[from:i]...), c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[from:i]...), "\uFFFD"...)
			from = i + size
		case isUnsafe(r):
			dst = append(append(dst, s[from:i]...), '\\', 'u', hexDigits[r>>12&0xf], hexDigits[r>>8&0xf], hexDigits[r>>4&0xf], hexDigits[r&0xf])
			from = i + size
		}
		i += size
	}
	return append(append(dst, s[from:]...), '"')
}

// isUnsafe reports whether r, which is not ASCII, is a control character that terminals
// obey (ECMA-48 §5.3), turns text around (UAX #9 §2), or ends a line.
func isUnsafe(r rune) bool {
	return r <= '\u009f' || r == '\u061c' || r == '\u200e' || r == '\u200f' || r >= '\u2028' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// plain returns the place of the next byte, from i on, that can't stand in a JSON
// string as it is, or may not be UTF-8.
func plain(s string, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		v := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, backslash, del := v^'"'*ones, v^'\\'*ones, v^0x7f*ones
		// Where a byte is less than ' ', or 0 in one of the three, the
		// subtraction sets its high bit; bytes above it may be wrong.
		if (v|(v-' '*ones)|(quote-ones)|(backslash-ones)|(del-ones))&highs != 0 {
			break
		}
	}
	for i < len(s) && s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

// appendEscaped appends the escape sequence of an ASCII character.
func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendBytes appends b as a JSON string in base64 (RFC 4648 §4).
func appendBytes(dst, b []byte) []byte {
	n := base64.StdEncoding.EncodedLen(len(b))
	dst = slices.Grow(dst, n+2)
	at := len(dst) + 1
	dst = dst[:at+n+1]
	dst[at-1], dst[at+n] = '"', '"'
	base64.StdEncoding.Encode(dst[at:at+n], b)
	return dst
}
