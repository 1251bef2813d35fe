package traffic

import (
	"fmt"
	"slices"
)

const (
	serviceName = "shop.example"
	agentName   = "capstan-bench"
	fixedDate   = "Thu, 01 Jan 2026 00:00:00 GMT"
	// chunkedEvery is how often a response body comes in chunks.
	chunkedEvery = 4
	chunkLen     = 4096
)

// http1Script is a keep-alive connection with one exchange after the other.
func http1Script(p *Plan, r *random) script {
	var s script
	for i := range p.Exchanges {
		s = append(s,
			message{from: client, data: http1Request(p, r)},
			message{from: server, data: http1Response(p, r, i), exchanges: 1})
	}
	return s
}

func http1Request(p *Plan, r *random) []byte {
	method := "GET"
	if p.RequestLen > 0 {
		method = "POST"
	}
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAccept: */*\r\nX-Request-Id: %016x\r\n",
		method, target(r), serviceName, agentName, r.next())
	if p.RequestLen > 0 {
		b = fmt.Appendf(b, "Content-Type: %s\r\nContent-Length: %d\r\n", bodyType, p.RequestLen)
	}
	return r.appendBody(append(b, "\r\n"...), p.RequestLen)
}

func http1Response(p *Plan, r *random, number int) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nDate: %s\r\nServer: %s\r\nContent-Type: %s\r\n", fixedDate, agentName, bodyType)
	if number%chunkedEvery != chunkedEvery-1 {
		b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n", p.ResponseLen)
		return r.appendBody(b, p.ResponseLen)
	}
	b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
	for chunk := range slices.Chunk(r.appendBody(nil, p.ResponseLen), chunkLen) {
		b = fmt.Appendf(b, "%x\r\n", len(chunk))
		b = append(append(b, chunk...), "\r\n"...)
	}
	return append(b, "0\r\n\r\n"...)
}

// target is what a request asks for.
func target(r *random) string {
	return fmt.Sprintf("/api/products/%d?page=%d", r.below(10000), r.below(20))
}
