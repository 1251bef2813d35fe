package http1

import (
	"strings"
	"testing"
)

func TestLooksLike(t *testing.T) {
	type answer struct{ ok, needMore bool }
	yes, no, more := answer{true, false}, answer{false, false}, answer{false, true}
	for _, tc := range []struct {
		in                string
		request, response answer
	}{
		{"GET / HTTP/1.1\r\n", yes, no},
		{"\r\nGET / HTTP/1.1\r\n", yes, no},
		{"FROBNICATE * HTTP/1.0", yes, no},
		{"M-SEARCH * HTTP/1.1", yes, no},
		{"CONNECT h:443 HTTP/1.1", yes, no},
		{"GET / HTTP/2.0\r\n", no, no},
		{"PRI * HTTP/2.0\r\n\r\nSM", no, no},
		{"GET  / HTTP/1.1", yes, no},
		{"GET  /", more, no},
		{"FROBNICATE  / HTTP/1.1", no, no},
		{"GET / there HTTP/1.1", yes, no},
		{"GET / there HTTP", more, no},
		{"GET / there\r\nX: HTTP/1.1", no, no},
		{"GET there and HTTP/1.1", no, no},
		{"FROBNICATE / there HTTP/1.1", no, no},
		{"GET / there" + strings.Repeat("a", 9000), no, no},
		{"get / HTTP/1.1", no, no},
		{"GO / HTTP/1.1", no, no},
		{"ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1", no, no},
		{"GET /\r\n", yes, no},
		{"GET \r\n", no, no},
		{"GET HTTP/1.1\r\n", yes, no},
		{"CCM_POST / HTTP/1.1\r\n", yes, no},
		{"_GET / HTTP/1.1\r\n", no, no},
		{"GET x\r\n", no, no},
		{"FOO /\r\n", no, no},
		{"\x16\x03\x01\x02\x00", no, no},
		{"SSH-2.0-OpenSSH\r\n", no, no},
		{"GET /" + strings.Repeat("a", 600), yes, no},
		{"FOO /" + strings.Repeat("a", 9000), no, no},
		{"HTTP/1.1 200 OK\r\n", no, yes},
		{"HTTP/1.0 404\r\n", no, yes},
		{"HTTP/1.1 200\n", no, yes},
		{"HTTP/1.1 2000", no, no},
		{"HTTP/1.1 2x0 OK", no, no},
		{"HTTP/2 200", no, no},
		{"", more, more},
		{"\r\n", more, no},
	} {
		var got answer
		got.ok, got.needMore = LooksLikeRequest([]byte(tc.in), false)
		if got != tc.request {
			t.Errorf("LooksLikeRequest(%.40q) = %v, want %v", tc.in, got, tc.request)
		}
		got.ok, got.needMore = LooksLikeResponse([]byte(tc.in))
		if got != tc.response {
			t.Errorf("LooksLikeResponse(%.40q) = %v, want %v", tc.in, got, tc.response)
		}
	}
	// Every prefix of what is recognised asks for more.
	for _, in := range []string{"GET / HTTP/1.", "UNSUBSCRIBE http://a/b HTTP/1."} {
		for i := range len(in) {
			if ok, needMore := LooksLikeRequest([]byte(in[:i]), false); ok || !needMore {
				t.Errorf("LooksLikeRequest(%q) = %v, %v", in[:i], ok, needMore)
			}
		}
	}
	for i := range len("HTTP/1.1 200 ") {
		if ok, needMore := LooksLikeResponse([]byte("HTTP/1.1 200 "[:i])); ok || !needMore {
			t.Errorf("LooksLikeResponse of %d bytes = %v, %v", i, ok, needMore)
		}
	}
}

// TestLogLinesMidstream: what joins an upload of a log sees request lines that go on
// behind their version.
func TestLogLinesMidstream(t *testing.T) {
	for line, want := range map[string]bool{
		"GET /x HTTP/1.1\r\n": true, "GET /x HTTP/1.1 \t\r\n": true, "\r\nGET /x HTTP/1.0\n": true, "GET /x HTTP/1.1": true,
		"GET /x\r\nHTTP/1.1 0.003s": true, "GET /x HTTP/1.1 200 0.003s\r\n": false, "\nGET /x HTTP/1.1\" 200\n": false,
	} {
		if ok, _ := LooksLikeRequest([]byte(line), false); !ok {
			t.Errorf("%q is no request at the start of a connection", line)
		}
		if ok, _ := LooksLikeRequest([]byte(line), true); ok != want {
			t.Errorf("%q is a request midstream: %v", line, ok)
		}
	}
}
