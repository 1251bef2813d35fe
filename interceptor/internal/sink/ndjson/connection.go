package ndjson

import (
	"strconv"

	capstanv1 "capstan/proto/capstan/v1"
)

func appendConnection(dst []byte, c *capstanv1.Connection) []byte {
	dst = appendTraffic(append(dst, `{"client":`...), c.GetClient())
	dst = appendTraffic(append(dst, `,"server":`...), c.GetServer())
	dst = appendString(append(dst, `,"close":`...), nameOf(closeNames[:], int32(c.GetClose())))
	dst = appendIfSent(dst, `,"looksLike":`, c.GetLooksLike())
	return append(strconv.AppendBool(append(dst, `,"midstream":`...), c.GetMidstream()), '}')
}

// closeNames are the enum's names as those of flaws.
var closeNames = [...]string{
	capstanv1.Close_CLOSE_UNSPECIFIED:   "unspecified",
	capstanv1.Close_CLOSE_FIN:           "fin",
	capstanv1.Close_CLOSE_RESET:         "reset",
	capstanv1.Close_CLOSE_REPLACED:      "replaced",
	capstanv1.Close_CLOSE_TIMEOUT:       "timeout",
	capstanv1.Close_CLOSE_EVICTED:       "evicted",
	capstanv1.Close_CLOSE_CAPTURE_ENDED: "captureEnded",
	capstanv1.Close_CLOSE_SOURCE_LOST:   "sourceLost",
}

// number is a member of an object.
type number struct {
	key   string
	value uint64
}

// appendNumbers appends the start of an object with the given members.
func appendNumbers(dst []byte, members ...number) []byte {
	for i, m := range members {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		dst = append(append(append(dst, sep, '"'), m.key...), '"', ':')
		dst = strconv.AppendUint(dst, m.value, 10)
	}
	return dst
}

func appendTraffic(dst []byte, t *capstanv1.Traffic) []byte {
	return append(appendNumbers(dst, number{"bytes", t.GetBytes()}, number{"segments", t.GetSegments()}, number{"gapBytes", t.GetGapBytes()}), '}')
}

func appendWebSocket(dst []byte, w *capstanv1.WebSocket, start uint64) []byte {
	dst = appendWebSocketTraffic(append(dst, `{"client":`...), w.GetClient())
	dst = appendWebSocketTraffic(append(dst, `,"server":`...), w.GetServer())
	dst = strconv.AppendBool(append(dst, `,"compression":`...), w.GetCompression())
	dst = appendIfSent(dst, `,"subprotocol":`, w.GetSubprotocol())
	dst = append(dst, `,"messages":[`...)
	for i, m := range w.GetMessages() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendWebSocketMessage(dst, m, start)
	}
	return append(dst, "]}"...)
}

func appendWebSocketTraffic(dst []byte, t *capstanv1.WebSocketTraffic) []byte {
	dst = appendNumbers(dst, number{"frames", t.GetFrames()}, number{"textMessages", t.GetTextMessages()}, number{"binaryMessages", t.GetBinaryMessages()},
		number{"pings", t.GetPings()}, number{"pongs", t.GetPongs()}, number{"messageBytes", t.GetMessageBytes()},
		number{"compressedMessages", t.GetCompressedMessages()}, number{"resyncs", t.GetResyncs()},
		number{"brokenMessages", t.GetBrokenMessages()}, number{"malformedFrames", t.GetMalformedFrames()})
	if t.GetClosed() {
		dst = strconv.AppendUint(append(dst, `,"closeCode":`...), uint64(t.GetCloseCode()), 10)
		dst = appendString(append(dst, `,"closeReason":`...), t.GetCloseReason())
	}
	return append(dst, '}')
}

func appendWebSocketMessage(dst []byte, m *capstanv1.WebSocketMessage, start uint64) []byte {
	dst = strconv.AppendBool(append(dst, `{"fromClient":`...), m.GetFromClient())
	dst = strconv.AppendUint(append(dst, `,"opcode":`...), uint64(m.GetOpcode()), 10)
	dst = appendTimes(dst, m.GetFirstByteUnixNs(), m.GetLastByteUnixNs(), start)
	dst = strconv.AppendUint(append(dst, `,"size":`...), m.GetSize(), 10)
	dst = strconv.AppendUint(append(dst, `,"frames":`...), uint64(m.GetFrames()), 10)
	dst = strconv.AppendBool(append(dst, `,"compressed":`...), m.GetCompressed())
	dst = strconv.AppendBool(append(dst, `,"incomplete":`...), m.GetIncomplete())
	if content := m.GetContent(); len(content) > 0 {
		dst = appendBytes(append(dst, `,"content":`...), content)
		dst = strconv.AppendUint(append(dst, `,"contentSize":`...), m.GetContentSize(), 10)
	}
	return append(dst, '}')
}

func appendTLS(dst []byte, t *capstanv1.Tls) []byte {
	dst = appendNumbers(dst, number{"version", uint64(t.GetVersion())}, number{"cipherSuite", uint64(t.GetCipherSuite())}, number{"encryptedBytes", t.GetEncryptedBytes()})
	dst = appendIfSent(dst, `,"serverName":`, t.GetServerName())
	dst = appendIfSent(dst, `,"alpn":`, t.GetAlpn())
	dst = appendIfSent(dst, `,"cipherSuiteName":`, t.GetCipherSuiteName())
	dst = append(dst, `,"alpnOffered":[`...)
	for i, p := range t.GetAlpnOffered() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, p)
	}
	dst = append(dst, `],"versionsOffered":[`...)
	for i, v := range t.GetVersionsOffered() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(v), 10)
	}
	dst = strconv.AppendBool(append(dst, `],"clientHello":`...), t.GetClientHello())
	dst = strconv.AppendBool(append(dst, `,"serverHello":`...), t.GetServerHello())
	dst = strconv.AppendBool(append(dst, `,"helloRetry":`...), t.GetHelloRetry())
	dst = strconv.AppendBool(append(dst, `,"encryptedClientHello":`...), t.GetEncryptedClientHello())
	dst = strconv.AppendBool(append(dst, `,"resumptionOffered":`...), t.GetResumptionOffered())
	if t.GetAlerted() {
		dst = strconv.AppendUint(append(dst, `,"alert":`...), uint64(t.GetAlert()), 10)
	}
	return append(dst, '}')
}
