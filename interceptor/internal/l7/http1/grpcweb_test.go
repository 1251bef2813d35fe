package http1

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// webBody is a body of gRPC-Web: a message of n bytes, then trailers.
func webBody(n int, trailers string) string {
	return fmt.Sprintf("\x00\x00\x00\x00%c%s", n, strings.Repeat("m", n)) + fmt.Sprintf("\x80\x00\x00\x00%c%s", len(trailers), trailers)
}

// TestCase86GRPCWeb takes calls of gRPC-Web, in bytes and in text.
func TestCase86GRPCWeb(t *testing.T) {
	h := full(t)
	ask := "POST /p.S/M HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web%s\r\nGrpc-Timeout: 1S\r\nContent-Length: %d\r\n\r\n%s"
	answer := "HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web%s\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunks := func(s string) (chunked string) {
		for ; s != ""; s = s[min(7, len(s)):] {
			chunked += fmt.Sprintf("%x\r\n%s\r\n", min(7, len(s)), s[:min(7, len(s))])
		}
		return chunked + "0\r\n\r\n"
	}
	body := "\x00\x00\x00\x00\x03abc"
	h.client(fmt.Sprintf(ask, "+proto", len(body), body))
	h.server(fmt.Sprintf(answer, "+proto") + chunks(webBody(30, "grpc-status: 0\r\n")))
	text := base64.StdEncoding.EncodeToString([]byte(body))
	h.client(fmt.Sprintf(ask, "-text", len(text), text))
	h.server(fmt.Sprintf(answer, "-text") + chunks(base64.StdEncoding.EncodeToString([]byte(webBody(40, "grpc-status: 3\r\ngrpc-message: a%20b\r\n")))))
	h.client(fmt.Sprintf(ask, "", len(body), body))
	h.server("HTTP/1.1 503 No\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno")
	h.client(fmt.Sprintf(ask, "", 100, body))
	records := h.close(reassembly.CloseRST)
	var got []string
	for _, x := range records {
		if x.Protocol != capstanv1.Protocol_PROTOCOL_GRPC {
			t.Fatalf("%v", x)
		}
		g := x.Grpc
		got = append(got, fmt.Sprintf("%s/%s %v %d %v %v %v %d %q %d", g.Service, g.Method, g.Web, g.TimeoutNs, g.RequestMessages, g.ResponseMessages, g.StatusKnown, g.Status, g.StatusMessage, len(x.Response.GetTrailers())))
	}
	message := func(n int) string {
		return fmt.Sprint(&capstanv1.GrpcMessages{Count: 1, Bytes: uint64(n), Lengths: []uint32{uint32(n)}})
	}
	want := []string{
		fmt.Sprintf("p.S/M true 1000000000 %s %s true 0 \"\" 1", message(3), message(30)),
		fmt.Sprintf("p.S/M true 1000000000 %s %s true 3 \"a b\" 2", message(3), message(40)),
		fmt.Sprintf("p.S/M true 1000000000 %s  false 0 \"\" 0", message(3)),
		fmt.Sprintf("p.S/M true 1000000000 %s %s false 0 \"\" 0", &capstanv1.GrpcMessages{Count: 1, Bytes: 3, Lengths: []uint32{3}, Incomplete: true},
			&capstanv1.GrpcMessages{Incomplete: true}), // which was not seen
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestCompressedTrailers: connect-go compresses the trailers as it does messages.
func TestCompressedTrailers(t *testing.T) {
	h := full(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	// Writing to a bytes.Buffer can't fail.
	_, _ = z.Write([]byte("grpc-status: 5\r\ngrpc-message: none\r\nx-more: 1\r\n"))
	_ = z.Close()
	body := webBody(3, "")[:8] + fmt.Sprintf("\x81\x00\x00\x00%c%s", packed.Len(), packed.Bytes())
	for _, coding := range []string{"gzip", "unheard-of"} {
		h.client("POST /p.S/M HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web\r\nContent-Length: 0\r\n\r\n")
		h.server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nGrpc-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", coding, len(body), body))
	}
	records := h.close(reassembly.CloseFIN)
	if g, s := records[0].Grpc, records[0].Response; !g.StatusKnown || g.Status != 5 || g.StatusMessage != "none" || len(s.Trailers) != 3 || g.ResponseMessages.Count != 1 {
		t.Errorf("%v, trailers %v", g, s.Trailers)
	}
	if g, s := records[1].Grpc, records[1].Response; g.StatusKnown || len(s.Trailers) != 0 || g.ResponseMessages.Count != 1 || g.ResponseMessages.Incomplete {
		t.Errorf("a coding that nobody knows: %v, trailers %v", g, s.Trailers)
	}
}
