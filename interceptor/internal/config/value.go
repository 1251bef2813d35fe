package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as a number or with a unit: 4096, 64KiB.
type Size int64

// SizeType is the type of an [Option] that is one.
const SizeType = "size"

var sizeUnits = []struct {
	name  string
	bytes Size
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(b []byte) error {
	unit, text := Size(1), string(b)
	number := text
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > int64(1<<62/unit) {
		return fmt.Errorf("%q is no number of bytes: write one such as 4096, 64KiB, 100MiB or 1GiB", text)
	}
	*s = Size(n) * unit
	return nil
}

// Set is UnmarshalText for flags.
func (s *Size) Set(text string) error { return s.UnmarshalText([]byte(text)) }

// Type is what the help of a flag calls the value.
func (*Size) Type() string { return SizeType }

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(s/u.bytes), u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Secret is text that is never shown.
type Secret string

const hidden = "***"

// String hides the text from logs.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// MarshalText implements encoding.TextMarshaler: it hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
