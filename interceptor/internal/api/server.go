package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"capstan/interceptor/internal/clients"
	"capstan/interceptor/internal/watch"
	"capstan/pkg/unixsock"
	capstanv1 "capstan/proto/capstan/v1"
)

// Limits on what clients may ask for.
const (
	maxConnections = 64       // per listener
	maxStreams     = 32       // per connection
	maxRequest     = 64 << 10 // bytes
	// maxResponse is what gRPC's clients take unless told otherwise. A record
	// that is longer comes without the content of its bodies.
	maxResponse = 4 << 20
)

// Config configures a [Server].
type Config struct {
	Hub     *watch.Hub
	Backend Backend
	Roles   Roles
	Version string
	Log     *slog.Logger    // takes the audit lines, too
	Clients *clients.Counts // nil: nobody asks
}

// Server serves the API.
type Server struct {
	cfg     Config
	service *service
	gate    *gate
	health  *health.Server
	serving sync.WaitGroup
	servers []*grpc.Server
}

// New returns a server that serves on what Listen… is called for.
func New(c Config) (*Server, error) {
	compiler, err := watch.NewCompiler()
	if err != nil {
		return nil, err
	}
	if c.Clients == nil {
		c.Clients = new(clients.Counts)
	}
	audit := newAudit(c.Log)
	return &Server{
		cfg:     c,
		service: &service{hub: c.Hub, compiler: compiler, backend: c.Backend, version: c.Version, start: time.Now(), audit: audit},
		gate:    &gate{roles: c.Roles, audit: audit},
		health:  health.NewServer(),
	}, nil
}

// ListenUnix serves on a socket at path, replacing one that nobody listens on
// any more. Its mode is as given, and its group unless that is negative.
func (s *Server) ListenUnix(path string, mode os.FileMode, group int) error {
	l, err := unixsock.ListenReplacing(path)
	if err != nil {
		return err
	}
	if group >= 0 {
		err = os.Chown(path, -1, group)
	}
	if err == nil {
		err = os.Chmod(path, mode) // after the group: nobody of another gets in meanwhile
	}
	if err != nil {
		l.Close()
		return err
	}
	s.serve(processListener{l})
	return nil
}

// ListenTCP serves on address, to clients with a certificate that c verifies.
// It returns the address that it listens on.
func (s *Server) ListenTCP(address string, c *tls.Config) (net.Addr, error) {
	if c == nil || (c.ClientAuth != tls.RequireAndVerifyClientCert && c.GetConfigForClient == nil) {
		return nil, errors.New("TCP needs TLS with client certificates")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s.serve(l, grpc.Creds(credentials.NewTLS(c)))
	return l.Addr(), nil
}

// serve serves on l until Stop.
func (s *Server) serve(l net.Listener, options ...grpc.ServerOption) {
	g := grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(maxResponse), grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(16<<10),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second, MaxConnectionIdle: 10 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(newCodec()), grpc.UnaryInterceptor(s.gate.unary), grpc.StreamInterceptor(s.gate.stream),
	)...)
	capstanv1.RegisterInterceptorServer(g, s.service)
	grpc_health_v1.RegisterHealthServer(g, s.health)
	reflection.Register(g)
	s.servers = append(s.servers, g)
	s.serving.Go(func() { // ended by Stop
		if err := g.Serve(s.cfg.Clients.Limit(l, maxConnections)); err != nil {
			s.cfg.Log.Error("the API is served no longer", "address", l.Addr().String(), "err", err)
		}
	})
}

// Stop ends the server: watchers of a closed hub get what is left until ctx ends.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	var stopping sync.WaitGroup
	for _, g := range s.servers {
		stop := context.AfterFunc(ctx, g.Stop)
		stopping.Go(func() { // ends with the streams, or ctx
			g.GracefulStop()
			stop()
		})
	}
	stopping.Wait()
	s.serving.Wait()
}

// SocketMode parses the mode of a socket, in octal.
func SocketMode(text string) (os.FileMode, error) {
	var mode os.FileMode
	if n, err := fmt.Sscanf(text+"\n", "%o\n", &mode); n != 1 || err != nil || mode > 0o777 {
		return 0, fmt.Errorf("mode %q is not one such as 0660", text)
	}
	return mode, nil
}
