// Package engine turns frames into exchanges: one goroutine per source owns
// everything between a frame and its record, without locks, channels or copies
// of in-order payload. Where one is not enough, the connections are divided
// among several ([Config.Shards], rounds.go, chunk.go, worker.go).
//
// A frame's way through the engine, one file each:
//
//	engine.go      Engine.Frame: count, time
//	shard.go       what belongs to one goroutine
//	decoding.go    decode (pkg/packet), fragments (pkg/defrag)
//	               Assembler.SegmentAt: order, gaps (pkg/reassembly)
//	connection.go  connection.Data: count
//	carrier.go     carrier.Data: which protocol is it?
//	preamble.go    the header of a proxy in front of it (internal/l7/proxyproto)
//	socks.go       the tunnel that a SOCKS proxy makes (internal/l7/socks)
//	greeting.go    HTTP/2 at one end, HTTP/1 at the other
//	detect.go      the first bytes of each protocol
//	               http1.Conn.Data: messages, pairing (internal/l7/http1)
//	               http2.Conn.Data: frames, streams, gRPC (internal/l7/http2)
//	               websocket, tls, opaque: records of connections (internal/l7)
//	               exchange.Recorder: ids, masks (internal/exchange)
//	               Config.Emit: the record leaves
package engine
