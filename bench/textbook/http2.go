package textbook

import (
	"bufio"
	"io"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tableLen is the length of the header table that a peer may use before it is
// told otherwise (RFC 9113, section 6.5.2).
const tableLen = 4096

// readFrames reads one direction of an HTTP/2 connection.
func (c *connection) readFrames(b *bufio.Reader, fromServer bool) {
	framer := http2.NewFramer(io.Discard, b)
	framer.ReadMetaHeaders = hpack.NewDecoder(tableLen, nil)
	framer.SetReuseFrames()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		ended := false
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			c.headers(f, fromServer)
			ended = f.StreamEnded()
		case *http2.DataFrame:
			c.data(f, fromServer)
			ended = f.StreamEnded()
		}
		if ended && fromServer {
			c.end(frame.Header().StreamID)
		}
	}
}

// stream returns the exchange of a stream, which begins with the request.
func (c *connection) stream(id uint32, begin bool) *Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.streams[id]
	if e == nil && begin {
		if c.streams == nil {
			c.streams = make(map[uint32]*Exchange)
		}
		e = &Exchange{}
		c.streams[id] = e
	}
	return e
}

func (c *connection) headers(f *http2.MetaHeadersFrame, fromServer bool) {
	e := c.stream(f.StreamID, !fromServer)
	if e == nil {
		return
	}
	header := make(map[string][]string, len(f.Fields))
	for _, field := range f.RegularFields() {
		header[field.Name] = append(header[field.Name], field.Value)
	}
	if !fromServer {
		e.RequestHeader = header
		e.Method, e.Host, e.Path = f.PseudoValue("method"), f.PseudoValue("authority"), f.PseudoValue("path")
		return
	}
	status, err := strconv.Atoi(f.PseudoValue("status"))
	if err != nil { // trailers
		return
	}
	e.ResponseHeader, e.Status = header, status
}

func (c *connection) data(f *http2.DataFrame, fromServer bool) {
	e := c.stream(f.StreamID, false)
	if e == nil {
		return
	}
	b := f.Data()
	if fromServer {
		e.ResponseLen += int64(len(b))
		e.ResponseBody = append(e.ResponseBody, b[:min(len(b), bodyLimit-len(e.ResponseBody))]...)
	} else {
		e.RequestLen += int64(len(b))
		e.RequestBody = append(e.RequestBody, b[:min(len(b), bodyLimit-len(e.RequestBody))]...)
	}
}

// end ends a stream: the response is complete.
func (c *connection) end(id uint32) {
	c.mu.Lock()
	e := c.streams[id]
	delete(c.streams, id)
	c.mu.Unlock()
	if e != nil && e.Status != 0 {
		c.factory.done(e)
	}
}
