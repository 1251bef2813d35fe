package ndjson

import (
	"strconv"

	capstanv1 "capstan/proto/capstan/v1"
)

func appendGrpc(dst []byte, g *capstanv1.Grpc) []byte {
	dst = appendString(append(dst, `{"service":`...), g.GetService())
	dst = appendString(append(dst, `,"method":`...), g.GetMethod())
	dst = strconv.AppendBool(append(dst, `,"web":`...), g.GetWeb())
	dst = appendMessages(append(dst, `,"requestMessages":`...), g.GetRequestMessages())
	dst = appendMessages(append(dst, `,"responseMessages":`...), g.GetResponseMessages())
	if g.GetStatusKnown() {
		dst = strconv.AppendUint(append(dst, `,"status":`...), uint64(g.GetStatus()), 10)
	}
	dst = appendIfSent(dst, `,"statusMessage":`, g.GetStatusMessage())
	if g.GetTimeoutNs() != 0 {
		dst = strconv.AppendInt(append(dst, `,"timeoutNs":`...), g.GetTimeoutNs(), 10)
	}
	dst = appendIfSent(dst, `,"requestEncoding":`, g.GetRequestEncoding())
	dst = appendIfSent(dst, `,"responseEncoding":`, g.GetResponseEncoding())
	return append(dst, '}')
}

func appendMessages(dst []byte, m *capstanv1.GrpcMessages) []byte {
	dst = strconv.AppendUint(append(dst, `{"count":`...), m.GetCount(), 10)
	dst = strconv.AppendUint(append(dst, `,"bytes":`...), m.GetBytes(), 10)
	dst = strconv.AppendUint(append(dst, `,"compressed":`...), m.GetCompressed(), 10)
	dst = append(dst, `,"lengths":[`...)
	for i, n := range m.GetLengths() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(n), 10)
	}
	dst = strconv.AppendBool(append(dst, `],"incomplete":`...), m.GetIncomplete())
	return append(dst, '}')
}

// appendIfSent appends a member unless its value is empty.
func appendIfSent(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendString(append(dst, key...), value)
}
