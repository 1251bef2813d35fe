package packet

import (
	"math/rand/v2"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/flow"
)

// The key that Decode builds is flow.NewKey's, whichever endpoint is lower and
// whatever decides it: address halves, or only the port.
func TestKeyAgreesWithFlow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		body := tcp(nil, payload)
		for i := range 4 { // few values, so that ports are equal at times
			body[i] = byte(r.IntN(2))
		}
		var src, dst flow.Endpoint
		var data []byte
		if r.IntN(2) == 0 {
			data = ip4(6, -1, nil, body)
			for i := range 8 {
				data[12+i] = byte(r.IntN(2) * 255)
			}
			copy(src.Addr[10:], []byte{255, 255, data[12], data[13], data[14], data[15]})
			copy(dst.Addr[10:], []byte{255, 255, data[16], data[17], data[18], data[19]})
		} else {
			data = ip6(6, -1, body)
			for i := range 32 {
				data[8+i] = byte(r.IntN(8) / 7)
			}
			copy(src.Addr[:], data[8:])
			copy(dst.Addr[:], data[24:])
		}
		src.Port, dst.Port = uint16(body[0])<<8|uint16(body[1]), uint16(body[2])<<8|uint16(body[3])
		key, dir := flow.NewKey(src, dst)
		var s Segment
		f := capture.Frame{Data: data, Len: len(data), LinkType: capture.LinkTypeRaw}
		if o := new(Decoder).Decode(&f, &s); o != OutcomeTCP || s.Key != key || s.Dir != dir {
			t.Fatalf("%v: %v → %v gives %+v %d, want %+v %d", o, src.AddrPort(), dst.AddrPort(), s.Key, s.Dir, key, dir)
		}
	}
}
