package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan/interceptor/internal/sink/har"
	"capstan/interceptor/internal/sink/ndjson"
	"capstan/interceptor/internal/sink/text"
	capstanv1 "capstan/proto/capstan/v1"
)

// Lines says how records are written when nobody sits in front of them.
type Lines struct {
	Format  string // text, json or har
	Color   bool
	Count   int // end after so many records; 0 = never
	Version string
}

// errEnough ends a watch that has had its records.
var errEnough = errors.New("enough")

// Watch writes records to out until ctx ends, the interceptor does, or there are
// enough. What was left out is told on errors.
func (l Lines) Watch(ctx context.Context, c capstanv1.InterceptorClient, q Query, out, errorsTo io.Writer) error {
	write, end, err := l.writer(out)
	if err != nil {
		return err
	}
	n := 0
	err = follow(ctx, c, q, func(m *capstanv1.WatchResponse) error {
		if note := leftOut(m); note != "" {
			fmt.Fprintln(errorsTo, note)
		}
		x := m.GetExchange().GetExchange()
		if x == nil {
			return nil
		}
		if err := write(x); err != nil {
			return err
		}
		if n++; n == l.Count {
			return errEnough
		}
		return nil
	}, false, nil)
	if errors.Is(err, errEnough) || errors.Is(err, context.Canceled) {
		err = nil
	}
	if eerr := end(); err == nil {
		err = eerr
	}
	return err
}

// writer returns what writes a record, and what ends all.
func (l Lines) writer(out io.Writer) (write func(*capstanv1.Exchange) error, end func() error, err error) {
	var buf []byte
	appending := func(encode func([]byte, *capstanv1.Exchange) []byte) func(*capstanv1.Exchange) error {
		return func(x *capstanv1.Exchange) error {
			buf = encode(buf[:0], x)
			_, err := out.Write(buf)
			return err
		}
	}
	nothing := func() error { return nil }
	switch l.Format {
	case "text":
		return appending(text.Encoder{Color: l.Color}.Append), nothing, nil
	case "json":
		return appending(ndjson.Append), nothing, nil
	case "har":
		h := har.New(out, l.Version)
		return h.Write, h.Close, nil
	}
	return nil, nil, fmt.Errorf("format %q is none of text, json, har", l.Format)
}

// leftOut says in words what a message that is no record tells.
func leftOut(m *capstanv1.WatchResponse) string {
	if n := m.GetLagged().GetSkipped(); n > 0 {
		return fmt.Sprintf("%d records were left out: they came faster than they were read", n)
	}
	if f := m.GetFilterFailure(); f != nil {
		return fmt.Sprintf("%d records were left out: the filter has no answer for them: %s", f.GetRecords(), text.Safe(f.GetReason()))
	}
	return ""
}
