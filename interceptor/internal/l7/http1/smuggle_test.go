package http1

import (
	"fmt"
	"testing"

	"capstan/pkg/reassembly"
)

// TestSmuggledRequestShiftsNoPair hides a request in the body of one that can be read in
// two ways. Here it is read as a request, and its server sees none: so nothing answers it,
// and what answers the next one is not its response.
func TestSmuggledRequestShiftsNoPair(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\n\r\n"
	chunks := "0\r\n\r\n" + hidden
	length := fmt.Sprintf("Content-Length: %d", len(chunks))
	const te = "Transfer-Encoding: chunked"
	for _, x := range []struct{ name, version, fields, body string }{
		{"length and chunked", "1.1", length + "\r\n" + te, chunks},
		{"length and list of codings", "1.1", length + "\r\nTransfer-Encoding: gzip, chunked", chunks},
		{"chunked in HTTP/1.0", "1.0", te, chunks},
		{"coding with parameter", "1.1", "Transfer-Encoding: chunked;q=1", chunks},
		{"coding twice", "1.1", "Transfer-Encoding: chunked, chunked", chunks},
		{"CR before a length", "1.1", "X: a\r" + length, hidden},
		{"length in a fold", "1.1", "X: a\r\n " + length, hidden},
		{"NUL behind a name", "1.1", "Content-Length\x00: 24", hidden},
		{"LF before a length", "1.1", "Content-Length: 0\nX: a", hidden},
		{"leading zero", "1.1", "Content-Length: 00", hidden},
		{"size behind a blank", "1.1", te, "0 18\r\n\r\n" + hidden},
		{"size behind a tab", "1.1", te, "0\t18\r\n\r\n" + hidden},
		{"CR in an extension", "1.1", te, "0;a\rb\r\n\r\n" + hidden},
		{"CR behind a size", "1.1", te, "0\ra\r\n\r\n" + hidden},
		{"LF behind the last size", "1.1", te, "0\n\r\n" + hidden},
		{"LF behind a trailer", "1.1", te, "0\r\nX: a\n\r\n" + hidden},
	} {
		for _, size := range []int{1 << 10, 1} {
			t.Run(fmt.Sprintf("%s/%d", x.name, size), func(t *testing.T) {
				h := full(t)
				message := "POST /1 HTTP/" + x.version + "\r\n" + x.fields + "\r\n\r\n" + x.body
				for ; len(message) > 0; message = message[min(size, len(message)):] {
					h.client(message[:min(size, len(message))])
				}
				h.server(ok("a"))
				h.client(get(2))
				h.server(ok("bb"))
				h.client(get(3))
				h.server(ok("ccc"))
				hidden := false
				for _, r := range h.close(reassembly.CloseFIN) {
					if r.Request == nil || r.Response == nil {
						hidden = hidden || r.Request.GetTarget() == "/hidden"
						continue
					}
					if want := fmt.Sprintf("/%d", r.Response.Body.Size); r.Request.Target != want {
						t.Errorf("%s has the response to %s", r.Request.Target, want)
					}
				}
				if !hidden {
					t.Error("the hidden request is not told")
				}
			})
		}
	}
}

// TestSmuggledResponseShiftsNoPair hides a response in one that can be read in two ways,
// and which two requests wait for.
func TestSmuggledResponseShiftsNoPair(t *testing.T) {
	hidden := ok("hidden")
	for _, x := range []struct{ name, fields, body string }{
		{"length behind a CR in the reason", fmt.Sprintf("\rContent-Length: %d\r\nContent-Length: 0", len(hidden)), ""},
		{"length and chunked", fmt.Sprintf("\r\nContent-Length: %d\r\nTransfer-Encoding: chunked", 5+len(hidden)), "0\r\n\r\n"},
		{"length in a fold", fmt.Sprintf("\r\nContent-Length: 0\r\nX: a\r\n Content-Length: %d", len(hidden)), ""},
		{"size behind a blank", "\r\nTransfer-Encoding: chunked", fmt.Sprintf("0 %x\r\n\r\n", len(hidden))},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := full(t)
			h.client(get(1) + get(2))
			h.server("HTTP/1.1 200 OK" + x.fields + "\r\n\r\n" + x.body + hidden)
			h.server(ok("bb"))
			expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 200 0 + malformed", "GET /2 0 > - no_response", "- > 200 6 no_request", "- > 200 2 no_request")
		})
	}
}

// TestAmbiguousMessageIsNoLoss: a client that waits for each response is followed.
func TestAmbiguousMessageIsNoLoss(t *testing.T) {
	const request = "POST /%d HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nabc\n0\n\n"
	h := full(t)
	for i := range 4 {
		h.client(fmt.Sprintf(request, i))
		h.server("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n")
	}
	expect(t, h.close(reassembly.CloseFIN), "POST /0 3 > 200 1 + malformed", "POST /1 3 > 200 1 + malformed", "POST /2 3 > 200 1 + malformed", "POST /3 3 > 200 1 + malformed")
}

// TestUnsentBody: a client that is refused by the answer to its head doesn't send the body,
// but the next request. That is not the body of the first, nor are the credentials in it.
func TestUnsentBody(t *testing.T) {
	const refused = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
	for _, framing := range []string{"Content-Length: 300", "Transfer-Encoding: chunked"} {
		for _, next := range []string{"GET", "DELETE"} { // the digits DE of a size
			t.Run(framing+"/"+next, func(t *testing.T) {
				h := full(t)
				h.client("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\n" + framing + "\r\n\r\n")
				h.server(refused)
				h.client(next + " /2 HTTP/1.1\r\nAuthorization: Basic abc\r\n\r\n")
				h.server(ok("x"))
				xs := h.close(reassembly.CloseFIN)
				expect(t, xs, "POST /1 0 > 401 0 malformed", next+" /2 0 > 200 1 +")
				if got := xs[1].Request.Headers[0].Value; got != "***" {
					t.Errorf("credentials %q", got)
				}
			})
		}
	}
	t.Run("is refused by what is missing", func(t *testing.T) {
		h := full(t)
		h.client("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n")
		h.gap(fromServer, int64(len(refused)))
		h.client("GET /2 HTTP/1.1\r\nAuthorization: Basic abc\r\n\r\n")
		h.server(ok("x"))
		h.client(get(3))
		h.server(ok("xx"))
		expect(t, h.close(reassembly.CloseFIN), "- > 200 1 no_request", "POST /1 0 > - no_response malformed", "GET /2 0 > - no_response", "GET /3 0 > 200 2 +")
	})
	t.Run("is refused at length", func(t *testing.T) {
		h := full(t)
		h.client("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n")
		h.server("HTTP/1.1 417 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		h.gap(fromServer, 20)
		h.server("5\r\nhello\r\n0\r\n\r\n")
		h.client(get(2))
		h.server(ok("x"))
		expect(t, h.close(reassembly.CloseFIN), "POST /1 0 > 417 10 gap malformed place_guessed", "GET /2 0 > 200 1 +")
	})
	t.Run("is missing, or the next request is", func(t *testing.T) {
		h := full(t)
		h.client("PUT /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n")
		h.server(refused)
		h.gap(fromClient, 280)
		h.client("aaaaaaaaaaaaaaaaaaaaaaaaaa") // the end of another body
		h.server(ok(""))
		h.client(get(2))
		h.server(ok("x"))
		expect(t, h.close(reassembly.CloseFIN), "PUT /1 0 > 401 0 gap", "- > 200 0 no_request", "GET /2 0 > 200 1 +")
	})
	t.Run("is sent", func(t *testing.T) {
		h := full(t)
		h.client("POST /1 HTTP/1.1\r\nContent-Length: 22\r\n\r\n")
		h.server(refused)
		h.client("GET is not a request\r\n")
		h.client(get(2))
		h.server(ok("x"))
		expect(t, h.close(reassembly.CloseFIN), "POST /1 22 > 401 0 +", "GET /2 0 > 200 1 +")
	})
	t.Run("is a request, not answered yet", func(t *testing.T) {
		h := full(t)
		h.client(fmt.Sprintf("POST /1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n", len(get(2))))
		h.client(get(2))
		h.server(ok("x"))
		expect(t, h.close(reassembly.CloseFIN), fmt.Sprintf("POST /1 %d > 200 1 +", len(get(2))))
	})
	t.Run("is a request, sent after all", func(t *testing.T) {
		h := full(t)
		h.client(fmt.Sprintf("POST /1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n", len(get(2))))
		h.server(refused)
		h.client(get(2) + get(3))
		h.server(ok("xxx"))
		expect(t, h.close(reassembly.CloseFIN), "POST /1 0 > 401 0 malformed", "GET /2 0 > - no_response", "GET /3 0 > - no_response", "- > 200 3 no_request")
	})
}

// TestRequestBehindRefusedTunnel: a request that a client sends behind CONNECT without having
// waited is one to a server that refuses the tunnel, and to others none. It is told, and no
// response given to it, nor is any to what this client asks for later.
func TestRequestBehindRefusedTunnel(t *testing.T) {
	const connect = "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
	const refusal = "HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n\r\n"
	for _, size := range []int{1 << 10, 1} {
		h := full(t)
		sent := connect + get(2)
		for ; len(sent) > 0; sent = sent[min(size, len(sent)):] {
			h.client(sent[:min(size, len(sent))])
		}
		h.server(refusal)
		h.server(ok("bb"))
		h.client(get(3))
		h.server(ok("ccc"))
		expect(t, h.close(reassembly.CloseFIN), "GET /2 0 > - no_response", "CONNECT h:443 0 > 407 0 +", "- > 200 2 no_request", "GET /3 0 > - no_response", "- > 200 3 no_request")
		if s := &h.shared.Stats; s.TunnelledBytes != 0 || s.SkippedBytes != 0 {
			t.Errorf("stats %+v", s)
		}
	}
}

// TestUnaskedSwitch: no server may change to a protocol that was not asked for. HTTP goes on
// being looked for.
func TestUnaskedSwitch(t *testing.T) {
	const made = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	h := full(t)
	h.client(get(1))
	h.server(made)
	expect(t, h.close(reassembly.CloseFIN), "GET /1 0 > 101 0 + malformed")

	h = full(t)
	h.gap(fromClient, 100) // which may have asked
	h.server(made)
	expect(t, h.close(reassembly.CloseFIN), "- > 101 0 no_request")
}

// TestReadInTwoWays: what one server takes otherwise than another is marked.
func TestReadInTwoWays(t *testing.T) {
	const host = "GET /1 HTTP/1.1\r\nHost: a\r\n"
	for _, x := range []struct{ name, request, response, want string }{
		{"one host", host + "\r\n", ok("a"), "GET /1 0 > 200 1 +"},
		{"two hosts", host + "X: y\r\nhost: b\r\n\r\n", ok("a"), "GET /1 0 > 200 1 + malformed"},
		{"the same host three times", host + "Host: a\r\nHost: a\r\n\r\n", ok("a"), "GET /1 0 > 200 1 + malformed"},
		{"Content-Length behind the body", "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", ok("a"), "POST /1 0 > 200 1 + malformed"},
		{"Transfer-Encoding behind the body", get(1), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", "GET /1 0 > 200 0 + malformed"},
		{"Host behind the body", "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", ok("a"), "POST /1 0 > 200 1 +"},
		{"nearly chunked", get(1), "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "GET /1 0 > 200 5 + malformed"},
		{"another coding", get(1), "HTTP/1.1 200 OK\r\nTransfer-Encoding: GZIP\r\n\r\nabc", "GET /1 0 > 200 3 +"},
	} {
		t.Run(x.name, func(t *testing.T) {
			for range 2 { // the second time the lines are known
				h := full(t)
				h.client(x.request)
				h.server(x.response)
				expect(t, h.close(reassembly.CloseFIN), x.want)
			}
		})
	}
}
