package source

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what decompressing zstd looks back on, in bytes: what the zstd
// program takes unless told otherwise, so that of --long and of any level, too.
const maxWindow = 128 << 20

// uncompressed returns what in holds if that is compressed with gzip (RFC 1952) or
// zstd (RFC 8878), as captures are kept, else what in has. Close what is returned.
func uncompressed(in io.Reader) (io.ReadCloser, error) {
	head := make([]byte, 4) // no capture file is shorter
	n, err := io.ReadFull(in, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	in = io.MultiReader(bytes.NewReader(head[:n]), in)
	switch {
	case bytes.HasPrefix(head[:n], []byte{0x1f, 0x8b}):
		return gzip.NewReader(in)
	case isZstd(head[:n]):
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(in), nil
}

// isZstd reports whether a file that starts with head is one of zstd: it starts with a
// frame, or with one to be skipped, as pzstd's do (RFC 8878 §3.1.1, §3.1.2).
func isZstd(head []byte) bool {
	return bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) || len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})
}
