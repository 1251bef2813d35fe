package terminal

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	capstanv1 "capstan/proto/capstan/v1"
)

// Query says which records to show.
type Query struct {
	Filter     string // CEL, see watch.Compiler
	Backlog    uint32
	OmitBodies bool
}

func (q Query) request(token string) *capstanv1.WatchRequest {
	return &capstanv1.WatchRequest{Filter: q.Filter, Backlog: q.Backlog, OmitBodies: q.OmitBodies, ResumeToken: token}
}

// reconnectPause is the time between two tries to reach a lost interceptor.
const reconnectPause = time.Second

// follow hands on what is watched until ctx ends, emit fails, or the interceptor
// refuses. It returns nil when the interceptor has ended in good order. If
// reconnect is set, it goes on after an end and after a loss, behind the last
// record; lost is told why it has to try again.
func follow(ctx context.Context, c capstanv1.InterceptorClient, q Query, emit func(*capstanv1.WatchResponse) error, reconnect bool, lost func(error)) error {
	token := ""
	for {
		err := once(ctx, c, q.request(token), func(m *capstanv1.WatchResponse) error {
			if t := m.GetExchange().GetResumeToken(); t != "" {
				token = t
			}
			return emit(m)
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case status.Code(err) == codes.FailedPrecondition && token != "":
			token = "" // another run of the interceptor: from its beginning
			continue
		case !reconnect, err != nil && status.Code(err) != codes.Unavailable:
			return err
		case err == nil:
			err = errors.New("the interceptor has ended")
		}
		lost(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectPause):
		}
	}
}

// once watches until the stream ends.
func once(ctx context.Context, c capstanv1.InterceptorClient, request *capstanv1.WatchRequest, emit func(*capstanv1.WatchResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Watch(ctx, request)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = emit(m)
		}
		if err != nil {
			return err
		}
	}
}
