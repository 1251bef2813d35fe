package rpcap

import (
	"strings"
	"testing"
	"time"

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
		{"any?if=veth*,eth[01]&not-if=lo", Device{Name: "any", If: "veth*,eth[01]", NotIf: "lo"}, ""},
		{"eth0?shard=3/4&flows=1/10", Device{Name: "eth0", Shard: 3, Shards: 4, Flows: 10}, ""},
		{"eth0?shard=0/1&flows=1/1&dedup=0s&filter=", Device{Name: "eth0"}, "eth0"},
		{"eth0?cutoff=64k", Device{Name: "eth0", Cutoff: 64 << 10}, ""},
		{"eth0?cutoff=1048576", Device{Name: "eth0", Cutoff: 1 << 20}, "eth0?cutoff=1M"},
		{"eth0?cutoff=1024G", Device{Name: "eth0", Cutoff: 1 << 40}, ""},
		{"eth0?cutoff=1500", Device{Name: "eth0", Cutoff: 1500}, ""},
		{"eth0?dedup=10ms", Device{Name: "eth0", Dedup: 10 * time.Millisecond}, ""},
		{"eth0?dedup=1500us", Device{Name: "eth0", Dedup: 1500 * time.Microsecond}, ""},
		{"eth0?dedup=2000ms", Device{Name: "eth0", Dedup: 2 * time.Second}, "eth0?dedup=2s"},
		{"any?link=sll2", Device{Name: "any", LinkType: capture.LinkTypeLinuxSLL2}, ""},
		{"any?link=sll", Device{Name: "any", LinkType: capture.LinkTypeLinuxSLL}, ""},
		{"eth0?filter=tcp+port+80", Device{Name: "eth0", Filter: "tcp port 80"}, ""},
		{"eth0?filter=tcp[13]%262!=0%2B1", Device{Name: "eth0", Filter: "tcp[13]&2!=0+1"}, ""},
		{"eth0?filter=tcp port 80", Device{Name: "eth0", Filter: "tcp port 80"}, "eth0?filter=tcp+port+80"},
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
	const valid = "valid are if, not-if, dir, shard, flows, cutoff, dedup, link, self, filter"
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
		{"any?if=", `bad value "" of parameter "if"`},
		{"any?if=eth0,", `parameter "if": want interface names`},
		{"any?if=[", `bad value "[" of parameter "if"`},
		{"any?not-if=a/b", `parameter "not-if"`},
		{"any?if=" + strings.Repeat("x", 1025), `parameter "if"`},
		{"eth0?shard=4/4", `want I/N, 0 ≤ I < N ≤ 256`},
		{"eth0?shard=0/0", `want I/N`},
		{"eth0?shard=0/257", `want I/N`},
		{"eth0?shard=-1/4", `want I/N`},
		{"eth0?shard=1", `want I/N`},
		{"eth0?flows=2/10", `want 1/N, N ≤ 65536`},
		{"eth0?flows=1/65537", `want 1/N`},
		{"eth0?cutoff=0", `want bytes`},
		{"eth0?cutoff=-1", `want bytes, such as 4096, 64k or 10M`},
		{"eth0?cutoff=64K", `want bytes`},
		{"eth0?cutoff=1025G", `want bytes`},
		{"eth0?cutoff=9223372036854775807G", `want bytes`},
		{"eth0?cutoff=k", `want bytes`},
		{"eth0?dedup=10", `want a time up to 10s, such as 500us or 10ms`},
		{"eth0?dedup=11s", `want a time`},
		{"eth0?dedup=1.5s", `want a time`},
		{"any?link=ether", `want sll or sll2`},
		{"eth0?filter=a%00b", `parameter "filter"`},
		{"lo\x00x", "NUL"},
		{"lo\x00x?dir=in", "NUL"},
	} {
		if got, err := ParseDevice(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %+v, %v, want an error with %q", tc.in, got, err, tc.want)
		}
	}
}

func TestMatchInterface(t *testing.T) {
	for _, tc := range []struct {
		device, name string
		want         bool
	}{
		{"any", "eth0", true},
		{"any?if=eth0", "eth0", true},
		{"any?if=eth0", "eth01", false},
		{"any?if=veth*,eth?", "veth12ab", true},
		{"any?if=veth*,eth?", "eth1", true},
		{"any?if=veth*,eth?", "lo", false},
		{"any?not-if=lo,veth*", "lo", false},
		{"any?not-if=lo,veth*", "eth0", true},
		{"any?if=veth*&not-if=veth0*", "veth1", true},
		{"any?if=veth*&not-if=veth0*", "veth01", false},
		{"any?if=*", "", true},
	} {
		d, err := ParseDevice(tc.device)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.MatchInterface(tc.name); got != tc.want {
			t.Errorf("%s, %q: %v", tc.device, tc.name, got)
		}
	}
}

// FuzzParseDevice holds that the text of a device parses to the same device.
func FuzzParseDevice(f *testing.F) {
	for _, s := range []string{
		"eth0", "any?dir=in&self=include", "?", "a?dir=%6F%75%74", "a?b", "a\x00", "any?if=veth*&not-if=lo,eth?", "a?shard=1/2&flows=1/3",
		"a?cutoff=1k&dedup=1000us&link=sll2&filter=tcp[0]%3D1+%26+2",
	} {
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
