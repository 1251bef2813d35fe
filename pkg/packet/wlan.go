package packet

import (
	"encoding/binary"

	"capstan/pkg/capture"
)

// wlan decodes an 802.11 data frame at off (IEEE 802.11-2020 §9.2.4, §9.3.2.1). A
// driver may have padded its header to a word. The checksum behind the frame, which
// some captures have, is padding like Ethernet's: IP has a length of its own.
func (w *walk) wlan(off int, padded bool) Outcome {
	const (
		controlLen, headerLen, addressLen, qosLen, htLen, word = 2, 24, 6, 2, 4, 4

		kindMask, kindData  = 0x0f, 0x08 // version 0, data
		noData, qos         = 0x40, 0x80 // of the first byte
		toDS, fromDS        = 0x01, 0x02 // of the second
		protected, order    = 0x40, 0x80
		fragment, aggregate = 0x0f, 0x80 // of the sequence control, of the QoS control
	)
	if len(w.data) < off+controlLen {
		return w.lacks(off + controlLen)
	}
	kind, flags := w.data[off], w.data[off+1]
	if kind&kindMask != kindData || kind&noData != 0 || flags&protected != 0 {
		return w.notIP() // of another type, empty, or encrypted
	}
	n := headerLen
	if flags&(toDS|fromDS) == toDS|fromDS {
		n += addressLen
	}
	control := off + n
	if kind&qos != 0 {
		n += qosLen
		if flags&order != 0 {
			n += htLen
		}
	}
	if padded {
		n = (n + word - 1) &^ (word - 1)
	}
	if len(w.data) < off+n {
		return w.lacks(off + n)
	}
	// The start of a packet that 802.11 has fragmented is one that is cut. Several
	// packets in one frame are not followed.
	if w.data[off+headerLen-2]&fragment != 0 || kind&qos != 0 && w.data[control]&aggregate != 0 {
		return w.notIP()
	}
	return w.llc(off + n)
}

// radiotap passes a radiotap header (radiotap.org), which is little-endian.
func (w *walk) radiotap() Outcome {
	const (
		headerLen, word     = 8, 4
		more                = 1 << 31 // another word of fields present
		timestamp, hasFlags = 1 << 0, 1 << 1
		timestampLen        = 8
		dataPadding         = 0x20
	)
	if len(w.data) < headerLen {
		return w.lacks(headerLen)
	}
	if w.data[0] != 0 { // version
		return w.notIP()
	}
	end := int(binary.LittleEndian.Uint16(w.data[2:]))
	if end < headerLen {
		return OutcomeMalformed
	}
	if len(w.data) < end {
		return w.lacks(end)
	}
	present := binary.LittleEndian.Uint32(w.data[4:])
	at := headerLen
	for p := present; p&more != 0; at += word {
		if at+word > end {
			return OutcomeMalformed
		}
		p = binary.LittleEndian.Uint32(w.data[at:])
	}
	if present&timestamp != 0 {
		at = (at+timestampLen-1)&^(timestampLen-1) + timestampLen // each field is aligned
	}
	padded := present&hasFlags != 0 && at < end && w.data[at]&dataPadding != 0
	return w.wlan(end, padded)
}

// prism passes a Prism header, whose words are in the byte order of the machine that
// captured; or one of AVS, which drivers of both share a link type for.
func (w *walk) prism() Outcome {
	const headerLen = 24
	if len(w.data) < headerLen {
		return w.lacks(headerLen)
	}
	if binary.BigEndian.Uint32(w.data)&^avsVersion == avsMagic {
		return w.avs()
	}
	n := binary.LittleEndian.Uint32(w.data[4:])
	if n > maxCaptureHeader {
		n = binary.BigEndian.Uint32(w.data[4:])
	}
	return w.behind(n, headerLen)
}

// maxCaptureHeader bounds what drivers put in front of an 802.11 frame. A length above
// it is one in the other byte order, or none.
const maxCaptureHeader = 0xffff

// The first word of an AVS header.
const (
	avsMagic   = 0x80211000
	avsVersion = 0x00000fff
)

// avs passes a header of AVS (the Linux wlan-ng project's capture format), which is
// big-endian.
func (w *walk) avs() Outcome {
	const headerLen = 8
	if len(w.data) < headerLen {
		return w.lacks(headerLen)
	}
	if binary.BigEndian.Uint32(w.data)&^avsVersion != avsMagic {
		return w.notIP()
	}
	return w.behind(binary.BigEndian.Uint32(w.data[4:]), headerLen)
}

// behind decodes the 802.11 frame behind a header of n bytes, which has at least
// least.
func (w *walk) behind(n uint32, least int) Outcome {
	if n < uint32(least) || n > maxCaptureHeader {
		return OutcomeMalformed
	}
	if len(w.data) < int(n) {
		return w.lacks(int(n))
	}
	return w.wlan(int(n), false)
}

// ppi passes a header of per-packet information (CACE Technologies), which is
// little-endian and says what link type follows. Only 802.11 is expected.
func (w *walk) ppi() Outcome {
	const headerLen = 8
	if len(w.data) < headerLen {
		return w.lacks(headerLen)
	}
	if w.data[0] != 0 || binary.LittleEndian.Uint32(w.data[4:]) != uint32(capture.LinkTypeIEEE80211) {
		return w.notIP()
	}
	return w.behind(uint32(binary.LittleEndian.Uint16(w.data[2:])), headerLen)
}
