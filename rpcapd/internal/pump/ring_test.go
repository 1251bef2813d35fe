package pump_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/pump"
	"capstan/rpcapd/internal/pump/pumptest"
)

// inRing lays f out as the ring does, with room bytes in front of it.
func inRing(f afpacket.Frame, room int) afpacket.Frame {
	f.Room = append(bytes.Repeat([]byte{0xee}, room), f.Data...)
	f.Data = f.Room[room:]
	return f
}

// Frames that are copied and frames that are written from the ring, tagged ones
// among them and such as have too little room, arrive in order and whole.
func TestCopiesAndFramesOfTheRingMixed(t *testing.T) {
	d := &pumptest.Device{}
	p := pump.New(d.Input(pump.LayoutEthernet), pump.Config{SnapLen: 2500, BlockTimeout: config.BlockTimeout})
	server, client := tcpPair(t)
	if err := start(p, server, nil); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var want [][]byte
	for i := range uint32(5000) {
		f := frame(i, 60+random.IntN(3000))
		view := bytes.Clone(f.Data)
		if i%7 == 0 {
			f.VLANPresent, f.VLANTCI, f.VLANProtocol = true, 7, 0x88a8
			view = append(bytes.Clone(f.Data[:12]), append([]byte{0x88, 0xa8, 0, 7}, f.Data[12:]...)...)
		}
		want = append(want, view[:min(len(view), 2500)])
		d.Push(inRing(f, []int{32, 31, 34, 48}[random.IntN(4)]))
	}
	got := readPackets(t, rpcap.NewReader(client, nil), len(want))
	p.Stop()
	for i, g := range got {
		if g.Number != uint32(i)+1 || !bytes.Equal(g.data, want[i]) {
			t.Fatalf("packet %d: number %d, %d bytes, want %d", i, g.Number, len(g.data), len(want[i]))
		}
	}
	if s := checkBalance(t, p); s.Sent != uint64(len(want)) {
		t.Errorf("%+v", s)
	}
}
