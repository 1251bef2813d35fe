package grpcgzip

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"google.golang.org/grpc/encoding"
)

// TestCompressor: Go's own package reads what is written, and the other way round,
// message after message, also behind one that is damaged or read in part.
func TestCompressor(t *testing.T) {
	c := encoding.GetCompressor(Name)
	if _, ok := c.(*compressor); !ok {
		t.Fatalf("gRPC uses %T", c)
	}
	for n := range 20 {
		want := bytes.Repeat([]byte{byte(n), 'x'}, n*1000)
		var ours, theirs bytes.Buffer
		w, err := c.Compress(&ours)
		if err != nil {
			t.Fatal(err)
		}
		own := gzip.NewWriter(&theirs)
		for _, w := range []io.WriteCloser{w, own} {
			if _, err := w.Write(want); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		read, err := gzip.NewReader(&ours)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(read); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes became %d, %v", len(want), len(got), err)
		}
		if _, err := c.Decompress(bytes.NewReader([]byte("no gzip at all"))); err == nil {
			t.Error("what is no gzip is begun")
		}
		for _, most := range []int64{1, 1 << 20} {
			r, err := c.Decompress(bytes.NewReader(theirs.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.LimitReader(r, most))
			if err != nil || !bytes.Equal(got, want[:min(int(most), len(want))]) {
				t.Errorf("%d bytes became %d, %v", len(want), len(got), err)
			}
			if err := r.(io.Closer).Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
