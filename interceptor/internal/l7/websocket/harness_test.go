package websocket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	capstanv1 "capstan/proto/capstan/v1"
)

// frame writes a frame as an honest end does; b0 is its first byte.
func frame(fromClient bool, b0 byte, payload []byte) []byte {
	b := []byte{b0, 0}
	switch n := len(payload); {
	case n < length16:
		b[1] = byte(n)
	case n <= 0xffff:
		b[1] = length16
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = length64
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !fromClient {
		return append(b, payload...)
	}
	b[1] |= maskBit
	mask := []byte{0x11, 0xa2, 0x00, byte(len(payload))}
	b = append(b, mask...)
	for i, c := range payload {
		b = append(b, c^mask[i%maskLen])
	}
	return b
}

// deflater compresses the messages of one end (RFC 7692 §7.2.1).
type deflater struct {
	t   testing.TB
	w   *flate.Writer
	out bytes.Buffer
}

func newDeflater(t testing.TB) *deflater {
	d := &deflater{t: t}
	var err error
	if d.w, err = flate.NewWriter(&d.out, 6); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *deflater) message(b []byte) []byte {
	d.out.Reset()
	if _, err := d.w.Write(b); err != nil {
		d.t.Fatal(err)
	}
	if err := d.w.Flush(); err != nil {
		d.t.Fatal(err)
	}
	return bytes.TrimSuffix(bytes.Clone(d.out.Bytes()), []byte{0, 0, 0xff, 0xff})
}

// line is a message in one line.
func line(m *capstanv1.WebSocketMessage) string {
	from, content := "S", string(m.Content)
	if m.FromClient {
		from = "C"
	}
	if len(content) > 20 {
		content = fmt.Sprintf("%s…%d", content[:5], len(content))
	}
	s := fmt.Sprintf("%s %d %q of %d/%d in %d", from, m.Opcode, content, m.ContentSize, m.Size, m.Frames)
	if m.Compressed {
		s += " compressed"
	}
	if m.Incomplete {
		s += " incomplete"
	}
	return s
}

func lines(w *capstanv1.WebSocket) (s []string) {
	for _, m := range w.Messages {
		s = append(s, line(m))
	}
	return s
}

func expect(t *testing.T, w *capstanv1.WebSocket, want ...string) {
	t.Helper()
	if got := lines(w); !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
