package capfile

import (
	"bytes"
	"testing"

	"capstan/pkg/capture"
)

// endless reads the same file again and again.
type endless struct {
	file []byte
	rest []byte
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = e.file
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// BenchmarkReader reads frames of 1,000 bytes, copying them included.
func BenchmarkReader(b *testing.B) {
	var file bytes.Buffer
	w, err := NewWriter(&file, "")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.AddInterface(Interface{LinkType: capture.LinkTypeEthernet}); err != nil {
		b.Fatal(err)
	}
	f := capture.Frame{Data: make([]byte, 1000), Len: 1000}
	for range 200 {
		if err := w.WriteFrame(0, &f); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	r, err := NewReader(&endless{file: file.Bytes()})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Next(&f); err != nil {
			b.Fatal(err)
		}
	}
}
