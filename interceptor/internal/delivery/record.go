package delivery

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	capstanv1 "capstan/proto/capstan/v1"
)

// Record is a record as it is shared by the queues. It is not changed any more.
type Record struct {
	// Raw is the encoded capstan.v1.Exchange.
	Raw []byte

	once     sync.Once
	exchange *capstanv1.Exchange
	err      error
}

// NewRecord encodes x, which it doesn't keep.
func NewRecord(x *capstanv1.Exchange) (*Record, error) {
	raw, err := appendRecord(nil, x)
	if err != nil {
		return nil, err
	}
	return &Record{Raw: raw}, nil
}

// appendRecord appends the encoded x to dst.
func appendRecord(dst []byte, x *capstanv1.Exchange) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, x)
	if err != nil {
		return dst, fmt.Errorf("encode a record: %w", err)
	}
	return raw, nil
}

// Exchange returns the decoded record, which all users of the Record share and
// nobody may change. Any goroutine may call it. It fails if Raw, read from a
// spool, is no record.
func (r *Record) Exchange() (*capstanv1.Exchange, error) {
	r.once.Do(func() {
		x := new(capstanv1.Exchange)
		if r.err = proto.Unmarshal(r.Raw, x); r.err == nil {
			r.exchange = x
		}
	})
	return r.exchange, r.err
}
