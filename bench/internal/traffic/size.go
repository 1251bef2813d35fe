package traffic

import (
	"fmt"
	"strconv"
	"strings"
)

// Size tells how long frames are. The zero value is the default of the plan's
// kind. Sizes can be compared with ==.
type Size struct {
	fixed int
	imix  bool
	file  string
}

// Fixed makes every frame n bytes long.
func Fixed(n int) Size { return Size{fixed: n} }

// IMIX mixes frames of 60, 590 and 1514 bytes as 7 to 4 to 1: the "simple
// Internet mix" of 64, 594 and 1518 bytes with the frame check sequence.
func IMIX() Size { return Size{imix: true} }

// FromFile takes the lengths of the frames of a capture file, in its order and
// over and over.
func FromFile(path string) Size { return Size{file: path} }

const filePrefix = "file:"

// ParseSize returns the size that [Size.String] made: a number, "imix" or
// "file:PATH"; the empty string is the default.
func ParseSize(s string) (Size, error) {
	if s == "" {
		return Size{}, nil
	}
	if s == "imix" {
		return IMIX(), nil
	}
	if path, ok := strings.CutPrefix(s, filePrefix); ok && path != "" {
		return FromFile(path), nil
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return Fixed(n), nil
	}
	return Size{}, fmt.Errorf("traffic: size %q is neither a number of bytes, imix nor file:PATH", s)
}

// String returns the form that [ParseSize] takes.
func (s Size) String() string {
	switch {
	case s.imix:
		return "imix"
	case s.file != "":
		return filePrefix + s.file
	case s.fixed != 0:
		return strconv.Itoa(s.fixed)
	}
	return ""
}

// MarshalText is [Size.String].
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is [ParseSize].
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}
