package content

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestLen: what the decoders take is told, at the most, and no more once they are let go of.
func TestLen(t *testing.T) {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var d Decoder
	for range 2 {
		if _, r := d.Decode(nil, b.Bytes(), true, []string{"zstd"}, 10); r.Size == 0 {
			t.Fatalf("nothing was decoded: %v", r)
		}
		if n := d.Len(); n < 1<<minWindowLog || n > maxWindow {
			t.Errorf("%d bytes are told", n)
		}
	}
	d.Release()
	if n := d.Len(); n != 0 {
		t.Errorf("afterwards %d bytes are told", n)
	}
}
