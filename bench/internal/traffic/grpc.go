package traffic

import "encoding/binary"

const grpcType = "application/grpc"

// grpcRequest returns the header fields of a call (gRPC over HTTP2, "Requests").
func grpcRequest(r *random) []string {
	methods := [...]string{"GetProduct", "ListProducts", "PlaceOrder"}
	return []string{
		":method", "POST", ":scheme", "http", ":path", "/shop.v1.Shop/" + methods[r.below(len(methods))],
		":authority", serviceName, "te", "trailers", "content-type", grpcType, "user-agent", agentName,
	}
}

// grpcMessage returns a length-prefixed message whose n bytes are valid
// protobuf (n isn't 1): field 1 is text.
func grpcMessage(r *random, n int) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(n)) // not compressed
	if n == 0 {
		return b
	}
	text, ok := textLen(n)
	if !ok { // field 2, a number, makes up for what the length can't express
		b = append(b, 2<<3, 1)
		text, _ = textLen(n - 2)
	}
	b = append(b, 1<<3|2)
	b = binary.AppendUvarint(b, uint64(text))
	return r.appendText(b, text)
}

// textLen returns the length of text whose field takes exactly n bytes with its
// key and its length.
func textLen(n int) (text int, ok bool) {
	for prefix := 1; prefix <= binary.MaxVarintLen32; prefix++ {
		text = n - 1 - prefix
		if text >= 0 && len(binary.AppendUvarint(nil, uint64(text))) == prefix {
			return text, true
		}
	}
	return 0, false
}
