package capture

import "strconv"

// LinkType is a link-layer header type: a DLT_ value as libpcap on Linux
// reports it and as RPCAP carries it (pcap-linktype(7)). Capture files hold
// LINKTYPE_ values, which differ in a few places: see [LinkTypeFromFile].
type LinkType uint32

// The link types that Capstan captures or decodes itself.
const (
	LinkTypeNull      LinkType = 0   // BSD loopback, address family in host order
	LinkTypeEthernet  LinkType = 1   // Ethernet II or 802.3
	LinkTypePPP       LinkType = 9   // PPP, with address and control field or without
	LinkTypeFDDI      LinkType = 10  // FDDI
	LinkTypeRaw       LinkType = 12  // raw IP, version from the first nibble
	LinkTypePPPSerial LinkType = 50  // PPP in HDLC-like framing, or Cisco HDLC
	LinkTypePPPEther  LinkType = 51  // PPPoE without the Ethernet header
	LinkTypeCiscoHDLC LinkType = 104 // Cisco HDLC
	LinkTypeIEEE80211 LinkType = 105 // IEEE 802.11
	LinkTypeLoop      LinkType = 108 // OpenBSD loopback, address family in network order
	LinkTypeLinuxSLL  LinkType = 113 // Linux cooked capture v1
	LinkTypePFLOG     LinkType = 117 // OpenBSD's packet filter log
	LinkTypePrism     LinkType = 119 // IEEE 802.11 behind a Prism header, or AVS's
	LinkTypeRadiotap  LinkType = 127 // IEEE 802.11 behind a radiotap header
	LinkTypeAVS       LinkType = 163 // IEEE 802.11 behind an AVS header
	LinkTypePPI       LinkType = 192 // per-packet information, mostly with IEEE 802.11 behind it
	LinkTypeIPv4      LinkType = 228 // raw IPv4
	LinkTypeIPv6      LinkType = 229 // raw IPv6
	LinkTypeNFLOG     LinkType = 239 // netfilter log
	LinkTypeLinuxSLL2 LinkType = 276 // Linux cooked capture v2
)

// Values of raw IP that are not Linux's DLT_RAW: OpenBSD's DLT_RAW and the
// LINKTYPE_RAW of capture files.
const (
	linkTypeRawOpenBSD LinkType = 14
	linkTypeRawFile    LinkType = 101
)

// String returns the name without the DLT_ prefix, or "DLT n".
func (t LinkType) String() string {
	switch t {
	case LinkTypeNull:
		return "NULL"
	case LinkTypeEthernet:
		return "EN10MB"
	case LinkTypePPP:
		return "PPP"
	case LinkTypePPPSerial:
		return "PPP_SERIAL"
	case LinkTypePPPEther:
		return "PPP_ETHER"
	case LinkTypeCiscoHDLC:
		return "C_HDLC"
	case LinkTypeFDDI:
		return "FDDI"
	case LinkTypeIEEE80211:
		return "IEEE802_11"
	case LinkTypePFLOG:
		return "PFLOG"
	case LinkTypePrism:
		return "PRISM_HEADER"
	case LinkTypeRadiotap:
		return "IEEE802_11_RADIO"
	case LinkTypeAVS:
		return "IEEE802_11_RADIO_AVS"
	case LinkTypePPI:
		return "PPI"
	case LinkTypeNFLOG:
		return "NFLOG"
	case LinkTypeRaw, linkTypeRawOpenBSD, linkTypeRawFile:
		return "RAW"
	case LinkTypeLoop:
		return "LOOP"
	case LinkTypeLinuxSLL:
		return "LINUX_SLL"
	case LinkTypeIPv4:
		return "IPV4"
	case LinkTypeIPv6:
		return "IPV6"
	case LinkTypeLinuxSLL2:
		return "LINUX_SLL2"
	}
	return "DLT " + strconv.FormatUint(uint64(t), 10)
}

// Canonical maps the several values of raw IP to [LinkTypeRaw] and leaves
// every other value as it is.
func (t LinkType) Canonical() LinkType {
	if t == linkTypeRawOpenBSD || t == linkTypeRawFile {
		return LinkTypeRaw
	}
	return t
}

// LinkTypeFromFile turns the LINKTYPE_ value of a capture file into a LinkType.
func LinkTypeFromFile(linktype uint32) LinkType { return LinkType(linktype).Canonical() }

// File returns the LINKTYPE_ value that stands for t in a capture file.
func (t LinkType) File() uint32 {
	if t.Canonical() == LinkTypeRaw {
		return uint32(linkTypeRawFile)
	}
	return uint32(t)
}
