package kafka

import (
	"bytes"
	"net"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/sink/ndjson"
	capstanv1 "capstan/proto/capstan/v1"
)

// Headers of Kafka records.
const (
	HeaderContentType = "content-type"
	HeaderTruncated   = "capstan-truncated"
)

// Content types of values.
const (
	typeJSON     = "application/json"
	typeProtobuf = "application/x-protobuf; messageType=capstan.v1.Exchange"
)

// record turns r into a Kafka record.
func (c *Config) record(r *delivery.Record) (*kgo.Record, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	key, err := c.key(r.Raw)
	if err != nil {
		return nil, err
	}
	k := &kgo.Record{Key: key, Value: r.Raw, Headers: []kgo.RecordHeader{{Key: HeaderContentType, Value: []byte(typeProtobuf)}}}
	if c.JSON {
		line, err := r.Append(nil, ndjson.Lines)
		if err != nil {
			return nil, err
		}
		k.Value, k.Headers[0].Value = line[:len(line)-1], []byte(typeJSON)
	}
	if len(k.Value) > c.MaxRecord {
		x, err := r.Exchange()
		if err != nil {
			return nil, err
		}
		var cut string
		if k.Value, cut, err = c.truncate(x); err != nil {
			return nil, err
		}
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: HeaderTruncated, Value: []byte(cut)})
	}
	return k, nil
}

// key returns the key of the encoded record. It is looked for in the encoded form:
// to decode all of it would be most of what a record costs here.
func (c *Config) key(raw []byte) ([]byte, error) {
	switch c.Key {
	case KeyConnection:
		id, err := field(raw, numberID)
		connection, _, _ := bytes.Cut(id, []byte("-"))
		return connection, err
	case KeyServer:
		encoded, err := field(raw, numberServer)
		if err != nil {
			return nil, err
		}
		var s capstanv1.Endpoint
		if err := proto.Unmarshal(encoded, &s); err != nil {
			return nil, err
		}
		return []byte(net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPort())))), nil
	}
	return nil, nil
}

// Numbers of fields of capstan.v1.Exchange.
const (
	numberID     protowire.Number = 1
	numberServer protowire.Number = 4
)

// field returns the last value of a field that is a text or message, nil if there
// is none before fields of higher numbers, which come in order.
func field(raw []byte, number protowire.Number) (value []byte, err error) {
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		if num > number {
			return value, nil
		}
		rest := raw[n:]
		m := protowire.ConsumeFieldValue(num, typ, rest)
		if m < 0 {
			return nil, protowire.ParseError(m)
		}
		if num == number && typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(rest)
		}
		raw = rest[m:]
	}
	return value, nil
}

func (c *Config) encode(x *capstanv1.Exchange) ([]byte, error) {
	if c.JSON {
		return encodeJSON(x), nil
	}
	return x.MarshalVT()
}

// encodeJSON is the record's line, without its end.
func encodeJSON(x *capstanv1.Exchange) []byte {
	line := ndjson.Append(nil, x)
	return line[:len(line)-1]
}

// maxText is what stays of a long text in a record that is too long without its
// headers even.
const maxText = 256

// truncate returns an encoding of x that is short enough, and what it lacks.
func (c *Config) truncate(shared *capstanv1.Exchange) (value []byte, cut string, err error) {
	x := proto.CloneOf(shared)
	dropBodies(x)
	cut = "bodies"
	if value, err = c.encode(x); err != nil || len(value) <= c.MaxRecord {
		return value, cut, err
	}
	dropHeaders(x)
	cut = "bodies,headers"
	value, err = c.encode(x)
	return value, cut, err
}

func dropBodies(x *capstanv1.Exchange) {
	for _, b := range []*capstanv1.Body{x.GetRequest().GetBody(), x.GetResponse().GetBody()} {
		if b != nil {
			b.Content, b.Decoded, b.Truncated = nil, nil, b.Size > 0
		}
	}
	for _, m := range x.GetWebsocket().GetMessages() {
		m.Content, m.Incomplete = nil, m.Size > 0
	}
}

// dropHeaders leaves out all that has no bound of its own, and says so.
func dropHeaders(x *capstanv1.Exchange) {
	if q := x.GetRequest(); q != nil {
		q.Headers, q.Trailers = nil, nil
		q.Method, q.Target, q.Authority = shorten(q.Method), shorten(q.Target), shorten(q.Authority)
	}
	if p := x.GetResponse(); p != nil {
		p.Headers, p.Trailers, p.Reason, p.InterimStatuses = nil, nil, shorten(p.Reason), nil
	}
	if g := x.GetGrpc(); g != nil {
		g.Service, g.Method, g.StatusMessage = shorten(g.Service), shorten(g.Method), shorten(g.StatusMessage)
		for _, m := range []*capstanv1.GrpcMessages{g.RequestMessages, g.ResponseMessages} {
			if m != nil {
				m.Lengths = nil
			}
		}
	}
	if w := x.GetWebsocket(); w != nil {
		w.Messages = nil
	}
	x.Complete = false
	for _, f := range x.Flaws {
		if f == capstanv1.Flaw_FLAW_HEADERS_CUT {
			return
		}
	}
	x.Flaws = append(x.Flaws, capstanv1.Flaw_FLAW_HEADERS_CUT)
}

func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}
