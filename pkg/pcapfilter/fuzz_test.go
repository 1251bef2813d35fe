package pcapfilter

import (
	"slices"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

// FuzzParse holds that the text of an expression parses to the same
// expression, and compiles to the same program for every link type or fails
// alike.
func FuzzParse(f *testing.F) {
	for _, e := range readExpressions(f) {
		f.Add(e)
	}
	f.Add(`ip proto \\tcp or (host 1 or not ::1) and - len << 3 % 7 != ip[ip[0]:4] ^ 1`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(e.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, e, err)
		}
		if again.String() != e.String() {
			t.Fatalf("%q became %q, then %q", text, e, again)
		}
		for _, linkType := range append(linkTypes, 999) {
			first, err1 := e.Compile(linkType, snapLen)
			second, err2 := again.Compile(linkType, snapLen)
			if (err1 == nil) != (err2 == nil) || !slices.Equal(first, second) {
				t.Fatalf("%s: %q became %q: %d instructions (%v), then %d (%v)", linkType, text, e, len(first), err1, len(second), err2)
			}
			if err1 == nil {
				if _, err := sockfilter.Compile(first); err != nil {
					t.Fatalf("%s: %q compiles to no valid program: %v", linkType, text, err)
				}
			}
		}
	})
}

// FuzzOptimise holds that the optimised program gives a frame the verdict of
// the plain one.
func FuzzOptimise(f *testing.F) {
	maker := newFrameMaker(4)
	for i, e := range append(readExpressions(f), combinations(100)...) {
		linkType := linkTypes[i%len(linkTypes)]
		f.Add(e, uint32(linkType), maker.frame(linkType), 100)
	}
	f.Fuzz(func(t *testing.T, text string, linkType uint32, data []byte, wireLen int) {
		e, err := Parse(text)
		if err != nil || len(text) > 1000 {
			return // what is not optimised may be far too long
		}
		optimised, err := e.Compile(capture.LinkType(linkType), snapLen)
		if err != nil {
			return
		}
		reference, err := sockfilter.Compile(plain(t, capture.LinkType(linkType), e))
		if err != nil {
			t.Fatalf("%q compiles to no valid program: %v", text, err)
		}
		got, want := uint32(0), reference.Run(data, wireLen)
		if ours, err := sockfilter.Compile(optimised); err != nil {
			t.Fatalf("%q compiles to no valid program: %v", text, err)
		} else if got = ours.Run(data, wireLen); got != want {
			t.Fatalf("%s: %q: %d, plain %d on %x", capture.LinkType(linkType), text, got, want, data)
		}
	})
}
