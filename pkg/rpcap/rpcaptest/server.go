package rpcaptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"capstan/pkg/rpcap"
)

// Config says where a [Server] listens.
type Config struct {
	// Network is "tcp" (127.0.0.1; the default), "tcp6" (::1) or "unix" (a
	// socket in a new directory, removed by Close).
	Network string
	// TLS, if not nil, makes both connections TLS connections.
	TLS *tls.Config
	// Active, if not empty, is the address that the server connects to, in
	// place of listening.
	Active string
}

// stepTimeout is how long a step waits for the client, so that a test ends
// however wrong it is.
const stepTimeout = 30 * time.Second

// Server plays a script to the first client that connects, or, in active mode,
// to the one that it connects to.
type Server struct {
	config   Config
	listener net.Listener
	dir      string // of the unix socket

	done    chan struct{} // closed when the script has ended
	aborted chan struct{} // closed when it has to end

	mu sync.Mutex
	// Guarded by mu.
	closed bool
	open   []interface{ Close() error }
	err    error
}

// Serve starts a server. The caller has to Close it.
func Serve(config Config, script ...Step) (*Server, error) {
	s := &Server{config: config, done: make(chan struct{}), aborted: make(chan struct{})}
	if err := s.listen(); err != nil {
		return nil, err
	}
	go s.play(script) // ends with the script; Close ends it earlier and waits for it
	return s, nil
}

// Start is [Serve] for a test: t fails if the script does, and waits for its
// end.
func Start(t testing.TB, config Config, script ...Step) *Server {
	t.Helper()
	s, err := Serve(config, script...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.abort() // the script has little chance to end
		}
		if err := s.Wait(); err != nil {
			t.Errorf("scripted server: %v", err)
		}
		s.Close()
	})
	return s
}

func (s *Server) listen() error {
	if s.config.Active != "" {
		return nil
	}
	var err error
	switch s.config.Network {
	case "", "tcp":
		s.listener, err = net.Listen("tcp4", "127.0.0.1:0")
	case "tcp6":
		s.listener, err = net.Listen("tcp6", "[::1]:0")
	case "unix":
		if s.dir, err = os.MkdirTemp("", "rpcaptest"); err == nil {
			s.listener, err = net.Listen("unix", filepath.Join(s.dir, "rpcapd.sock"))
		}
	default:
		err = fmt.Errorf("unknown network %q", s.config.Network)
	}
	if err == nil {
		s.keep(s.listener)
	}
	return err
}

// URL returns the server's URL, without a device.
func (s *Server) URL() rpcap.URL {
	if s.config.Network == "unix" {
		return rpcap.URL{Scheme: rpcap.SchemeUnix, SocketPath: s.listener.Addr().String()}
	}
	at := s.listener.Addr().(*net.TCPAddr).AddrPort()
	u := rpcap.URL{Scheme: rpcap.SchemeTCP, Host: at.Addr().String(), Port: at.Port()}
	if s.config.TLS != nil {
		u.Scheme = rpcap.SchemeTLS
	}
	return u
}

// Wait waits for the script's end and returns the error of the step that
// failed.
func (s *Server) Wait() error {
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the script, if it still runs, and closes everything.
func (s *Server) Close() error {
	s.abort()
	<-s.done
	if s.dir != "" {
		return os.RemoveAll(s.dir)
	}
	return nil
}

func (s *Server) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.aborted)
	for _, c := range s.open {
		c.Close()
	}
}

// keep has abort close c.
func (s *Server) keep(c interface{ Close() error }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, c)
	if s.closed {
		c.Close()
	}
}

func (s *Server) play(script []Step) {
	defer close(s.done)
	err := s.run(script)
	s.abort()
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
}

func (s *Server) run(script []Step) error {
	conn, err := s.control()
	if err != nil {
		return fmt.Errorf("control connection: %w", err)
	}
	session := &Session{Control: conn, server: s, reader: rpcap.NewReader(conn, nil)}
	for i, step := range script {
		if err := session.extend(); err != nil {
			return err
		}
		if err := step.run(session); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.name, err)
		}
	}
	return nil
}

// control makes the control connection.
func (s *Server) control() (net.Conn, error) {
	if s.config.Active == "" {
		return s.accept(s.listener)
	}
	conn, err := net.Dial("tcp", s.config.Active)
	if err != nil {
		return nil, err
	}
	return s.prepare(conn)
}

// accept takes one connection and closes the listener.
func (s *Server) accept(l net.Listener) (net.Conn, error) {
	defer l.Close()
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		if err := d.SetDeadline(time.Now().Add(stepTimeout)); err != nil {
			return nil, err
		}
	}
	conn, err := l.Accept()
	if err != nil {
		return nil, err
	}
	return s.prepare(conn)
}

// prepare makes conn a TLS connection if that is configured.
func (s *Server) prepare(conn net.Conn) (net.Conn, error) {
	if s.config.TLS != nil {
		conn = tls.Server(conn, s.config.TLS)
	}
	s.keep(conn)
	if err := conn.SetDeadline(time.Now().Add(stepTimeout)); err != nil {
		return nil, err
	}
	if secured, ok := conn.(*tls.Conn); ok {
		if err := secured.Handshake(); err != nil {
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
	}
	return conn, nil
}

// Session is the server's side of a session, for steps of one's own.
type Session struct {
	Control net.Conn
	Data    net.Conn // nil before StartData

	server *Server
	reader *rpcap.Reader
	ports  uint16 // data listeners so far
}

// extend gives the next step its time.
func (s *Session) extend() error {
	end := time.Now().Add(stepTimeout)
	err := s.Control.SetDeadline(end)
	if s.Data != nil {
		err = errors.Join(err, s.Data.SetDeadline(end))
	}
	if errors.Is(err, net.ErrClosed) {
		return nil // by a step, on purpose
	}
	return err
}

// listenData opens a listener for the data connection and returns its port: on
// a unix socket, the suffix of the path.
func (s *Session) listenData() (net.Listener, uint16, error) {
	s.ports++
	control := s.server.listener.Addr()
	if control.Network() == "unix" {
		l, err := net.Listen("unix", fmt.Sprintf("%s.%d", control, s.ports))
		return l, s.ports, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(control.(*net.TCPAddr).IP.String(), "0"))
	if err != nil {
		return nil, 0, err
	}
	return l, l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}
