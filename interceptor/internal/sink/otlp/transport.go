package otlp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/grpcgzip"
)

// maxResponse bounds an answer.
const maxResponse = 1 << 20

// grpcTransport carries requests by gRPC.
type grpcTransport struct {
	cfg     Config
	conn    *grpc.ClientConn
	headers metadata.MD
}

func newGRPC(c Config) (*grpcTransport, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(c.Credentials),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return c.Dial(ctx, "tcp", address) }),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent(c.Agent),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
	}
	if c.Gzip {
		options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(grpcgzip.Name)))
	}
	conn, err := grpc.NewClient("passthrough:///"+c.Endpoint, options...)
	if err != nil {
		return nil, err
	}
	return &grpcTransport{c, conn, metadata.New(c.Headers)}, nil
}

func (t *grpcTransport) export(ctx context.Context, s signal, request, response proto.Message) error {
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, t.headers), t.cfg.Timeout)
	defer cancel()
	err := t.conn.Invoke(ctx, s.method, request, response)
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.Unimplemented, codes.Internal, codes.Unknown:
		if err != nil {
			return &permanentError{err}
		}
	}
	// Unlike in the specification, Unauthenticated and PermissionDenied are tried again, since a
	// credential can be mended; the specification would drop the data.
	return err
}

func (t *grpcTransport) close() error { return t.conn.Close() }

// httpTransport carries requests by HTTP, as binary protobuf.
type httpTransport struct {
	cfg    Config
	client *http.Client
}

func newHTTP(c Config) *httpTransport {
	return &httpTransport{c, &http.Client{
		Timeout:       c.Timeout,
		Transport:     &http.Transport{DialContext: c.Dial, DialTLSContext: c.DialTLS, MaxIdleConnsPerHost: 1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (t *httpTransport) export(ctx context.Context, s signal, request, response proto.Message) error {
	body, err := proto.Marshal(request)
	if err != nil {
		return &permanentError{err}
	}
	if t.cfg.Gzip {
		if body, err = compress(body); err != nil {
			return err
		}
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.cfg.Endpoint, "/")+s.path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range t.cfg.Headers {
		q.Header.Set(name, value)
	}
	q.Header.Set("Content-Type", "application/x-protobuf")
	q.Header.Set("User-Agent", t.cfg.Agent)
	if t.cfg.Gzip {
		q.Header.Set("Content-Encoding", "gzip")
	}
	p, err := t.client.Do(q)
	if err != nil {
		return err
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(p.Body, maxResponse))
	switch {
	case p.StatusCode/100 == 2:
		if err != nil {
			return err
		}
		if err := proto.Unmarshal(answer, response); err != nil {
			return nil // it has the data, whatever else it says
		}
		return nil
	case isTemporary(p.StatusCode):
		return fmt.Errorf("the receiver answers %s", p.Status)
	}
	return &permanentError{fmt.Errorf("the receiver answers %s", p.Status)}
}

// isTemporary reports whether an answer may be another one later. The
// specification has the first four.
// Unlike there, refused credentials are tried again, since they can be mended; the
// specification would drop the data. So is what says that the place is wrong.
func isTemporary(status int) bool {
	switch status {
	case 429, 502, 503, 504, 401, 403, 404, 407, 408, 500:
		return true
	}
	return status/100 == 3
}

func compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

func (t *httpTransport) close() error {
	t.client.CloseIdleConnections()
	return nil
}
