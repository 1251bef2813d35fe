package http1

import (
	"fmt"
	"strings"
	"testing"

	"capstan/pkg/reassembly"
)

// TestPartialStartLine cuts messages off in their first line, as a short snap
// length does.
func TestPartialStartLine(t *testing.T) {
	for _, tc := range []struct {
		name, request, response string
		want                    []string
	}{
		{"both", "GET /1 HTT", "HTTP/1.1 404 Not", []string{"GET /1 0 > 404 0 gap"}},
		{"behind the target", "GET /1 ", "HTTP/1.1 404 ", []string{"GET /1 0 > 404 0 gap"}},
		{"at the line's end", "GET /1 HTTP/1.1\r", "HTTP/1.1 404\r", []string{"GET /1 0 > 404 0 gap"}},
		{"in the target", "GET /12", "HTTP/1.1 404 Not", []string{"GET /12 0 > 404 0 gap headers_cut"}},
		{"in the method and the status", "GET", "HTTP/1.1 40", nil},
		{"at the target's start", "GET ", "HTTP/1.1 40", nil},
		{"in a target without a path", "GET 12", "HTTP/1.1 40", nil},
		{"in the status", "GET /1 HTTP/1.0", "HTTP/1.1 404", []string{"GET /1 0 > - gap no_response"}},
		{"no method", "SOME bytes HTTP/1.1", "HTTP/1.1 404 Not", []string{"- > 404 0 gap no_request"}},
		{"no version", "GET the rest", "HTTP/1.1 404 Not", []string{"- > 404 0 gap no_request"}},
		{"a CR in the reason", "GET /1 HTT", "HTTP/1.1 404 Not\rX: y", []string{"GET /1 0 > 404 0 gap malformed"}},
		{"a CR in the reason, and a field", "GET /1 HTT", "HTTP/1.1 404 Not\rX: y\r\nA: b\r\n", []string{"GET /1 0 > 404 0 gap malformed"}},
		{"a fold", "GET /1 HTTP/1.1\r\nA: b\r\n c: d\r\nE:", "HTTP/1.1 404 Not", []string{"GET /1 0 > 404 0 gap malformed"}},
		{"interim", "GET /1 ", "HTTP/1.1 100 Cont", []string{"GET /1 0 > - gap no_response"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := full(t)
			h.client(tc.request)
			h.gap(fromClient, 500)
			h.server(tc.response)
			h.gap(fromServer, 500)
			expect(t, h.close(reassembly.CloseFIN), tc.want...)
		})
	}
	t.Run("closed", func(t *testing.T) {
		h := full(t)
		h.client("GET /1 HTT")
		expect(t, h.close(reassembly.CloseRST), "GET /1 0 > - no_response closed_early")
	})
	t.Run("what follows is paired", func(t *testing.T) {
		h := full(t)
		h.client("GET /1 HTT")
		h.gap(fromClient, 30)
		h.server(ok("a"))
		h.client(get(2))
		h.server(ok("bb"))
		expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 1 gap", "GET /2 0 > 200 2 +")
	})
}

// TestLongPath cuts off what follows a path that is certain to be one: it may be anything,
// as an exploit's code.
func TestLongPath(t *testing.T) {
	for n, want := range map[int][]string{
		certainTargetLen:     {"SEARCH /" + strings.Repeat("A", certainTargetLen-1) + " 0 > - gap no_response headers_cut"},
		certainTargetLen - 1: nil,
	} {
		h := full(t)
		h.client("SEARCH /" + strings.Repeat("A", n-1) + "\x01\x90 \xff")
		h.gap(fromClient, 10)
		expect(t, h.close(reassembly.CloseFIN), want...)
	}
}

// TestSnapLength cuts every message off inside of its head: the next one starts
// behind missing bytes, of which is known what their sender had received.
func TestSnapLength(t *testing.T) {
	h := full(t)
	var want []string
	for i := range 20 {
		h.client(fmt.Sprintf("GET /%d?a-long-ques", i))
		h.snapped(fromClient, 1300)
		h.client("tion HTTP/1.1\r\nHost: h\r\n\r\n") // the same request's second segment
		h.server("HTTP/1.1 200 OK\r\nServer: s\r\nContent-Le")
		h.snapped(fromServer, 2000)
		want = append(want, fmt.Sprintf("GET /%d?a-long-ques 0 > 200 0 gap headers_cut", i))
	}
	for i := range 20 {
		h.client(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\nUser-A", i))
		h.snapped(fromClient, 300)
		h.server("HTTP/1.1 200 OK\r\nServer: s\r\nContent-Le")
		h.snapped(fromServer, 2000)
		want = append(want, fmt.Sprintf("GET /%d 0 > 200 0 gap", i))
	}
	expect(t, h.close(reassembly.CloseFIN), want...)
}
