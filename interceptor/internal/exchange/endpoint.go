package exchange

import (
	"encoding/binary"

	"capstan/interceptor/internal/arena"
	"capstan/pkg/flow"
	capstanv1 "capstan/proto/capstan/v1"
)

// addresses are the texts of the addresses told lately: most records are about
// the same few hosts, and the connections of a million idle clients need not
// keep the text of each. An address has one place, which the next one that
// belongs there takes.
type addresses struct {
	text  arena.Text
	known [addressPlaces]struct {
		addr [16]byte
		text string // empty if nothing is known
	}
}

const (
	addressPlaceBits = 10
	addressPlaces    = 1 << addressPlaceBits
)

// set makes to that of e.
func (a *addresses) set(to *capstanv1.Endpoint, e *flow.Endpoint) {
	h := binary.LittleEndian.Uint64(e.Addr[:])*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(e.Addr[8:])
	k := &a.known[h*0x9e3779b97f4a7c15>>(64-addressPlaceBits)]
	if k.text == "" || k.addr != e.Addr {
		var b [64]byte
		k.addr, k.text = e.Addr, a.text.String(e.AddrPort().Addr().AppendTo(b[:0]))
	}
	to.Address, to.Port = k.text, uint32(e.Port)
}
