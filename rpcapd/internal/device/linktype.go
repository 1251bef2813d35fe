//go:build linux

package device

import "capstan/pkg/capture"

// linkTypes maps the names that package netlink gives to ARPHRD_ values
// (linux/if_arp.h) to what libpcap reports for them (map_arphrd_to_dlt in
// pcap-linux.c). The numbers are of types that have no name there.
var linkTypes = map[string]capture.LinkType{
	"ether": capture.LinkTypeEthernet, "loopback": capture.LinkTypeEthernet, "metricom": capture.LinkTypeEthernet,
	"none": capture.LinkTypeRaw, // tun, WireGuard
	"ipip": capture.LinkTypeRaw, "sit": capture.LinkTypeRaw, "slip": capture.LinkTypeRaw, "cslip": capture.LinkTypeRaw,
	"slip6": capture.LinkTypeRaw, "cslip6": capture.LinkTypeRaw, "adapt": capture.LinkTypeRaw, "rawhdlc": capture.LinkTypeRaw,
	"dlci":                capture.LinkTypeRaw,
	"hdlc":                capture.LinkTypeCiscoHDLC,
	"eether":              2,   // DLT_EN3MB
	"pronet":              4,   // DLT_PRONET
	"chaos":               5,   // DLT_CHAOS
	"ieee802":             6,   // DLT_IEEE802
	"tr":                  6,   //
	"fddi":                10,  // DLT_FDDI
	"ieee802.11":          105, // DLT_IEEE802_11
	"frad":                107, // DLT_FRELAY
	"ltalk":               114, // DLT_LTALK
	"ieee802.11/prism":    119, // DLT_PRISM_HEADER
	"unknown18":           122, // DLT_IP_OVER_FC
	"ieee802.11/radiotap": 127, // DLT_IEEE802_11_RADIO
	"arcnet":              129, // DLT_ARCNET_LINUX
	"irda":                144, // DLT_LINUX_IRDA, cooked
	"unknown8445":         177, // DLT_LINUX_LAPD, cooked
	"ax25":                202, // DLT_AX25_KISS
	"fcpp":                224, // DLT_FC_2
	"fcal":                224, //
	"fcpl":                224, //
	"fcfb0":               224, //
	"unknown280":          227, // DLT_CAN_SOCKETCAN
	"ieee802.15.4":        230, // DLT_IEEE802_15_4_NOFCS
	"unknown824":          253, // DLT_NETLINK, cooked
	"unknown826":          271, // DLT_VSOCK
}

// linkTypeOf returns the link type of an interface of type encap. Whatever
// isn't listed is captured cooked, as libpcap does with types it can't parse.
func linkTypeOf(encap string) capture.LinkType {
	if t, ok := linkTypes[encap]; ok {
		return t
	}
	return capture.LinkTypeLinuxSLL
}
