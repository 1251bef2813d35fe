package packet

import (
	"encoding/binary"

	"capstan/pkg/capture"
)

// ipVersion is what a link header says about its payload.
type ipVersion uint8

const (
	versionNone      ipVersion = iota // not IP
	versionTruncated                  // the link header itself was cut off
	versionMalformed                  // the link header contradicts itself
	version4
	version6
)

// Ethernet protocol numbers (linux/if_ether.h).
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100 // 802.1Q
	etherQinQ = 0x88a8 // 802.1ad
	etherOld  = 0x9100 // QinQ before 802.1ad gave it a number
)

// What is below etherMin is not a protocol number but the length of an 802.3
// frame, or one of Linux's numbers for such: an LLC header follows. For IP that
// is LLC and SNAP of 8 bytes (RFC 1042): snapIP and a protocol number.
const (
	etherMin = 0x0600
	snapLen  = 8
	snapIP   = 0xaaaa_03_000000
)

// maxTags bounds the VLAN tags of a frame; Linux itself sends at most two.
const maxTags = 4

// Link header lengths in bytes.
const (
	ethernetLen = 14
	sllLen      = 16
	sll2Len     = 20
	tagLen      = 4
	nullLen     = 4
)

// linkPayload returns the offset of the network header and its IP version.
func linkPayload(f *capture.Frame) (int, ipVersion) {
	b := f.Data
	switch f.LinkType.Canonical() {
	case capture.LinkTypeEthernet:
		return etherPayload(f, ethernetLen, 12)
	case capture.LinkTypeLinuxSLL:
		// struct sll_header (libpcap's pcap/sll.h): a tag that the kernel
		// stripped is put back by libpcap as protocol 0x8100 with TCI and
		// inner protocol behind the header.
		return etherPayload(f, sllLen, 14)
	case capture.LinkTypeLinuxSLL2:
		return etherPayload(f, sll2Len, 0)
	case capture.LinkTypeNull, capture.LinkTypeLoop:
		return nullPayload(f)
	case capture.LinkTypeRaw:
		if len(b) == 0 {
			return 0, short(f, 1)
		}
		switch b[0] >> 4 {
		case 4:
			return 0, version4
		case 6:
			return 0, version6
		}
		return 0, versionNone
	case capture.LinkTypeIPv4:
		return 0, version4
	case capture.LinkTypeIPv6:
		return 0, version6
	}
	return 0, versionNone
}

// etherPayload reads the Ethernet protocol number at proto of a header of
// headerLen bytes, and passes the VLAN tags behind the header.
func etherPayload(f *capture.Frame, headerLen, proto int) (int, ipVersion) {
	b, off := f.Data, headerLen
	if len(b) < off {
		return 0, short(f, off)
	}
	typ := binary.BigEndian.Uint16(b[proto:])
	for range maxTags {
		if typ != etherVLAN && typ != etherQinQ && typ != etherOld {
			break
		}
		if len(b) < off+tagLen {
			return 0, short(f, off+tagLen)
		}
		typ = binary.BigEndian.Uint16(b[off+2:])
		off += tagLen
	}
	if typ < etherMin {
		if len(b) < off+snapLen {
			if f.Len < off+snapLen {
				return 0, versionNone // another use of LLC, which can be 3 bytes
			}
			return 0, versionTruncated
		}
		if binary.BigEndian.Uint64(b[off:])>>16 != snapIP {
			return 0, versionNone
		}
		typ = binary.BigEndian.Uint16(b[off+6:])
		off += snapLen
	}
	switch typ {
	case etherIPv4:
		return off, version4
	case etherIPv6:
		return off, version6
	}
	return 0, versionNone
}

// nullPayload reads the address family of BSD loopback. DLT_NULL has it in the
// byte order of the machine that captured, DLT_LOOP in network order; no
// family has a value above 255, so the order shows in the value itself.
func nullPayload(f *capture.Frame) (int, ipVersion) {
	b := f.Data
	if len(b) < nullLen {
		return 0, short(f, nullLen)
	}
	family := binary.BigEndian.Uint32(b)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(b)
	}
	switch family {
	case 2: // AF_INET everywhere
		return nullLen, version4
	case 24, 28, 30, 10: // AF_INET6 of NetBSD/OpenBSD, FreeBSD, macOS, Linux
		return nullLen, version6
	}
	return 0, versionNone
}

// short tells why a link header of need bytes is not whole.
func short(f *capture.Frame, need int) ipVersion {
	if f.Len >= need {
		return versionTruncated
	}
	return versionMalformed
}
