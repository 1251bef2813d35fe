package rpcapclient

import (
	"encoding/binary"

	"capstan/pkg/capture"
)

// Fields that a capturing host writes in its own byte order, in the headers that
// it puts in front of packets. libpcap's client converts them (pcap-util.c,
// swap_pseudo_headers). Deviation: of the link types that have such fields this
// client knows Linux cooked with CAN frames and NFLOG; USB and PFLOG frames stay
// as the server sent them, see [Client.ByteOrder].

// Protocols of a cooked header that mean CAN (LINUX_SLL_P_CAN…).
const (
	sllCAN   = 0x000c
	sllCANFD = 0x000d
	sllCANXL = 0x000e
)

// swapHostFields returns the function that converts the fields of a frame of
// this link type in place, nil if there are none.
func swapHostFields(link capture.LinkType) func([]byte) {
	switch link {
	case capture.LinkTypeLinuxSLL:
		return func(b []byte) { swapCooked(b, 14, 16) }
	case capture.LinkTypeLinuxSLL2:
		return func(b []byte) { swapCooked(b, 0, 20) }
	case capture.LinkTypeNFLOG:
		return swapNFLOG
	}
	return nil
}

// swapCooked converts the CAN header behind a cooked header of headerLen bytes
// that has its protocol at protocolAt.
func swapCooked(b []byte, protocolAt, headerLen int) {
	if len(b) < headerLen {
		return
	}
	can := b[headerLen:]
	switch binary.BigEndian.Uint16(b[protocolAt:]) {
	case sllCAN, sllCANFD:
		swap32(can, 0) // CAN ID
	case sllCANXL:
		swap32(can, 0) // priority and VCID
		swap16(can, 6) // payload length
		swap32(can, 8) // acceptance field
	}
}

// swapNFLOG converts the length and type of each attribute (LINKTYPE_NFLOG).
func swapNFLOG(b []byte) {
	const headerLen, attributeLen = 4, 4
	if len(b) < headerLen || b[1] != 0 { // version 0 is all there is
		return
	}
	for b = b[headerLen:]; len(b) >= attributeLen; {
		swap16(b, 0)
		swap16(b, 2)
		n := int(binary.NativeEndian.Uint16(b))
		if n = (n + 3) &^ 3; n < attributeLen || n > len(b) {
			return
		}
		b = b[n:]
	}
}

func swap16(b []byte, at int) {
	if len(b) >= at+2 {
		b[at], b[at+1] = b[at+1], b[at]
	}
}

func swap32(b []byte, at int) {
	if len(b) >= at+4 {
		b[at], b[at+1], b[at+2], b[at+3] = b[at+3], b[at+2], b[at+1], b[at]
	}
}
