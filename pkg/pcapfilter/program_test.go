package pcapfilter

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func runRaw(t testing.TB, program []bpf.RawInstruction, data []byte) uint32 {
	t.Helper()
	valid, err := sockfilter.Compile(program)
	if err != nil {
		t.Fatal(err)
	}
	return valid.Run(data, len(data))
}

// plain compiles without optimisation.
func plain(t testing.TB, linkType capture.LinkType, e *Expression) []bpf.RawInstruction {
	t.Helper()
	c := always
	if e.root != nil {
		var err error
		if c, err = e.root.generate(newGenerator(linkType.Canonical())); err != nil {
			t.Fatal(err)
		}
	}
	g := newGraph()
	program, err := emit(g.build(c, g.accept, g.refuse), snapLen)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestOptimiserIsExact holds that the optimised program gives every frame the
// verdict of the plain one, frames too short for a test included.
func TestOptimiserIsExact(t *testing.T) {
	before, after := 0, 0
	for _, linkType := range linkTypes {
		frames := newFrameMaker(2).frames(linkType, 500)
		for _, text := range append(readExpressions(t), combinations(200)...) {
			e, err := Parse(text)
			if err != nil {
				continue
			}
			optimised, err := e.Compile(linkType, snapLen)
			if err != nil {
				continue
			}
			reference := plain(t, linkType, e)
			before, after = before+len(reference), after+len(optimised)
			if len(optimised) > len(reference) {
				t.Errorf("%s: %q: %d instructions became %d", linkType, text, len(reference), len(optimised))
			}
			ours, err := sockfilter.Compile(optimised)
			if err != nil {
				t.Fatal(err)
			}
			want, err := sockfilter.Compile(reference)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range frames {
				if got, want := ours.Run(f.data, f.wireLen), want.Run(f.data, f.wireLen); got != want {
					t.Fatalf("%s: %q: %d, plain %d on %x", linkType, text, got, want, f.data)
				}
			}
		}
	}
	t.Logf("%d instructions became %d", before, after)
	if after > before*9/10 {
		t.Error("the optimiser hardly does anything")
	}
}

// TestLongList holds that a filter with thousands of addresses fits, reaches
// over long jumps, and finds each of its addresses.
func TestLongList(t *testing.T) {
	const count = 1900
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/256, i%256) }
	list := make([]string, count)
	for i := range list {
		list[i] = address(i)
	}
	for n, format := range []string{"host (%s)", "not host (%s)", "tcp and host (%s)", "host (%s) and tcp", "not (host (%s) and udp)"} {
		text := fmt.Sprintf(format, strings.Join(list, " or "))
		negated := strings.HasPrefix(text, "not")
		program, err := compile(t, capture.LinkTypeEthernet, text)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		f := unhex(t, "020000000002 020000000001 0800 4500001c0000000040060000 00000000 00000000 0000000000000000")
		if strings.Contains(format, "udp") {
			f[23] = 17
		}
		for i := range count + 3 {
			if n > 0 && i%16 != 0 && i < count-2 {
				continue // the other forms have the same list
			}
			for _, at := range []int{26, 30} {
				copy(f[26:], make([]byte, 8))
				copy(f[at:], []byte{10, byte(i / 256), byte(i % 256), 1})
				if got, want := program.Run(f, len(f)) != 0, (i < count) != negated; got != want {
					t.Fatalf("%s: address %s at %d: %v, want %v", format, address(i), at, got, want)
				}
			}
		}
	}
	list = append(list, list...)
	for i := range list[count:] {
		list[count+i] = strings.Replace(list[i], "10.", "11.", 1)
	}
	_, err := compile(t, capture.LinkTypeEthernet, "host ("+strings.Join(list, " or ")+")")
	if err == nil || !strings.Contains(err.Error(), "too long a program") {
		t.Errorf("%d addresses: %v, want an error", len(list), err)
	}
}

// combinations returns n expressions made of those of the list.
func combinations(n int) []string {
	f := newFrameMaker(3)
	atoms := []string{
		"ip", "ip6", "arp", "tcp", "udp", "icmp", "vlan", "vlan 10", "host 10.0.0.1", "src host 10.0.0.1", "dst 10.0.0.2", "net 10.0.0.0/8",
		"host 2001:db8::1", "src net 2001:db8::/32", "port 80", "tcp port 80", "udp dst port 53", "portrange 80-90", "tcp[13] & 2 != 0",
		"ip[8] < 64", "ip[6:2] & 0x1fff = 0", "len > 60", "ip[2:2] > 60", "ether[0] & 1 = 0", "ip6[6] = 58", "icmp6", "ether host 02:00:00:00:00:01",
		"mpls", "pppoes", "ip proto 6", "ip6 proto 17", "arp[7] = 2", "not port 443", "ip[9] = 6", "ip[9] != 17", "ip[9] > 6", "ip[9] <= 17",
		"ip[6] & 0x20 = 0", "ip[6] & 0x60 != 0",
	}
	var expression func(depth int) string
	expression = func(depth int) string {
		if depth == 0 {
			return pick(f, atoms...)
		}
		switch f.IntN(5) {
		case 0:
			return "not (" + expression(depth-1) + ")"
		case 1:
			return "(" + expression(depth-1) + ") " + pick(f, "and", "or") + " " + expression(depth-1)
		}
		return expression(depth-1) + " " + pick(f, "and", "or") + " " + pick(f, "", "not ") + pick(f, atoms...)
	}
	list := make([]string, n)
	for i := range list {
		list[i] = expression(1 + f.IntN(5))
	}
	return list
}
