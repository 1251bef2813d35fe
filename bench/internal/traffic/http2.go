package traffic

import (
	"bytes"
	"strconv"
)

// Flow control is opened wide at the start, so that nothing ever waits for a
// window update.
const (
	streamWindow     = 1 << 30
	connectionWindow = 1 << 30 // on top of the 65,535 bytes that there are
)

// http2Script is a connection with rounds of several streams at once: all
// requests of a round go out, then their responses come back interleaved. With
// gRPC each stream is a unary call.
func http2Script(p *Plan, r *random) script {
	h := &http2Writer{plan: p, random: r, client: newHTTP2End(), server: newHTTP2End()}
	h.greet()
	for left := p.Exchanges; left > 0; {
		n := min(left, p.Streams)
		h.round(n)
		left -= n
	}
	h.client.goAway(0) // the server opened no streams
	h.say(client, 0)
	return h.script
}

// http2Writer writes both sides of a connection.
type http2Writer struct {
	plan           *Plan
	random         *random
	client, server *http2End
	stream         uint32 // the last one
	script         script
}

// say makes a message of what a side has written.
func (h *http2Writer) say(from side, exchanges int) {
	e := h.client
	if from == server {
		e = h.server
	}
	h.script = append(h.script, message{from: from, data: bytes.Clone(e.out), exchanges: exchanges})
	e.out = e.out[:0]
}

// greet exchanges the preface and settings (RFC 9113, section 3.4). The
// client's acknowledgement goes out with its first requests.
func (h *http2Writer) greet() {
	h.client.out = append(h.client.out, http2Preface...)
	h.client.settings([2]uint32{settingEnablePush, 0}, [2]uint32{settingInitialWindowSize, streamWindow})
	h.client.windowUpdate(0, connectionWindow)
	h.say(client, 0)
	h.server.settings([2]uint32{settingMaxConcurrentStreams, maxStreams}, [2]uint32{settingInitialWindowSize, streamWindow})
	h.server.settingsAck()
	h.server.windowUpdate(0, connectionWindow)
	h.say(server, 0)
	h.client.settingsAck()
}

// round makes n exchanges at once.
func (h *http2Writer) round(n int) {
	streams := make([]uint32, n)
	bodies := make([][]byte, n)
	for i := range streams {
		streams[i] = h.nextStream()
		bodies[i] = h.body(h.plan.RequestLen)
		h.request(streams[i], len(bodies[i]))
	}
	h.client.bodies(streams, bodies, true)
	h.say(client, 0)
	for i, stream := range streams {
		bodies[i] = h.body(h.plan.ResponseLen)
		h.response(stream, len(bodies[i]))
	}
	grpc := h.plan.Kind == GRPC
	h.server.bodies(streams, bodies, !grpc)
	if grpc {
		for _, stream := range streams {
			h.server.headers(stream, true, "grpc-status", "0", "grpc-message", "")
		}
	}
	h.say(server, n)
}

// nextStream returns 1, 3, 5 and so on.
func (h *http2Writer) nextStream() uint32 {
	if h.stream == 0 {
		h.stream = 1
	} else {
		h.stream += 2
	}
	return h.stream
}

func (h *http2Writer) body(n int) []byte {
	if h.plan.Kind == GRPC {
		return grpcMessage(h.random, n)
	}
	return h.random.appendBody(nil, n)
}

func (h *http2Writer) request(stream uint32, body int) {
	if h.plan.Kind == GRPC {
		h.client.headers(stream, false, grpcRequest(h.random)...)
		return
	}
	fields := []string{":method", "GET", ":scheme", "http", ":authority", serviceName,
		":path", target(h.random), "user-agent", agentName, "accept", "*/*"}
	if body > 0 {
		fields[1] = "POST"
		fields = append(fields, "content-type", bodyType, "content-length", strconv.Itoa(body))
	}
	h.client.headers(stream, body == 0, fields...)
}

func (h *http2Writer) response(stream uint32, body int) {
	if h.plan.Kind == GRPC {
		h.server.headers(stream, false, ":status", "200", "content-type", grpcType)
		return
	}
	h.server.headers(stream, body == 0, ":status", "200", "date", fixedDate, "server", agentName,
		"content-type", bodyType, "content-length", strconv.Itoa(body))
}

// bodies writes DATA frames, of which each stream has one in turn. The streams
// of empty bodies have ended with their headers. With end the last frame of a
// body ends its stream.
func (e *http2End) bodies(streams []uint32, bodies [][]byte, end bool) {
	for more := true; more; {
		more = false
		for i, rest := range bodies {
			if len(rest) == 0 {
				continue
			}
			n := min(len(rest), maxDataLen)
			e.data(streams[i], end && n == len(rest), rest[:n])
			bodies[i] = rest[n:]
			more = more || n < len(rest)
		}
	}
}
