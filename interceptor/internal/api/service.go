package api

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/source"
	"capstan/interceptor/internal/watch"
	"capstan/pkg/rpcap"
	capstanv1 "capstan/proto/capstan/v1"
)

// Source is a live capture.
type Source interface {
	Settings() source.Settings
	Set(ctx context.Context, to source.Settings) (interruption time.Duration, err error)
	Interfaces(ctx context.Context) ([]rpcap.Interface, error)
}

// Backend is what the API tells about and changes. Its functions may be called
// from any goroutine.
type Backend struct {
	Ledgers func() []ledger.Ledger
	Output  func() ledger.Output
	Sources func() map[string]Source // by the names of Ledgers
	// MemoryLimit is the cap on the process's memory in bytes; 0 = none.
	MemoryLimit uint64
}

// service implements capstanv1.InterceptorServer.
type service struct {
	capstanv1.UnimplementedInterceptorServer
	hub      *watch.Hub
	compiler *watch.Compiler
	backend  Backend
	version  string
	start    time.Time
	audit    *audit
}

// Watch implements capstanv1.InterceptorServer.
func (s *service) Watch(request *capstanv1.WatchRequest, stream grpc.ServerStreamingServer[capstanv1.WatchResponse]) error {
	filter, err := s.compiler.Compile(request.GetFilter())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	w, err := s.hub.Watch(watch.Options{Filter: filter, Backlog: request.GetBacklog(), ResumeToken: request.GetResumeToken()})
	var token *watch.TokenError
	switch {
	case errors.As(err, &token):
		return status.Error(codes.FailedPrecondition, err.Error())
	case err != nil:
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	defer w.Close()
	id, began := caller(stream.Context()), time.Now()
	s.audit.watchBegins(id, request.GetFilter(), request.GetBacklog(), request.GetResumeToken() != "")
	var records, skipped uint64
	defer func() { s.audit.watchEnds(id, request.GetFilter(), records, skipped, time.Since(began)) }()
	if err := stream.SendHeader(nil); err != nil { // so that the client knows it has begun
		return err
	}
	for {
		e, err := w.Next(stream.Context())
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return status.FromContextError(err).Err()
		}
		omit := request.GetOmitBodies()
		if !omit && e.Record != nil && len(e.Record.Raw) > maxResponse-1024 {
			omit = true
			w.Cut()
		}
		m, err := response(&e, omit)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
		skipped += e.Skipped
		if e.Record != nil {
			records++
		}
	}
}

// response makes the message of an event: a [capstanv1.WatchResponse], or one that
// is encoded already if nothing is left out of the record.
func response(e *watch.Event, omitBodies bool) (any, error) {
	switch {
	case e.Skipped > 0:
		return &capstanv1.WatchResponse{Event: &capstanv1.WatchResponse_Lagged{Lagged: &capstanv1.Lagged{Skipped: e.Skipped}}}, nil
	case e.Failed > 0:
		return &capstanv1.WatchResponse{Event: &capstanv1.WatchResponse_FilterFailure{
			FilterFailure: &capstanv1.FilterFailure{Records: e.Failed, Reason: e.FailReason}}}, nil
	case !omitBodies:
		return &encodedWatch{exchange: e.Record.Raw, token: e.Token}, nil
	}
	x, err := e.Record.Exchange()
	if err != nil {
		return nil, err
	}
	return &capstanv1.WatchResponse{Event: &capstanv1.WatchResponse_Exchange{
		Exchange: &capstanv1.WatchedExchange{Exchange: withoutContent(x), ResumeToken: e.Token}}}, nil
}

// GetStatus implements capstanv1.InterceptorServer.
func (s *service) GetStatus(context.Context, *capstanv1.GetStatusRequest) (*capstanv1.GetStatusResponse, error) {
	return s.status(), nil
}

// GetLedger implements capstanv1.InterceptorServer.
func (s *service) GetLedger(context.Context, *capstanv1.GetLedgerRequest) (*capstanv1.GetLedgerResponse, error) {
	return accounts(s.backend.Ledgers(), s.backend.Output()), nil
}
