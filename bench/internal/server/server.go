//go:build linux

package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"capstan/bench/internal/contain"
	"capstan/bench/internal/cpu"
	"capstan/pkg/netns"
	"capstan/pkg/rpcap"
)

// Place is where a server runs.
type Place struct {
	Self      string    // path of bench, which contains it
	Namespace *netns.NS // where its interface is
	Interface string
	Dir       string // empty, for its files
	CPUs      contain.CPUs
}

const (
	port         = rpcap.DefaultPort // free in a namespace of its own
	readyTimeout = 30 * time.Second
	readyPoll    = 5 * time.Millisecond
	// localDelay is how long a local capture gets at least from its socket's
	// appearance to its first frame.
	localDelay  = 250 * time.Millisecond
	stopTimeout = 5 * time.Second
	keptOutput  = 64 << 10
)

// Server is a running server.
type Server struct {
	spec   Spec
	place  Place
	cmd    *exec.Cmd
	tree   *cpu.Tree
	output tail
	done   chan struct{} // closed when it has ended
}

// Start starts a server and waits until it can be used. The caller has to Stop
// it.
func Start(ctx context.Context, spec Spec, place Place) (*Server, error) {
	s := &Server{spec: spec, place: place, done: make(chan struct{})}
	if err := s.start(); err != nil {
		return nil, fmt.Errorf("server %s: %w", spec.Name, err)
	}
	if err := s.awaitReady(ctx); err != nil {
		text, _ := s.Stop() // that it had to be killed adds nothing
		return nil, fmt.Errorf("server %s: %w; it said:\n%s", spec.Name, err, text)
	}
	return s, nil
}

func (s *Server) start() error {
	values := map[string]string{
		"port": strconv.Itoa(port), "socket": s.socket(), "interface": s.place.Interface, "dir": s.place.Dir, "bench": s.place.Self,
		"cert": filepath.Join(s.place.Dir, certFile), "key": filepath.Join(s.place.Dir, keyFile),
	}
	if s.spec.Transport == TLS {
		if err := writeCertificate(s.place.Dir); err != nil {
			return err
		}
	}
	s.cmd = contain.Command(s.place.Self, s.place.CPUs, s.spec.expand(values))
	s.cmd.Dir = s.place.Dir
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.place.Namespace.Start(s.cmd); err != nil {
		return err
	}
	go func() { // ends with the process, which Stop sees to
		defer close(s.done)
		_ = s.cmd.Wait() // how it ended says nothing about how it worked
	}()
	var err error
	s.tree, err = cpu.WatchChildren(s.cmd.Process.Pid)
	if err != nil {
		_, stopErr := s.Stop()
		return errors.Join(err, stopErr)
	}
	return nil
}

func (s *Server) socket() string { return filepath.Join(s.place.Dir, "s") }

// awaitReady waits until the kernel shows the socket that the server works with.
func (s *Server) awaitReady(ctx context.Context) error {
	file, shown := s.sign()
	deadline := time.Now().Add(readyTimeout)
	for {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", s.cmd.Process.Pid, file))
		if err == nil && shown(string(data)) {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return errors.New("it ended at its start")
		case <-time.After(readyPoll):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it wasn't ready within %v", readyTimeout)
		}
	}
	if s.spec.Transport == Local {
		return s.awaitRest(ctx, deadline)
	}
	return nil
}

// awaitRest gives a local capture time to come from its socket to its first
// frame, as much as it needs: then it sleeps.
func (s *Server) awaitRest(ctx context.Context, deadline time.Time) error {
	for pause := localDelay; ; pause = readyPoll {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return errors.New("it ended at its start")
		case <-time.After(pause):
		}
		if !s.tree.Runnable() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it wasn't at rest within %v", readyTimeout)
		}
	}
}

// sign returns the file of /proc/PID/net that shows that the server is ready,
// and how.
func (s *Server) sign() (file string, shown func(text string) bool) {
	switch s.spec.Transport {
	case Local: // a packet socket: a line below the header
		return "packet", func(text string) bool { return strings.Count(text, "\n") > 1 }
	case Unix: // num refs protocol flags …; 00010000 is __SO_ACCEPTCON
		return "unix", func(text string) bool {
			for line := range strings.Lines(text) {
				f := strings.Fields(line)
				if len(f) > 3 && f[3] == "00010000" && f[len(f)-1] == s.socket() {
					return true
				}
			}
			return false
		}
	default: // local address, remote address, 0A is TCP_LISTEN
		listening := fmt.Sprintf(":%04X 00000000:0000 0A ", port)
		return "tcp", func(text string) bool { return strings.Contains(text, listening) }
	}
}

// URL returns the URL of the interface on the server.
func (s *Server) URL() rpcap.URL {
	u := rpcap.URL{Scheme: rpcap.SchemeTCP, Host: "127.0.0.1", Port: port, Device: s.place.Interface}
	switch s.spec.Transport {
	case Unix:
		u = rpcap.URL{Scheme: rpcap.SchemeUnix, SocketPath: s.socket(), Device: s.place.Interface}
	case TLS:
		u.Scheme = rpcap.SchemeTLS
	}
	return u
}

// Certificate returns the PEM file with the certificate to trust, for TLS.
func (s *Server) Certificate() string { return filepath.Join(s.place.Dir, certFile) }

// PID returns the process that contains the server, in whose namespaces it is.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// CPU returns the processor time of the server so far, of all its processes.
func (s *Server) CPU() time.Duration { return s.tree.Time() }

// Runnable reports whether any of its threads has something to do.
func (s *Server) Runnable() bool { return s.tree.Runnable() }

// Processes returns the server's processes.
func (s *Server) Processes() []int { return s.tree.Processes() }

// Stop asks the server to end, insists after a while, and returns the last of
// what it said.
func (s *Server) Stop() (output string, err error) {
	_ = s.cmd.Process.Signal(os.Interrupt) // fails if it has ended
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		err = fmt.Errorf("%s did not stop within %v and was killed", s.spec.Name, stopTimeout)
		_ = s.cmd.Process.Signal(syscall.SIGKILL) // as above
		<-s.done
	}
	if s.tree != nil {
		s.tree.Close()
	}
	return s.output.String(), err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*keptOutput {
		t.b = append(t.b[:0], t.b[len(t.b)-keptOutput:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.b, []byte("?")))
}
