package delivery

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	capstanv1 "capstan/proto/capstan/v1"
)

// Record is a record as it is shared by the queues. It is not changed any more.
type Record struct {
	// Raw is the encoded capstan.v1.Exchange. It lies beside those of other
	// records, which stay in memory as long as any of them is used. A sink of
	// [Config].FormAlone finds none.
	Raw   []byte
	texts []text       // in the forms that were wanted
	ours  bool         // encoded by this process
	lean  bool         // there is no Raw
	users atomic.Int32 // queues that have the record, if it is lean

	once     sync.Once
	exchange *capstanv1.Exchange
	err      error
}

// Size returns the bytes that the record takes in all its forms.
func (r *Record) Size() int {
	n := len(r.Raw)
	for i := range r.texts {
		n += len(r.texts[i].b)
	}
	return n
}

// Append appends the record in form f. It fails if Raw, read from a spool, is no
// record. Any goroutine may call it.
func (r *Record) Append(dst []byte, f *Form) ([]byte, error) {
	for i := range r.texts {
		if r.texts[i].form == f {
			return append(dst, r.texts[i].b...), nil
		}
	}
	x, err := r.Exchange()
	if err != nil {
		return dst, err
	}
	return f.Append(dst, x), nil
}

// errLean is a use of a record that only its forms are there of.
var errLean = errors.New("the record was not encoded but in the forms wanted")

// leave is called once by each queue that was given the record, when neither it
// nor its sink uses it any more.
func (r *Record) leave() {
	if !r.lean || r.users.Add(-1) > 0 {
		return
	}
	for i := range r.texts {
		if p := r.texts[i].page; p != nil {
			p.leave()
		}
	}
	r.texts = nil // the memory is somebody else's
}

// appendRecord appends the encoded x to dst.
func appendRecord(dst []byte, x *capstanv1.Exchange) ([]byte, error) {
	from, n := len(dst), x.SizeVT()
	dst = slices.Grow(dst, n)[:from+n]
	if _, err := x.MarshalToSizedBufferVT(dst[from:]); err != nil {
		return dst[:from], fmt.Errorf("encode a record: %w", err)
	}
	return dst, nil
}

// Check fails if Raw is no record, which what was read from a spool may be.
func (r *Record) Check() error {
	if r.ours {
		return nil
	}
	_, err := r.Exchange()
	return err
}

// Exchange returns the decoded record, which all users of the Record share and
// nobody may change: its texts are parts of Raw, or of a copy. Any goroutine may call
// it. It fails if Raw, read from a spool, is no record.
func (r *Record) Exchange() (*capstanv1.Exchange, error) {
	if r.lean {
		return nil, errLean
	}
	r.once.Do(func() {
		x, raw := new(capstanv1.Exchange), r.Raw
		if !r.ours {
			raw = slices.Clone(raw) // the spool uses its memory again
		}
		if r.err = x.UnmarshalVTUnsafe(raw); r.err == nil {
			r.exchange = x
		}
	})
	return r.exchange, r.err
}
