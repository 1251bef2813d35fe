// Package arena allocates small things together, for those who make very many of
// them.
package arena

import "strings"

// defaultChunkLen is ChunkLen's default.
const defaultChunkLen = 4 << 10

// Text makes strings. The zero value is ready. A string keeps the chunk alive
// that it is part of: strings of one Text should be of use for about as long.
type Text struct {
	// ChunkLen is how much text is allocated at once; a quarter of it or more is
	// allocated by itself. Default 4 KiB.
	ChunkLen int
	chunk    strings.Builder
}

// String returns b as a string, mostly without an allocation of its own.
func (t *Text) String(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	chunkLen := t.ChunkLen
	if chunkLen <= 0 {
		chunkLen = defaultChunkLen
	}
	if len(b) >= chunkLen/4 {
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
