package engine

import (
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/pkg/reassembly"
)

// shard has some of the connections, or all of them. It belongs to one
// goroutine.
type shard struct {
	cfg       Config
	assembler *reassembly.Assembler
	recorder  *exchange.Recorder
	http1     http1.Shared
	http2     http2.Shared
	websocket websocket.Shared
	protocols [NumProtocols]ProtocolStats
}

func newShard(cfg Config) *shard {
	s := &shard{recorder: exchange.NewRecorder(cfg.Exchange)}
	cfg.HTTP1.Shared, cfg.HTTP2.Shared, cfg.WebSocket.Shared = &s.http1, &s.http2, &s.websocket
	cfg.HTTP2.WebSocket = cfg.WebSocket
	s.cfg = cfg
	s.assembler = reassembly.New(cfg.Reassembly, s.newConnection)
	return s
}

func (s *shard) counters() Counters {
	return Counters{Protocols: s.protocols, Reassembly: s.assembler.Stats(), HTTP1: s.http1.Stats, HTTP2: s.http2.Stats, Exchange: s.recorder.Stats()}
}
