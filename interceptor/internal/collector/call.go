package collector

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capstanv1 "capstan/proto/capstan/v1"
)

// call is one call of Deliver, as gRPC carries it over HTTP/2:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. gRPC's own server
// has one limit for the messages of all, known or not, and none for what they
// take together. One goroutine uses it.
type call struct {
	body     io.Reader
	response http.ResponseWriter
	control  *http.ResponseController
	gzip     bool // how messages marked as compressed are
	readers  *sync.Pool
	// share is what the message received last, or on its way, has of the intake.
	share share
}

const (
	// prefixLen is of what stands before a message: whether it is compressed,
	// and its length in big endian.
	prefixLen = 5
	// firstHold is how much of a message is held, and made room for, on its word.
	firstHold = 1 << 20
	// slowest is how long a message may take to come, for each MiB begun.
	slowest = time.Minute
)

// errCrowded sends a sender away, to come again.
var errCrowded = status.Error(codes.ResourceExhausted, "too much is being received, or waits for room, already: come again")

func (s *Server) newCall(w http.ResponseWriter, r *http.Request) *call {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Accept-Encoding", "gzip")
	h.Set("Trailer", "Grpc-Status, Grpc-Message")
	return &call{
		body: r.Body, response: w, control: http.NewResponseController(w), readers: &s.readers,
		gzip: r.Header.Get("Grpc-Encoding") == "gzip",
	}
}

// receive returns the next message, which has at most limit bytes; io.EOF after
// the last. It is held until done is called. There is time for it until deadline;
// if that is zero, for its beginning for ever.
func (c *call) receive(limit int, deadline time.Time) (*capstanv1.DeliverRequest, error) {
	if err := c.control.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	var prefix [prefixLen]byte
	if _, err := io.ReadFull(c.body, prefix[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(prefix[1:]))
	if n > int64(limit) {
		return nil, status.Errorf(codes.ResourceExhausted, "a message of %d bytes: %d are the most", n, limit)
	}
	if deadline.IsZero() {
		if err := c.control.SetReadDeadline(time.Now().Add((1 + time.Duration(n>>20)) * slowest)); err != nil {
			return nil, err
		}
	}
	b, err := c.take(io.LimitReader(c.body, n), min(n, firstHold))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) < n:
		return nil, io.ErrUnexpectedEOF
	case prefix[0] != 0:
		if b, err = c.decompress(b, limit); err != nil {
			return nil, err
		}
	}
	m := new(capstanv1.DeliverRequest)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "a message is no DeliverRequest: %v", err)
	}
	return m, nil
}

// take reads r to its end, and holds what it has read: first bytes before.
func (c *call) take(r io.Reader, first int64) ([]byte, error) {
	if err := c.share.hold(first); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(first) + bytes.MinRead) // what ReadFrom wants to find the end
	_, err := b.ReadFrom(&holding{r: r, share: &c.share, already: first})
	return b.Bytes(), err
}

// decompress returns what compressed stands for, at most limit bytes, and holds
// that instead.
func (c *call) decompress(compressed []byte, limit int) ([]byte, error) {
	if !c.gzip {
		return nil, status.Error(codes.Unimplemented, "a message is compressed by something else than gzip")
	}
	z, _ := c.readers.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer c.readers.Put(z)
	defer c.share.release(c.share.held) // what compressed has
	r := bytes.NewReader(compressed)
	defer r.Reset(nil) // which z keeps
	if err := z.Reset(r); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "a message: %v", err)
	}
	b, err := c.take(io.LimitReader(z, int64(limit)+1), 0)
	switch {
	case errors.Is(err, errCrowded):
		return nil, err
	case err != nil:
		return nil, status.Errorf(codes.InvalidArgument, "a message: %v", err)
	case len(b) > limit:
		return nil, status.Errorf(codes.ResourceExhausted, "a message of more than %d bytes, decompressed", limit)
	}
	return b, nil
}

// send sends a message.
func (c *call) send(m *capstanv1.DeliverResponse) error {
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, prefixLen), m)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefixLen))
	if _, err := c.response.Write(b); err != nil {
		return err
	}
	return c.control.Flush()
}

// done gives back what the message received last has held.
func (c *call) done() { c.share.release(c.share.held) }

// end tells the sender how the call ended.
func (c *call) end(err error) {
	c.done()
	switch {
	case err == io.EOF:
		err = nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = status.Error(codes.InvalidArgument, "the last message is not whole")
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = status.Error(codes.DeadlineExceeded, "a message took too long")
	}
	st := status.Convert(err)
	h := c.response.Header()
	h.Set("Grpc-Status", fmt.Sprint(uint32(st.Code())))
	h.Set("Grpc-Message", percentEncode(st.Message()))
}

// percentEncode writes text as the header field Grpc-Message has it.
func percentEncode(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
