package ndjson

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
)

// byByte is appendString without a short cut.
func byByte(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '\uFFFD' && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteString("\uFFFD")
		case r < ' ' || r == '"' || r == '\\' || r == 0x7f:
			b.Write(appendEscaped(nil, byte(r)))
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// TestStrings: each byte at each place of a word, among others that are plain, and
// random ones.
func TestStrings(t *testing.T) {
	check := func(s string) {
		if got, want := string(appendString(nil, s)), byByte(s); got != want {
			t.Fatalf("%q gives %s, want %s", s, got, want)
		}
	}
	for c := range 256 {
		for at := range 20 {
			b := []byte("some plain text of !~}")
			b[at] = byte(c)
			check(string(b))
			b[at+1] = byte(c)
			check(string(b))
		}
	}
	for r := range rune(0x2100) {
		check("a" + string(r) + "b")
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		b := make([]byte, rnd.IntN(40))
		for i := range b {
			b[i] = byte(rnd.IntN(256) >> rnd.IntN(2))
		}
		check(string(b))
		check(string(b) + "\u2028é\u2029\uFFFD")
	}
}

// FuzzStrings holds strings to those made byte by byte.
func FuzzStrings(f *testing.F) {
	f.Add("plain text", []byte("plain text"))
	f.Add("\"\\\x7f\x00é\xff\u2028", []byte{0, 0xff})
	f.Fuzz(func(t *testing.T, s string, b []byte) {
		if got, want := string(appendString(nil, s)), byByte(s); got != want {
			t.Errorf("%q gives %s, want %s", s, got, want)
		}
		if got, want := string(appendBytes(nil, b)), `"`+base64.StdEncoding.EncodeToString(b)+`"`; got != want {
			t.Errorf("% x gives %s, want %s", b, got, want)
		}
	})
}

// TestBase64 holds it to the library's at all lengths.
func TestBase64(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 1))
	for n := range 300 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		if got, want := string(appendBytes([]byte("before"), b)), `before"`+base64.StdEncoding.EncodeToString(b)+`"`; got != want {
			t.Fatalf("%d bytes give %s, want %s", n, got, want)
		}
	}
}
