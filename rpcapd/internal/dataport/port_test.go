//go:build linux

package dataport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/addrtest"
	"capstan/pkg/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

var (
	server = addrtest.Own()
	alice  = netip.MustParseAddr("127.0.0.2")
	bob    = netip.MustParseAddr("127.0.0.3")
)

// self holds the endpoints that are left out of captures.
type self struct {
	mu  sync.Mutex
	set map[netip.AddrPort]bool
}

func (s *self) Add(a netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set[a] = true
	return nil
}

func (s *self) Release(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, a)
}

func (s *self) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set)
}

type rig struct {
	*Port
	t       *testing.T
	self    self
	refused atomic.Int32
}

func newRig(t *testing.T) *rig {
	t.Helper()
	number := addrtest.Free(t).Port()
	r := &rig{t: t, self: self{set: make(map[netip.AddrPort]bool)}}
	r.Port = New(Config{Number: number, Self: &r.self, Refused: func() { r.refused.Add(1) }})
	t.Cleanup(r.Close)
	return r
}

// listen takes its turn, which must be there.
func (r *rig) listen(peer netip.Addr, timeout time.Duration) *Listener {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	l, err := r.Listen(ctx, server, peer, timeout)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// announced is listen and Port.
func (r *rig) announced(peer netip.Addr) *Listener {
	r.t.Helper()
	l := r.listen(peer, time.Minute)
	if got := l.Port(); got != r.cfg.Number {
		r.t.Errorf("port %d, want %d", got, r.cfg.Number)
	}
	return l
}

func (r *rig) dial(from netip.Addr) net.Conn {
	r.t.Helper()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := dialer.DialContext(r.t.Context(), "tcp4", netip.AddrPortFrom(server, r.cfg.Number).String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// expectPair checks that l gets the connection.
func (r *rig) expectPair(l *Listener, client net.Conn) {
	r.t.Helper()
	conn, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if conn.RemoteAddr().String() != client.LocalAddr().String() {
		r.t.Errorf("got the connection of %v, want that of %v", conn.RemoteAddr(), client.LocalAddr())
	}
}

// expectClosed checks that nobody got the connection.
func (r *rig) expectClosed(client net.Conn) {
	r.t.Helper()
	if n, err := client.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Errorf("the connection lives: %d, %v", n, err)
	}
}

// Captures of different peers don't wait for each other, and each gets what
// comes from its peer.
func TestPeersAreTold(t *testing.T) {
	r := newRig(t)
	a, b := r.announced(alice), r.announced(bob)
	fromBob, fromAlice := r.dial(bob), r.dial(alice)
	r.expectPair(a, fromAlice)
	r.expectPair(b, fromBob)
	if r.self.len() != 1 {
		t.Errorf("%d own endpoints", r.self.len())
	}
	a.Release()
	b.Release()
	if r.self.len() != 0 || len(r.locals) != 0 {
		t.Error("something is left")
	}
}

func TestStrangersAreClosed(t *testing.T) {
	r := newRig(t)
	a := r.announced(alice)
	r.expectClosed(r.dial(bob))
	fromAlice := r.dial(alice)
	r.expectPair(a, fromAlice)
	if n := r.refused.Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
	a.Release()
}

// Captures of one peer are served one after the other.
func TestOnePeerTakesTurns(t *testing.T) {
	r := newRig(t)
	first := r.announced(alice)
	second := make(chan *Listener)
	go func() { second <- r.listen(alice, time.Minute) }()
	select {
	case <-second:
		t.Fatal("two captures wait for the same peer")
	case <-time.After(20 * time.Millisecond):
	}
	conn := r.dial(alice)
	r.expectPair(first, conn)
	l := <-second
	l.Port()
	r.expectPair(l, r.dial(alice))
	first.Release()
	l.Release()
}

// What a client that is gone has connected, or will have, is not for the next
// capture of its host.
func TestOwedConnectionIsNotGivenToTheNext(t *testing.T) {
	r := newRig(t)
	gone := r.announced(alice)
	gone.Close()
	if _, err := gone.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	gone.Release()
	next := make(chan *Listener)
	go func() { next <- r.listen(alice, time.Minute) }()
	select {
	case <-next:
		t.Fatal("a connection is owed, but the next capture has its turn")
	case <-time.After(20 * time.Millisecond):
	}
	r.expectClosed(r.dial(alice)) // that was it
	l := <-next
	l.Port()
	r.expectPair(l, r.dial(alice))
	l.Release()
	if r.self.len() != 0 {
		t.Error("the endpoint stays")
	}
}

// If it never comes, the next capture has its turn when it can't come any more.
func TestOwedConnectionThatNeverComes(t *testing.T) {
	r := newRig(t)
	gone := r.listen(alice, 50*time.Millisecond)
	gone.Port()
	gone.Close()
	gone.Release()
	next := r.announced(alice)
	r.expectPair(next, r.dial(alice))
	next.Release()
}

// A client that was never told to connect owes nothing.
func TestUnannouncedOwesNothing(t *testing.T) {
	r := newRig(t)
	failed := r.listen(alice, time.Hour)
	failed.Close()
	failed.Close()
	failed.Release()
	next := r.announced(alice)
	r.expectPair(next, r.dial(alice))
	next.Release()
}

// What has come before the port was told is somebody else's.
func TestEarlyConnectionIsClosed(t *testing.T) {
	r := newRig(t)
	l := r.listen(alice, time.Minute)
	early := r.dial(alice)
	l.Port()
	r.expectClosed(early)
	r.expectPair(l, r.dial(alice))
	l.Release()
}

func TestDeadline(t *testing.T) {
	r := newRig(t)
	l := r.listen(alice, 10*time.Millisecond)
	l.Port()
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	l.Close()
	l.Release()
	if len(r.locals) != 0 {
		t.Error("still listens")
	}
}

// A wait for the turn ends with its context, and leaves nothing behind.
func TestQueueIsLeft(t *testing.T) {
	r := newRig(t)
	first := r.announced(alice)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Listen(ctx, server, alice, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	third := make(chan *Listener)
	go func() { third <- r.listen(alice, time.Minute) }()
	r.expectPair(first, r.dial(alice))
	l := <-third
	l.Port()
	r.expectPair(l, r.dial(alice))
	first.Release()
	l.Release()
}

func TestPortTaken(t *testing.T) {
	r := newRig(t)
	taken, err := net.Listen("tcp4", netip.AddrPortFrom(server, r.cfg.Number).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := r.Listen(t.Context(), server, alice, time.Minute); !errors.Is(err, unix.EADDRINUSE) {
		t.Error(err)
	}
	if len(r.locals) != 0 || r.self.len() != 0 {
		t.Error("something is left")
	}
}

// With other processes at the port, Listen waits until it is free; they keep it
// until what is owed to them has come.
func TestSharedPort(t *testing.T) {
	r := newRig(t)
	other := New(Config{Number: r.cfg.Number, Shared: true, Self: &self{set: make(map[netip.AddrPort]bool)}, Refused: func() {}})
	gone := r.announced(alice)
	gone.Close()
	gone.Release()
	next := make(chan *Listener)
	go func() {
		l, err := other.Listen(t.Context(), server, alice, time.Minute)
		if err != nil {
			t.Error(err)
		}
		next <- l
	}()
	drained := make(chan struct{})
	go func() { r.Drain(t.Context()); r.Close(); close(drained) }()
	select {
	case <-next:
		t.Fatal("the other process has the port")
	case <-drained:
		t.Fatal("drained")
	case <-time.After(50 * time.Millisecond):
	}
	r.expectClosed(r.dial(alice))
	<-drained
	l := <-next
	l.Port()
	r.expectPair(l, r.dial(alice))
	l.Release()
	other.Close()
}

func TestClose(t *testing.T) {
	r := newRig(t)
	l := r.announced(alice)
	waiting := make(chan error)
	go func() {
		_, err := r.Listen(t.Context(), server, alice, time.Minute)
		waiting <- err
	}()
	r.Close()
	r.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	l.Close()
	l.Release()
	if _, err := r.Listen(t.Context(), server, bob, time.Minute); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// Many captures of many peers at the same time: each gets its own connection.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	for i := range 64 {
		peer := netip.AddrFrom4([4]byte{127, 0, 1, byte(i % 8)})
		wg.Go(func() {
			l, err := r.Listen(t.Context(), server, peer, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Release()
			l.Port()
			dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(peer, 0))}
			client, err := dialer.DialContext(t.Context(), "tcp4", netip.AddrPortFrom(server, r.cfg.Number).String())
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			l.Close()
			if _, err := conn.Write([]byte{byte(i)}); err != nil {
				t.Error(err)
			}
			conn.Close()
			if got, err := io.ReadAll(client); err != nil || len(got) != 1 || got[0] != byte(i) {
				t.Errorf("%d got %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	if r.refused.Load() != 0 || len(r.locals) != 0 || r.self.len() != 0 {
		t.Errorf("%d refused, %d locals, %d endpoints", r.refused.Load(), len(r.locals), r.self.len())
	}
}
