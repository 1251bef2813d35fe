package engine

import (
	"fmt"
	"slices"
	"testing"

	"capstan/pkg/packet"
)

// TestCase05HandshakeOvertaken captures each segment of a handshake later than what
// follows it, and the segments of the first answer before it.
func TestCase05HandshakeOvertaken(t *testing.T) {
	inOrder, _ := run(t, packet.Config{}, conversation(40000))
	for _, moved := range [][2]int{
		{0, 1},
		{1, 2}, {1, 3}, {1, 4}, {1, 7},
		{2, 3}, {2, 4}, {2, 7},
		{4, 1}, {5, 1}, {6, 1}, {7, 1},
		{5, 2}, {5, 3},
	} {
		t.Run(fmt.Sprint(moved), func(t *testing.T) {
			frames := conversation(40000)
			f := frames[moved[0]]
			frames = slices.Insert(slices.Delete(frames, moved[0], moved[0]+1), moved[1], f)
			for i := range frames {
				frames[i].Timestamp = int64(1+i) * 1e6
			}
			records, s := run(t, packet.Config{}, frames)
			wantWhole(t, records, 2)
			whole := moved != [2]int{1, 7} // the SYN-ACK is seen before the first record is made
			if whole && records[0].Id != inOrder[0].Id {
				t.Errorf("id is %s, else %s", records[0].Id, inOrder[0].Id)
			}
			if r := &s.Reassembly; r.Opened != 1 || r.Dropped() != 0 {
				t.Errorf("counted %+v", *r)
			}
			compareShards(t, "shards", frames)
		})
	}
}
