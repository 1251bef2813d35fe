package source

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what decompressing zstd looks back on, in bytes: what RFC 8878
// §3.1.1.1.2 asks for, and what its levels up to 19 make.
const maxWindow = 8 << 20

// uncompressed returns what in holds if that is compressed with gzip (RFC 1952) or
// zstd (RFC 8878), as captures are kept, else what in has. Close what is returned.
func uncompressed(in io.Reader) (io.ReadCloser, error) {
	head := make([]byte, 4) // no capture file is shorter
	n, err := io.ReadFull(in, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	in = &unread{head[:n], in}
	switch {
	case bytes.HasPrefix(head[:n], []byte{0x1f, 0x8b}):
		return gzip.NewReader(in)
	case bytes.Equal(head[:n], []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(in), nil
}

// unread is a reader whose first bytes have been read.
type unread struct {
	head []byte
	io.Reader
}

// Read implements io.Reader.
func (u *unread) Read(b []byte) (int, error) {
	if len(u.head) == 0 {
		return u.Reader.Read(b)
	}
	n := copy(b, u.head)
	u.head = u.head[n:]
	return n, nil
}
