package textbook

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/google/gopacket/tcpassembly/tcpreader"
	"golang.org/x/net/http2"
)

// connection is what the readers of its two directions share.
type connection struct {
	factory *factory

	mu sync.Mutex
	// Guarded by mu.
	pending []*pending           // requests of HTTP/1 without response, oldest first
	streams map[uint32]*Exchange // of HTTP/2, by stream, without the end of the response
}

// pending is a request that waits for its response.
type pending struct {
	request  *http.Request
	exchange *Exchange
}

// read reads one direction to its end: what isn't understood is read all the
// same, since the assembler waits for it.
func (c *connection) read(stream io.Reader, fromServer bool) {
	b := bufio.NewReader(stream)
	switch {
	case fromServer && startsWith(b, "HTTP/"):
		c.readResponses(b)
	case fromServer:
		c.readFrames(b, true)
	case startsWith(b, http2.ClientPreface):
		_, _ = b.Discard(len(http2.ClientPreface)) // which have been seen
		c.readFrames(b, false)
	default:
		c.readRequests(b)
	}
	tcpreader.DiscardBytesToEOF(b)
}

// startsWith reports whether the next bytes are those of the prefix, looking at
// no more than it takes to tell.
func startsWith(b *bufio.Reader, prefix string) bool {
	for n := 1; n <= len(prefix); n++ {
		seen, err := b.Peek(n)
		if err != nil || seen[n-1] != prefix[n-1] {
			return false
		}
	}
	return true
}

func (c *connection) readRequests(b *bufio.Reader) {
	for {
		r, err := http.ReadRequest(b)
		if err != nil {
			return
		}
		e := &Exchange{Method: r.Method, Host: r.Host, Path: r.URL.Path, RequestHeader: r.Header}
		e.RequestBody, e.RequestLen, err = readBody(r.Body, r.ContentLength)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.pending = append(c.pending, &pending{r, e})
		c.mu.Unlock()
	}
}

func (c *connection) readResponses(b *bufio.Reader) {
	for {
		// With its first byte here, its request has been read.
		if _, err := b.Peek(1); err != nil {
			return
		}
		p := c.oldest()
		if p == nil {
			return
		}
		r, err := http.ReadResponse(b, p.request)
		if err != nil {
			return
		}
		e := p.exchange
		e.Status, e.ResponseHeader = r.StatusCode, r.Header
		e.ResponseBody, e.ResponseLen, err = readBody(r.Body, r.ContentLength)
		if err != nil {
			return
		}
		c.factory.done(e)
	}
}

// oldest takes the oldest request without response. There is one, since the
// assembler waits for each reader before it goes on.
func (c *connection) oldest() *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return nil
	}
	p := c.pending[0]
	c.pending = c.pending[1:]
	return p
}

// readBody reads a body to its end and keeps its beginning. length is what the
// head says of it, below zero: nothing.
func readBody(body io.Reader, length int64) (kept []byte, n int64, err error) {
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(min(length, bodyLimit)) + bytes.MinRead)
	}
	if n, err = io.Copy(&b, io.LimitReader(body, bodyLimit)); err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, body)
		n += rest
	}
	return b.Bytes(), n, err
}
