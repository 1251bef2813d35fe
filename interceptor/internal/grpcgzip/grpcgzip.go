// Package grpcgzip is gRPC's compressor "gzip" by a faster library than Go's own, for
// all that the process sends and receives: half the time for as many bytes.
package grpcgzip

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc/encoding"
	grpc "google.golang.org/grpc/encoding/gzip" // registers the slower one, before
)

// Name is what gRPC knows the compressor by.
var Name = register()

// register is for the time before main alone: gRPC's list has no lock.
func register() string {
	encoding.RegisterCompressor(new(compressor))
	return grpc.Name
}

// compressor implements encoding.Compressor. What is at rest may be used again.
type compressor struct{ writers, readers sync.Pool }

// Name implements encoding.Compressor.
func (*compressor) Name() string { return grpc.Name }

// writer is one message that is compressed.
type writer struct {
	*gzip.Writer
	home *sync.Pool
}

// Compress implements encoding.Compressor.
func (c *compressor) Compress(w io.Writer) (io.WriteCloser, error) {
	z, ok := c.writers.Get().(*writer)
	if !ok {
		return &writer{gzip.NewWriter(w), &c.writers}, nil
	}
	z.Reset(w)
	return z, nil
}

// Close ends the message. The writer is somebody else's then.
func (z *writer) Close() error {
	defer z.home.Put(z)
	return z.Writer.Close()
}

// reader is one message that is decompressed.
type reader struct {
	*gzip.Reader
	home *sync.Pool
}

// Decompress implements encoding.Compressor.
func (c *compressor) Decompress(r io.Reader) (io.Reader, error) {
	z, ok := c.readers.Get().(*reader)
	if !ok {
		g, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		return &reader{g, &c.readers}, nil
	}
	if err := z.Reset(r); err != nil {
		c.readers.Put(z)
		return nil, err
	}
	return z, nil
}

// Close ends the message, however much of it was read. The reader is somebody else's
// then.
func (z *reader) Close() error {
	defer z.home.Put(z)
	return z.Reader.Close()
}
