package pcapfilter

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"capstan/pkg/capture"
)

// TestString holds that what is carried over is written out.
func TestString(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{" \t\n", ""},
		{"tcp", "tcp"},
		{"tcp port 80 or 443", "tcp port 80 or tcp port 443"},
		{"tcp src port http or not 443", "tcp src port 80 or not tcp src port 443"},
		{"host (10.0.0.1 or 10.0.0.2) and ip6", "host 10.0.0.1 or host 10.0.0.2 and ip6"},
		{"src or dst 10.1", "net 10.1.0.0 mask 255.255.0.0"},
		{"dst and src net 10.0.0.0/8", "src and dst net 10.0.0.0 mask 255.0.0.0"},
		{"net 2001:db8::/32 or ::1", "net 2001:db8::/32 or net ::1"},
		{"a" + "rp or tcp and (udp or icmp)", "arp or tcp and (udp or icmp)"},
		{"(arp or tcp) and udp", "arp or tcp and udp"},
		{"arp or (tcp and udp)", "arp or (tcp and udp)"},
		{"! tcp && ! (udp || ip)", "not tcp and not (udp or ip)"},
		{"tcp[0] == 1 + 2 * 3", "tcp[0] = (1 + (2 * 3))"},
		{"tcp[(1 + 2) * 3 : 2] & 7 != - len", "(tcp[((1 + 2) * 3):2] & 7) != (- len)"},
		{"1 | 2 ^ 3 & 4 << 5 + 6 % 7 = len", "(1 | (2 ^ (3 & (4 << (5 + (6 % 7)))))) = len"},
		{"1 - 2 - 3 = len", "((1 - 2) - 3) = len"},
		{"less 64 or greater 0x100", "len <= 64 or len >= 256"},
		{"byte 3 & 1", "(ether[3] & 1) != 0"},
		{"byte 3 > 1", "ether[3] > 1"},
		{"vlan 10 and vlan and mpls (7) and pppoes and pppoed", "vlan 10 and vlan and mpls 7 and pppoes and pppoed"},
		{"ether host 2:0:0:0:0:1 or 02-00-00-00-00-02", "ether host 02:00:00:00:00:01 or ether host 02:00:00:00:00:02"},
		{"ip proto tcp or \\udp or 47", "ip proto 6 or ip proto 17 or ip proto 47"},
		{"ether proto ip6 or 0x42", "ether proto 34525 or ether proto 66"},
		{"portrange 90-http", "portrange 80-90"},
		{"portrange smtp-http", "tcp portrange 25-80"},
		{"fddi multicast or ip6 multicast or broadcast", "ether multicast or ip6 multicast or broadcast"},
		{"inbound or outbound or ifindex 3", "inbound or outbound or ifindex 3"},
		{"tcp port 80 or (udp port 53) or 443", "tcp port 80 or udp port 53 or tcp port 443"},
		{"tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn", "(tcp[13] & (2 | 16)) = 2"},
	} {
		e, err := Parse(tc.in)
		if err != nil {
			t.Errorf("%q: %v", tc.in, err)
		} else if e.String() != tc.want {
			t.Errorf("%q: %q, want %q", tc.in, e, tc.want)
		}
	}
}

// TestErrors holds that errors say where and what to do.
func TestErrors(t *testing.T) {
	const ethernet = capture.LinkTypeEthernet
	for _, tc := range []struct {
		linkType capture.LinkType
		in       string
		offset   int
		want     string // part of the text
	}{
		{ethernet, "10.0.0.1", 0, `"10.0.0.1" needs to be told what it is at position 1 (host, net, port, portrange or proto)`},
		{ethernet, "ip or 10.0.0.1", 6, "needs to be told what it is"},
		{ethernet, "tcp 80", 4, `"80" behind "tcp" needs to be told what it is`},
		{ethernet, "host www.example.org", 5, "names are not looked up"},
		{ethernet, "host tcp", 5, `"tcp" where an address was expected`},
		{ethernet, "tcp port 80 or", 14, "the end where a test was expected"},
		{ethernet, "tcp port 80 udp", 12, `unexpected "udp" at position 13 (join tests by and, or)`},
		{ethernet, "(tcp", 4, `the end where ")" was expected`},
		{ethernet, "tcp)", 3, `unexpected ")"`},
		{ethernet, "and tcp", 0, `"and" where a test was expected`},
		{ethernet, "port", 4, "the end where a port was expected"},
		{ethernet, "port 65536", 5, "port 65536 is more than 65535"},
		{ethernet, "port nosuch", 5, `unknown port "nosuch" at position 6 (give its number)`},
		{ethernet, "icmp port 80", 10, "icmp has no ports at position 11 (tcp, udp and sctp have)"},
		{ethernet, "udp port http", 9, `service "http" is one of tcp`},
		{ethernet, "portrange 1-99999", 10, "port 99999 is more than 65535"},
		{ethernet, "net 10.0.0.1/8", 4, "has bits beyond its mask at position 5 (the network is 10.0.0.0)"},
		{ethernet, "net 10.0.0.0/33", 13, "no prefix length of IPv4"},
		{ethernet, "net 10.0.0.0 mask 255", 18, "no network mask"},
		{ethernet, "host 10.0.0.0/8", 5, "a network where a host was expected"},
		{ethernet, "host 10.0.0.256", 5, `"10.0.0.256" is no IPv4 address at position 6 (no part may exceed 255)`},
		{ethernet, "net 2001:db8::1/32", 4, "has bits beyond its prefix at position 5 (the network is 2001:db8::/32)"},
		{ethernet, "net 2001:db8::/129", 15, "no prefix length of IPv6"},
		{ethernet, "host 2001:db8:::1", 5, "neither an IPv6 nor an Ethernet address"},
		{ethernet, "host 02:00:00:00:00:01", 5, "is no IP address at position 6 (ether host 02:00:00:00:00:01)"},
		{ethernet, "ip6 host 10.0.0.1", 9, "10.0.0.1 is no IPv6 address"},
		{ethernet, "arp host ::1", 9, "arp has no IPv6 addresses"},
		{ethernet, "tcp host 10.0.0.1", 9, "tcp has no IP addresses at position 10 (join: tcp and host 10.0.0.1)"},
		{ethernet, "ether host 10.0.0.1", 11, "ether has no IP addresses"},
		{ethernet, "ip proto 256", 9, "protocol 256 is more than 255"},
		{ethernet, "ip proto nosuch", 9, "unknown protocol"},
		{ethernet, "ether proto 70000", 12, "more than 65535"},
		{ethernet, "ether proto 300", 12, "neither an EtherType nor"},
		{ethernet, "tcp proto 6", 10, "tcp proto is not supported"},
		{ethernet, "src proto 6", 4, "proto has no source or destination"},
		{ethernet, "ether", 0, "ether alone is no test"},
		{ethernet, "tcp[0]", 6, "the end where a comparison was expected"},
		{ethernet, "tcp[0:3] = 1", 6, `"3" is no size at position 7 (1, 2 or 4 bytes)`},
		{ethernet, "tcp[0 = 1", 6, `"=" where "]" was expected`},
		{ethernet, "iso[0] = 1", 0, "iso[...] is not supported"},
		{ethernet, "tcp[-1] = 1", 0, "offset -1 is beyond any frame"},
		{ethernet, "ether[0xfffff000] = 1", 0, "beyond any frame"},
		{ethernet, "len-20 = 5", 0, `"len-20" needs to be told what it is`},
		{ethernet, "5 = len-20", 4, `"len-20" where a number was expected at position 5 (a minus needs spaces around it)`},
		{ethernet, "len / 0 = 1", 4, "division by zero"},
		{ethernet, "len % (1 - 1) = 1", 4, "division by zero"},
		{ethernet, "len << 32 = 1", 4, "shift by 32 bits"},
		{ethernet, "len > 4294967296", 6, "no number of 32 bits"},
		{ethernet, "len > 08", 6, "no number of 32 bits at position 7 (a leading 0 means octal, 0x hexadecimal)"},
		{ethernet, "less", 4, `the end where a number was expected behind "less"`},
		{ethernet, "byte 3 + 1", 7, `"+" is no operator of byte`},
		{ethernet, "byte 3 = 256", 9, "more than a byte"},
		{ethernet, "byte tcp = 1", 5, "byte wants an offset"},
		{ethernet, "ip broadcast", 0, "needs the interface's network mask"},
		{ethernet, "arp multicast", 0, "arp has no such addresses"},
		{ethernet, "vlan 4096", 0, "VLAN 4096 is more than 4095"},
		{ethernet, "mpls 1048576", 0, "MPLS label 1048576 is more than"},
		{ethernet, "pppoes 65536", 0, "PPPoE session 65536 is more than"},
		{ethernet, "mpls and vlan", 9, "vlan behind mpls"},
		{ethernet, "mpls and arp", 9, "behind mpls only IPv4 and IPv6 can be told"},
		{ethernet, "pppoes and ether host 02:00:00:00:00:01", 22, "no Ethernet addresses"},
		{ethernet, "tcp and inbound", 8, "don't tell their direction at position 9 (a device parameter does: dir=in or dir=out)"},
		{ethernet, "ifindex 3", 0, "don't tell their interface"},
		{ethernet, "llc nosuch", 4, "unexpected"},
		{capture.LinkTypeLinuxSLL, "llc", 0, "llc can be told on Ethernet only"},
		{ethernet, "gateway x", 0, `"gateway" is not supported: it needs a look-up of names`},
		{ethernet, "ip protochain 6", 3, `"protochain" is not supported: it needs a loop`},
		{ethernet, "wlan type mgt", 5, "802.11"},
		{ethernet, "tcp # comment", 4, `unexpected character '#'`},
		{ethernet, "tcp \u00fc", 4, `unexpected character 'ü'`},
		{ethernet, `proto \`, 6, "a backslash with no name behind it"},
		{ethernet, strings.Repeat("(", 101) + "tcp" + strings.Repeat(")", 101), 100, "more than 100 levels of nesting"},
		{ethernet, strings.Repeat("not ", 101) + "tcp", 400, "more than 100 levels of nesting"},
		{ethernet, strings.Repeat("-", 101) + " 1 = 1", 99, "more than 100 levels of nesting"},
		{ethernet, strings.Repeat("tcp or ", 10000) + "tcp", -1, "longer than 65,536 bytes"},
		{ethernet, deepSum(20) + " = 1", -1, "too many intermediate results"},
		{capture.LinkTypeRaw, "vlan", 0, "frames of link type RAW have no VLAN tags"},
		{capture.LinkTypeRaw, "mpls", 0, "no MPLS labels"},
		{capture.LinkTypeRaw, "multicast", 0, "no Ethernet addresses"},
		{capture.LinkTypeLinuxSLL, "ifindex 3", 0, "don't tell their interface"},
		{999, "tcp", 0, "link type DLT 999 is not known, so no protocol can be told at position 1 (only len and ether[...] can be tested)"},
		{999, "len > 3 and port 80", 17, "link type DLT 999 is not known"},
	} {
		_, err := Compile(tc.linkType, 262144, tc.in)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.40q: no error, want %q", tc.in, tc.want)
		} else if !strings.Contains(err.Error(), tc.want) || e.Offset != tc.offset {
			t.Errorf("%.40q: %q at %d, want %q at %d", tc.in, err, e.Offset, tc.want, tc.offset)
		}
	}
	for _, snapLen := range []int{0, -1} {
		if _, err := Compile(ethernet, snapLen, "tcp"); err == nil {
			t.Errorf("snap length %d is taken", snapLen)
		}
	}
}

// deepSum is a sum that needs n intermediate results.
func deepSum(n int) string {
	if n == 0 {
		return "ip[0]"
	}
	return fmt.Sprintf("(ip[%d] + %s)", n, deepSum(n-1))
}

// What pcap-filter(7) describes and we leave out says that it is not supported.
func TestLeftOut(t *testing.T) {
	forms := []string{"geneve", "geneve 0xb", "vxlan", "gateway snup", "protochain 6", "ip protochain 6", "ip6 protochain 6", "decnet src 10.123",
		"decnet dst 10.123", "decnet host 10.123", "radio[0] = 1", "type mgt subtype beacon", "subtype beacon", "dir tods"}
	for _, direction := range []string{"ra", "ta", "addr1", "addr2", "addr3", "addr4"} {
		forms = append(forms, "wlan "+direction+" 02:00:00:00:00:01")
	}
	for _, log := range []string{"ifname", "on", "rnr", "rulenum", "reason", "rset", "ruleset", "srnr", "subrulenum", "action"} {
		forms = append(forms, log+" x")
	}
	forms = append(forms, "vpi 1", "vci 1", "lane", "oamf4s", "oamf4e", "oamf4", "oam", "metac", "bcc", "sc", "ilmic", "connectmsg", "metaconnect")
	for _, form := range forms {
		if _, err := compile(t, capture.LinkTypeEthernet, form); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("%q: %v", form, err)
		}
	}
}

// TestDeviations tests what libpcap refuses or decides otherwise.
func TestDeviations(t *testing.T) {
	hex := func(s string) []byte { return unhex(t, s) }
	ip := "4500001c000000000001000a0a000001e0000001" // ICMP, 10.0.0.1 to 224.0.0.1
	sll := func(protocol, payload string) []byte {
		return hex("0000 0001 0006 020000000001 0000" + protocol + payload)
	}
	sll2 := func(protocol, payload string) []byte {
		return hex(protocol + "0000 00000003 0001 00 06 020000000001 0000" + payload)
	}
	ether := func(protocol, payload string) []byte {
		return hex("020000000002 020000000001" + protocol + payload)
	}
	for _, tc := range []struct {
		linkType   capture.LinkType
		expression string
		frame      []byte
		want       bool
	}{
		{capture.LinkTypeLinuxSLL, "vlan 10 and src host 10.0.0.1", sll("8100", "200a 0800"+ip), true},
		{capture.LinkTypeLinuxSLL, "vlan 11 and src host 10.0.0.1", sll("8100", "200a 0800"+ip), false},
		{capture.LinkTypeLinuxSLL, "vlan and vlan 7 and icmp", sll("88a8", "0001 8100 0007 0800"+ip), true},
		{capture.LinkTypeLinuxSLL2, "vlan 10 and src host 10.0.0.1", sll2("8100", "200a 0800"+ip), true},
		{capture.LinkTypeLinuxSLL2, "vlan 10 and ip6", sll2("8100", "200a 0800"+ip), false},
		{capture.LinkTypeLinuxSLL, "mpls 100 and icmp", sll("8847", "00064140"+ip), true},
		{capture.LinkTypeLinuxSLL2, "stp", sll2("0004", "424203 0000"), true},
		{capture.LinkTypeLinuxSLL, "clnp", sll("0004", "fefe03 81 00"), true},
		{capture.LinkTypeLinuxSLL, "esis", sll("0004", "fefe03 81 00"), false},
		{capture.LinkTypeLinuxSLL2, "l1", sll2("0004", "fefe03 83 1b01000f 0000"), true},
		{capture.LinkTypeLinuxSLL2, "l1", sll2("0004", "fefe03 83 1b010010 0000"), false},
		{capture.LinkTypePPPSerial, "mpls 100 and icmp", hex("ff03 0281 00064140" + ip), true},
		{capture.LinkTypePPPEther, "mpls 100 and icmp", hex("1100 0001 0022 0281 00064140" + ip), true},
		{capture.LinkTypeNull, "src host 10.0.0.1", hex("00000002" + ip), true},
		{capture.LinkTypeNull, "src host 10.0.0.1", hex("02000000" + ip), true},
		{capture.LinkTypeNull, "ip6", hex("0000001e" + ip), true},
		{capture.LinkTypeNull, "ip6", hex("0a000000" + ip), true},
		{capture.LinkTypeLoop, "ip6", hex("0000000a" + ip), true},
		{capture.LinkTypeLoop, "ip6", hex("0a000000" + ip), false},
		// libpcap 1.10 takes all from 224 on for multicast, later versions 224.0.0.0/4.
		{capture.LinkTypeEthernet, "ip multicast", ether("0800", ip), true},
		{capture.LinkTypeEthernet, "ip multicast", ether("0800", "4500001c000000000001000a0a000001ffffffff"), false},
		{capture.LinkTypeEthernet, "vlan and ip multicast", ether("8100", "000a 0800"+ip), true},
		// libpcap 1.10 doesn't load the byte.
		{capture.LinkTypeEthernet, "byte 0 & 1", ether("0800", ip), false},
		{capture.LinkTypeEthernet, "byte 0 & 2", ether("0800", ip), true},
		{capture.LinkTypeEthernet, "byte 1 | 0", ether("0800", ip), false},
		// Precedence of % and ^.
		{capture.LinkTypeEthernet, "ip[8] + 7 % 4 + 1 = 4", ether("0800", ip), true},
		{capture.LinkTypeEthernet, "1 ^ 2 | 4 = 7", ether("0800", ip), true},
		// Names.
		{capture.LinkTypeEthernet, "ether proto lldp", ether("88cc", ip), true},
		{capture.LinkTypeEthernet, "ip proto icmp", ether("0800", ip), true},
		{capture.LinkTypeEthernet, "udp portrange 0x30-0x40", ether("0800", "4500001c00000000001100000a0000010a000002 0035 1000 00080000"), true},
		{capture.LinkTypeLinuxSLL2, "ifindex 3 and not outbound and inbound", sll2("0800", ip), true},
		{capture.LinkTypeLinuxSLL2, "ifindex 4 or outbound", sll2("0800", ip), false},
		{14, "ip", hex(ip), true},
		{101, "host 10.0.0.1", hex(ip), true},
		{999, "len > 3 and ether[0] = 2", ether("0800", ip), true},
	} {
		program, err := compile(t, tc.linkType, tc.expression)
		if err != nil {
			t.Errorf("%s: %q: %v", tc.linkType, tc.expression, err)
		} else if got := program.Run(tc.frame, len(tc.frame)) != 0; got != tc.want {
			t.Errorf("%s: %q on %x: %v, want %v", tc.linkType, tc.expression, tc.frame, got, tc.want)
		}
	}
}

// TestSnapLen holds that a program returns the snap length for what matches.
func TestSnapLen(t *testing.T) {
	for _, snapLen := range []int{1, 96, 262144, 1<<32 - 1} {
		for _, expression := range []string{"", "ether[0] = 2"} {
			program, err := Compile(capture.LinkTypeEthernet, snapLen, expression)
			if err != nil {
				t.Fatal(err)
			}
			if got := runRaw(t, program, []byte{2}); got != uint32(snapLen) {
				t.Errorf("%q: %d, want %d", expression, got, snapLen)
			}
		}
	}
}
