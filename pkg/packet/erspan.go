package packet

import "encoding/binary"

// erspan decodes what a switch puts between GRE and the frame that it mirrors
// (draft-foschiano-erspan-03 §4): nothing in type I, which has no sequence number
// in GRE, 8 bytes in type II, 12 in type III, where 8 more may follow.
func (w *walk) erspan(off int, typ uint16, numbered bool) Outcome {
	const lenII, lenIII, lenSubheader = 8, 12, 8
	const frameTypeShift, frameTypeMask, frameIP, subheader = 10, 0x1f, 2, 0x0001
	if typ == etherERSPAN {
		if numbered {
			off += lenII
		}
		return w.enter(off, etherBridged)
	}
	if len(w.data) < off+lenIII {
		return w.lacks(off + lenIII)
	}
	flags := binary.BigEndian.Uint16(w.data[off+10:])
	off += lenIII
	if flags&subheader != 0 {
		off += lenSubheader
	}
	if flags>>frameTypeShift&frameTypeMask == frameIP {
		return w.bare(off)
	}
	return w.enter(off, etherBridged)
}
