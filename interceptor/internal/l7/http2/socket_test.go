package http2

import (
	"slices"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

// TestWebSocketOverHTTP2 takes a WebSocket in a stream, whole and with a frame of
// DATA missing (RFC 8441).
func TestWebSocketOverHTTP2(t *testing.T) {
	begin := func(k *talk, status string) {
		k.server.settings(0x8, 1)
		k.flush()
		k.client.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat", ":authority", "h")
		k.flush()
		k.server.headers(1, false, ":status", status, "sec-websocket-protocol", "chat")
		k.flush()
	}
	t.Run("whole", func(t *testing.T) {
		k := newTalk(t, Config{})
		begin(k, "200")
		k.client.data(1, false, []byte("\x81\x83\x00\x00")).data(1, true, []byte("\x00\x00abc")) // a message over two frames of DATA
		k.server.data(1, true, []byte("\x89\x00\x88\x02\x03\xe9"))
		x := k.end()[0]
		w := x.Websocket
		if x.Protocol != capstanv1.Protocol_PROTOCOL_WEBSOCKET || x.StreamId != 1 || !x.Complete || w.Subprotocol != "chat" || len(w.Messages) != 3 {
			t.Fatalf("%v", x)
		}
		if m := w.Messages[0]; string(m.Content) != "abc" || !m.FromClient || w.Server.Pings != 1 || w.Server.CloseCode != 1001 {
			t.Errorf("%v", w)
		}
	})
	t.Run("refused", func(t *testing.T) {
		k := newTalk(t, Config{})
		begin(k, "403")
		k.server.data(1, true, []byte("\x81\x02no"))
		k.client.data(1, true, nil)
		if x := k.end()[0]; x.Websocket != nil || x.Protocol != capstanv1.Protocol_PROTOCOL_HTTP2 {
			t.Errorf("%v", x)
		}
	})
	t.Run("not by its rules", func(t *testing.T) {
		k := newTalk(t, Config{})
		begin(k, "200")
		k.client.data(1, true, []byte("\x81\x02no"))
		k.server.data(1, true, nil)
		if x := k.end()[0]; !slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_MALFORMED) || x.Websocket.Client.MalformedFrames != 1 {
			t.Errorf("%v", x)
		}
	})
}
