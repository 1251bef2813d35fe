//go:build linux

package dataport

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// local is the port on one local address. It listens while a connection is
// awaited.
type local struct {
	port     *Port
	endpoint netip.AddrPort

	// guarded by the port's mutex
	backlog *backlog                 // nil while nobody waits
	waiting map[netip.Addr]*Listener // whose turn it is, by peer
	queue   map[netip.Addr][]*Listener
	uses    int // claims that are not released
}

func newLocal(p *Port, endpoint netip.AddrPort) *local {
	return &local{port: p, endpoint: endpoint, waiting: make(map[netip.Addr]*Listener), queue: make(map[netip.Addr][]*Listener)}
}

// next gives the turn to the next in the queue of peer, if it is free.
func (l *local) next(peer netip.Addr) {
	queue := l.queue[peer]
	if l.waiting[peer] != nil || len(queue) == 0 {
		return
	}
	if len(queue) == 1 {
		delete(l.queue, peer)
	} else {
		l.queue[peer] = queue[1:]
	}
	l.waiting[peer] = queue[0]
	l.port.owed.Add(1)
	close(queue[0].turn)
}

// open starts listening unless that is so already.
func (l *local) open() error {
	if l.backlog != nil {
		return nil
	}
	b, err := listen(l.endpoint)
	if err != nil {
		return err
	}
	l.backlog = b
	go l.watch(b) // ended by closing b
	return nil
}

// watch hands out what comes until b is closed.
func (l *local) watch(b *backlog) {
	for {
		err := b.wait()
		l.port.mu.Lock()
		l.deliver(b.take())
		l.port.mu.Unlock()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // most often there is no free descriptor
			time.Sleep(acceptPause)
		}
	}
}

// acceptPause follows a failed accept: nothing tells when it is worth trying.
const acceptPause = 100 * time.Millisecond

// settle stops listening when nobody waits, and forgets the address when nobody
// uses it.
func (l *local) settle() {
	if l.backlog != nil && len(l.waiting) == 0 {
		l.backlog.close()
		l.backlog = nil
	}
	if l.uses == 0 && len(l.waiting) == 0 && l.port.locals[l.endpoint.Addr()] == l {
		delete(l.port.locals, l.endpoint.Addr())
		l.port.cfg.Self.Release(l.endpoint)
	}
}

// deliver gives connections to whoever waits for one from their peer.
func (l *local) deliver(conns []net.Conn) {
	for _, conn := range conns {
		var c *Listener
		if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			c = l.waiting[a.AddrPort().Addr().Unmap().WithZone("")]
		}
		if c != nil && c.announced && !c.abandoned {
			c.settle(conn)
			continue
		}
		l.port.cfg.Refused()
		conn.Close()
		if c != nil && c.announced {
			c.settle(nil) // this was the one that was owed
		}
	}
}

// backlog is a listening socket. Its own mutex makes "everything that has come
// up to now" a definite set.
type backlog struct {
	socket *os.File // not a net.Listener, which gives no access to its polling
	raw    syscall.RawConn

	mu      sync.Mutex
	arrived []net.Conn
}

func listen(endpoint netip.AddrPort) (*backlog, error) {
	family := unix.AF_INET6
	if endpoint.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := bindAndListen(fd, endpoint); err != nil {
		unix.Close(fd)
		return nil, err
	}
	b := &backlog{socket: os.NewFile(uintptr(fd), "data port")}
	if b.raw, err = b.socket.SyscallConn(); err != nil {
		b.socket.Close()
		return nil, err
	}
	return b, nil
}

func bindAndListen(fd int, endpoint netip.AddrPort) error {
	// Connections of earlier captures may still be there.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, sockaddr(endpoint)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
}

func sockaddr(endpoint netip.AddrPort) unix.Sockaddr {
	a, port := endpoint.Addr(), int(endpoint.Port())
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16(), Port: port}
	if i, err := net.InterfaceByName(a.Zone()); err == nil {
		sa.ZoneId = uint32(i.Index)
	}
	return sa
}

// wait returns when connections have arrived. The error is why no more can be
// accepted now, or net.ErrClosed.
func (b *backlog) wait() (err error) {
	closed := b.raw.Read(func(fd uintptr) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		err = b.accept(int(fd))
		return err != nil || len(b.arrived) > 0
	})
	if closed != nil {
		return net.ErrClosed
	}
	return err
}

// accept takes all connections that are there.
func (b *backlog) accept(fd int) error {
	for {
		connected, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return err
		}
		f := os.NewFile(uintptr(connected), "data connection")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return err
		}
		b.arrived = append(b.arrived, conn)
	}
}

// take returns what has arrived.
func (b *backlog) take() []net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	conns := b.arrived
	b.arrived = nil
	return conns
}

// all returns everything that has come up to now.
func (b *backlog) all() []net.Conn {
	_ = b.raw.Control(func(fd uintptr) { // fails only after close
		b.mu.Lock()
		defer b.mu.Unlock()
		_ = b.accept(int(fd)) // what can't be accepted now, wait will meet
	})
	return b.take()
}

// close stops listening; connections that nobody has taken are closed.
func (b *backlog) close() {
	b.socket.Close()
	for _, conn := range b.take() {
		conn.Close()
	}
}
