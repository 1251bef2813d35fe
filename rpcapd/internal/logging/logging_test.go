package logging

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"capstan/rpcapd/internal/config"
)

func TestPlainLooksLikeTheReference(t *testing.T) {
	var b strings.Builder
	log := New(&b, config.LogPlain, true)
	log.Error("Can't listen on any address")
	log.Warn("Can't listen on socket for 0.0.0.0:2002", "err", errors.New("bind() failed: Address already in use"))
	log.With("peer", "10.0.0.1:5").Info("session ended", "frames", 3, "err", nil)
	log.With("err", errors.New("x")).WithGroup("g").Debug("d", "k", "two words")
	log.Warn("Error from client: a\nrpcapd: error: forged\x1b[0m")
	const want = `rpcapd: error: Can't listen on any address
rpcapd: warning: Can't listen on socket for 0.0.0.0:2002: bind() failed: Address already in use
rpcapd: session ended peer=10.0.0.1:5 frames=3
rpcapd: DEBUG: d: x g.k="two words"
rpcapd: warning: Error from client: a rpcapd: error: forged [0m
`
	if b.String() != want {
		t.Errorf("got:\n%s", b.String())
	}
}

func TestLevels(t *testing.T) {
	for _, format := range []config.LogFormat{config.LogPlain, config.LogText, config.LogJSON} {
		for _, debug := range []bool{false, true} {
			var b strings.Builder
			log := New(&b, format, debug)
			if log.Enabled(t.Context(), slog.LevelDebug) != debug {
				t.Errorf("%s: debugging messages: %v", format, !debug)
			}
			if log.Debug("m"); b.Len() > 0 != debug {
				t.Errorf("%s: %q", format, b.String())
			}
		}
	}
}
