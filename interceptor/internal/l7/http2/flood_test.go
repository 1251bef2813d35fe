package http2

import (
	"slices"
	"testing"

	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// BenchmarkFloods feeds segments of frames that take little to send, while many streams are
// open.
func BenchmarkFloods(b *testing.B) {
	for _, x := range []struct {
		name  string
		frame func(p *peer)
	}{
		{"DATA", func(p *peer) { p.data(1, false, make([]byte, 100)) }},
		{"SETTINGS", func(p *peer) { p.frame(frameSettings, flagAck, 0) }},
		{"PING", func(p *peer) { p.frame(framePing, 0, 0, make([]byte, pingLen)) }},
		{"WINDOW_UPDATE", func(p *peer) { p.frame(frameWindowUpdate, 0, 0, u32(1)) }},
		{"GOAWAY", func(p *peer) { p.frame(frameGoAway, 0, 0, u32(1<<31-1, 0)) }},
		{"RST_STREAM", func(p *peer) { p.frame(frameRSTStream, 0, 1<<20+1, u32(8)) }},
		{"empty DATA", func(p *peer) { p.data(1, false, nil) }},
		{"empty CONTINUATION", func(p *peer) { p.frame(frameHeaders, 0, 3); p.frame(frameContinuation, flagEndHeaders, 3) }},
	} {
		b.Run(x.name, func(b *testing.B) {
			h := &harness{}
			p := newPeer()
			p.settings()
			c := New(&Config{Shared: &h.shared}, testConn(false), h.recorder(0), nil)
			client := newPeer()
			client.out = []byte(preface)
			client.settings()
			for i := range uint32(800) {
				client.headers(1+2*i, false, get("/")...)
			}
			c.Data(fromClient, reassembly.Chunk{Acked: -1, Bytes: client.out})
			c.Data(fromServer, reassembly.Chunk{Acked: -1, Bytes: p.out})
			offset := int64(len(p.out))
			p.out = nil
			for len(p.out) < mss() {
				x.frame(p)
			}
			for b.Loop() {
				c.Data(fromServer, reassembly.Chunk{Acked: -1, Offset: offset, Bytes: p.out})
				offset += int64(len(p.out))
			}
		})
	}
}

// TestManyGOAWAY: what one of very many refuses is told, if later than what the first do.
func TestManyGOAWAY(t *testing.T) {
	k := newTalk(t, Config{})
	for id := uint32(1); id < 10; id += 2 {
		k.client.headers(id, true, get("/")...)
	}
	k.flush()
	for range 1000 {
		k.server.frame(frameGoAway, 0, 0, u32(7, 1))
	}
	k.flush()
	if n := len(k.records); n != 1 || k.records[0].StreamId != 9 {
		t.Errorf("%d records, want that of stream 9", n)
	}
	k.server.frame(frameGoAway, 0, 0, u32(5, 2))
	refused := 0
	for _, x := range k.end() {
		if slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_RESET) {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d are told as refused, want 2", refused)
	}
}
