package exchange

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// TestHexDigits compares with encoding/hex.
func TestHexDigits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		v := r.Uint32()
		if i < 256 {
			v = uint32(i) * 0x01010101
		}
		digits := binary.LittleEndian.AppendUint64(nil, hexDigits(v))
		if want := hex.EncodeToString(binary.BigEndian.AppendUint32(nil, v)); string(digits) != want {
			t.Fatalf("digits of %#x: %s, want %s", v, digits, want)
		}
	}
}
