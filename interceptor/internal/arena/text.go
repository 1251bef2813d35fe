// Package arena allocates small things together, for those who make very many of
// them.
package arena

import "strings"

const (
	// chunkLen is how much text is allocated at once.
	chunkLen = 4 << 10
	// largeLen is the length from which text is allocated by itself.
	largeLen = chunkLen / 4
)

// Text makes strings. The zero value is ready. A string keeps the chunk alive
// that it is part of, so what is kept for long is better cloned.
type Text struct{ chunk strings.Builder }

// String returns b as a string, mostly without an allocation of its own.
func (t *Text) String(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) >= largeLen {
		return string(b)
	}
	if t.chunk.Cap()-t.chunk.Len() < len(b) {
		t.chunk = strings.Builder{}
		t.chunk.Grow(chunkLen)
	}
	at := t.chunk.Len()
	t.chunk.Write(b)
	return t.chunk.String()[at:]
}
