package rpcap

import (
	"strings"
	"testing"

	"capstan/pkg/capture"
)

func TestParseDevice(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Device
		text string // of String, if it isn't in
	}{
		{"eth0", Device{Name: "eth0"}, ""},
		{"", Device{}, ""},
		{`\Device\NPF_{X}`, Device{Name: `\Device\NPF_{X}`}, ""},
		{"eth0?dir=in", Device{Name: "eth0", Direction: capture.DirectionIn}, ""},
		{"eth0?dir=out", Device{Name: "eth0", Direction: capture.DirectionOut}, ""},
		{"eth0?dir=both", Device{Name: "eth0"}, "eth0"},
		{"any?self=include", Device{Name: "any", IncludeSelf: true}, ""},
		{"any?self=exclude", Device{Name: "any"}, "any"},
		{"any?self=include&dir=%69n", Device{Name: "any", Direction: capture.DirectionIn, IncludeSelf: true}, "any?dir=in&self=include"},
	} {
		got, err := ParseDevice(tc.in)
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.in, got, err, tc.want)
		}
		text := tc.text
		if text == "" {
			text = tc.in
		}
		if got.String() != text {
			t.Errorf("%s: text %s, want %s", tc.in, got, text)
		}
	}
}

func TestParseDeviceRefuses(t *testing.T) {
	const valid = "valid are dir (in, out or both), self (exclude or include)"
	for _, tc := range []struct{ in, want string }{
		{"eth0?", valid},
		{"eth0?dir=in&", valid},
		{"eth0?colour=red", `unknown parameter "colour"; ` + valid},
		{"eth0?Dir=in", `unknown parameter "Dir"`},
		{"eth0?dir=up", `bad value "up" of parameter "dir": want in, out or both`},
		{"eth0?dir", `bad value "" of parameter "dir"`},
		{"eth0?dir=%zz", `bad value "%zz" of parameter "dir"`},
		{"eth0?self=yes", `want exclude or include`},
		{"eth0?dir=in&dir=in", `parameter "dir" appears twice`},
		{"lo\x00x", "NUL"},
		{"lo\x00x?dir=in", "NUL"},
	} {
		if got, err := ParseDevice(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %+v, %v, want an error with %q", tc.in, got, err, tc.want)
		}
	}
}

// FuzzParseDevice holds that the text of a device parses to the same device.
func FuzzParseDevice(f *testing.F) {
	for _, s := range []string{"eth0", "any?dir=in&self=include", "?", "a?dir=%6F%75%74", "a?b", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDevice(s)
		if err != nil {
			return
		}
		if again, err := ParseDevice(d.String()); err != nil || again != d {
			t.Fatalf("%q: %+v became %q, %+v, %v", s, d, d, again, err)
		}
		if len(d.String()) > len(s) {
			t.Fatalf("%q: text %q is longer", s, d)
		}
	})
}
