package packet

import (
	"bytes"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"capstan/pkg/capture"
)

// rareLinks are the link types that are left to gopacket. The numbers are those
// of pcap-linktype(7).
var rareLinks = map[capture.LinkType]gopacket.Decoder{
	10:  layers.LayerTypeFDDI,
	105: layers.LayerTypeDot11,
	119: layers.LayerTypePrismHeader,
	127: layers.LayerTypeRadioTap,
	117: layers.LayerTypePFLog,
}

// radiotapPadding is what some drivers put between an 802.11 header and its payload,
// to align that.
const radiotapPadding = 2

// rare finds the IP header of a frame whose link type is not decoded here.
func (w *walk) rare(f *capture.Frame) Outcome {
	link, ok := rareLinks[f.LinkType]
	if !ok {
		return OutcomeNotIP
	}
	// gopacket turns its own panics into a layer that is not IP. It has a copy, since
	// it takes the padding out of radiotap's frames where they are, clipped because
	// it trusts some lengths as far as the capacity goes.
	data := slices.Clip(slices.Clone(f.Data))
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	if header := p.NetworkLayer(); header != nil {
		if !bytes.Equal(data, f.Data) {
			w.data = data[:len(data)-radiotapPadding]
		}
		// The layer aliases the copy; how much room is behind its start tells
		// where that is.
		b := header.LayerContents()
		off := cap(data) - cap(b)
		inside := len(b) > 0 && off >= 0 && off < len(data) && &data[off] == &b[0]
		switch {
		case inside && header.LayerType() == layers.LayerTypeIPv4:
			return w.ipv4(off)
		case inside && header.LayerType() == layers.LayerTypeIPv6:
			return w.ipv6(off)
		}
	}
	if f.Truncated() {
		return OutcomeTruncated
	}
	return OutcomeNotIP
}
