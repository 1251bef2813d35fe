//go:build linux

package device

import "capstan/pkg/capture"

// linkTypes maps the names that package netlink gives to ARPHRD_ values to
// what libpcap reports for them (map_arphrd_to_dlt in pcap-linux.c).
var linkTypes = map[string]capture.LinkType{
	"ether":      capture.LinkTypeEthernet,
	"loopback":   capture.LinkTypeEthernet,
	"none":       capture.LinkTypeRaw, // tun, WireGuard
	"unknown519": capture.LinkTypeRaw, // ARPHRD_RAWIP, which package netlink has no name for
}

// linkTypeOf returns the link type of an interface of type encap. Whatever
// isn't listed is captured cooked, as libpcap does with types it can't parse.
func linkTypeOf(encap string) capture.LinkType {
	if t, ok := linkTypes[encap]; ok {
		return t
	}
	return capture.LinkTypeLinuxSLL
}
