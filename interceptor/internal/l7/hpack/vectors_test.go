package hpack

import (
	"encoding/hex"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"capstan/interceptor/internal/l7/vectortest"
)

// story is one file of http2jp/hpack-test-case: the blocks of one direction.
type story struct {
	Cases []struct {
		Wire    string
		Headers []map[string]string
	}
}

// TestCase78Vectors decodes what other implementations encoded, among them one
// that changes the size of its table, whole and with the first blocks missing.
func TestCase78Vectors(t *testing.T) {
	blocks, known, fields := 0, 0, 0
	for name, text := range vectortest.JSON(t, "../../../..", "hpack-test-case-subset") {
		var s story
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for skip := range min(len(s.Cases), 8) {
			var d Decoder
			var scratch Scratch
			if skip == 0 {
				d.Start()
			}
			for i, c := range s.Cases[skip:] {
				wire, err := hex.DecodeString(c.Wire)
				if err != nil {
					t.Fatal(err)
				}
				if len(wire) == 0 {
					continue // a raw story has no encoding
				}
				blocks++
				got, cut, err := d.Decode(nil, wire, Limits{}, &scratch)
				if err != nil || cut || len(got) != len(c.Headers) {
					t.Fatalf("%s block %d, joined at %d: %d fields, want %d, cut %v, error %v", name, i+skip, skip, len(got), len(c.Headers), cut, err)
				}
				for j, want := range c.Headers {
					for wantName, wantValue := range want {
						right, whole := judge(got[j], wantName, wantValue)
						if !right || skip == 0 && !whole {
							t.Errorf("%s block %d, joined at %d: %+v, want %s: %s", name, i+skip, skip, got[j], wantName, wantValue)
						}
						if skip > 0 {
							fields++
							if whole {
								known++
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d blocks; joined 1 to 7 blocks late, %.1f %% of %d fields are known, none wrong", blocks, 100*float64(known)/float64(fields), fields)
}

// judge tells whether f says nothing but the truth, and whether it says all.
func judge(f Field, name, value string) (right, whole bool) {
	nameRight := f.Name == name || f.NameUnknown && f.Name == ""
	valueRight := f.Value == value || f.ValueUnknown && f.Value == ""
	told := f.UTF8 == (utf8.ValidString(f.Name) && utf8.ValidString(f.Value)) && f.Static == firstWith(f.Name)
	return nameRight && valueRight && told, !f.NameUnknown && !f.ValueUnknown
}

// firstWith returns the index of the first entry of the static table with that
// name, 0 if there is none.
func firstWith(name string) uint8 {
	for i := 1; i <= staticLen; i++ {
		if static[i].Name == name {
			return uint8(i)
		}
	}
	return 0
}
