package packet

import (
	"slices"
	"strings"
	"testing"
)

// The cases of the catalogue that decoding answers alone, by their numbers.

// runCases runs the decode cases whose names start with one of prefixes.
func runCases(t *testing.T, prefixes ...string) {
	t.Helper()
	for _, prefix := range prefixes {
		found := false
		for _, c := range allCases() {
			if strings.HasPrefix(c.name, prefix) {
				found = true
				t.Run(c.name, func(t *testing.T) { runCase(t, &c) })
			}
		}
		if !found {
			t.Errorf("no case %q", prefix)
		}
	}
}

func TestCase39SuperSegments(t *testing.T) {
	runCases(t, "ipv4 total 0", "big tcp", "jumbo", "inner super-segment")
}

func TestCase40Padding(t *testing.T) { runCases(t, "padding", "cut in the padding") }

func TestCase45IPv6Chains(t *testing.T) {
	runCases(t, "hop-by-hop", "ah", "atomic fragment", "ipv6 first fragment", "ipv6 later fragment", "eight extensions", "nine extensions", "extension")
}

func TestCase46Options(t *testing.T) {
	runCases(t, "tcp options", "cut in the tcp options", "tcp data offset")
}

// TestCase47MultipathTCP decodes the options of MPTCP: a subflow is a TCP
// stream like any other, and how its bytes are mapped is not looked at.
func TestCase47MultipathTCP(t *testing.T) {
	capable := []byte{30, 12, 0x01, 0x81, 1, 2, 3, 4, 5, 6, 7, 8}
	dss := slices.Concat([]byte{30, 20, 0x20, 0x05}, make([]byte, 16))
	for _, options := range [][]byte{capable, dss, slices.Concat(dss, []byte{1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9})} {
		c := decodeCase{name: "mptcp", link: 228, data: ip4(6, -1, nil, tcp(options, payload)), want: OutcomeTCP, payload: payload}
		runCase(t, &c)
	}
}
