package text

import (
	"strconv"
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// appendConnection appends protocol, what is known of it, how the connection
// ended, and the bytes of both directions.
func (e Encoder) appendConnection(dst []byte, x *capstanv1.Exchange) []byte {
	c := x.GetConnection()
	dst = e.on(dst, bold)
	dst = append(dst, protocolWords[x.GetProtocol()]...)
	dst = e.off(dst)
	switch {
	case x.GetTls() != nil:
		dst = appendTLS(dst, x.GetTls())
		if c.GetLooksLike() != "" {
			dst = appendSafe(append(dst, " answer="...), c.GetLooksLike())
		}
	case x.GetWebsocket() != nil:
		dst = appendWebSocket(dst, x.GetWebsocket())
	case c.GetLooksLike() != "":
		dst = appendSafe(append(dst, ' '), c.GetLooksLike())
	}
	dst = append(append(dst, ' '), strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(c.GetClose().String(), "CLOSE_"), "_", "-"))...)
	dst = appendSize(append(dst, ' '), true, c.GetClient().GetBytes())
	return appendSize(append(dst, '/'), true, c.GetServer().GetBytes())
}

var protocolWords = map[capstanv1.Protocol]string{
	capstanv1.Protocol_PROTOCOL_WEBSOCKET: "WebSocket",
	capstanv1.Protocol_PROTOCOL_TLS:       "TLS",
	capstanv1.Protocol_PROTOCOL_OTHER:     "TCP",
}

func appendTLS(dst []byte, t *capstanv1.Tls) []byte {
	if v := t.GetVersion(); v >= 0x0301 && v <= 0x0304 {
		dst = append(append(dst, " 1."...), '0'+byte(v-0x0301))
	}
	for _, s := range [...]string{t.GetServerName(), t.GetAlpn(), t.GetCipherSuiteName()} {
		if s != "" {
			dst = appendSafe(append(dst, ' '), s)
		}
	}
	if t.GetAlerted() {
		dst = strconv.AppendUint(append(dst, " alert="...), uint64(t.GetAlert()), 10)
	}
	return dst
}

// appendWebSocket appends the messages of both ends and who closed how.
func appendWebSocket(dst []byte, w *capstanv1.WebSocket) []byte {
	messages := func(t *capstanv1.WebSocketTraffic) uint64 { return t.GetTextMessages() + t.GetBinaryMessages() }
	dst = strconv.AppendUint(append(dst, ' '), messages(w.GetClient()), 10)
	dst = strconv.AppendUint(append(dst, '/'), messages(w.GetServer()), 10)
	dst = append(dst, " messages"...)
	for _, t := range [...]*capstanv1.WebSocketTraffic{w.GetClient(), w.GetServer()} {
		if t.GetClosed() {
			return strconv.AppendUint(append(dst, " code="...), uint64(t.GetCloseCode()), 10)
		}
	}
	return dst
}
