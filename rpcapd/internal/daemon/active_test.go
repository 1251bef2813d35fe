//go:build linux

package daemon

import (
	"net"
	"strconv"
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/config"
)

// host is a client that waits for daemons in active mode.
type host struct {
	t        *testing.T
	listener *net.TCPListener
}

func listen(t *testing.T) *host {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &host{t, l}
}

func (h *host) port() int { return h.listener.Addr().(*net.TCPAddr).Port }

func (h *host) target() config.Target {
	return config.Target{Host: "127.0.0.1", Port: strconv.Itoa(h.port())}
}

func (h *host) accept() *client {
	h.t.Helper()
	_ = h.listener.SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := h.listener.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &client{h.t, conn, rpcap.NewReader(conn, nil)}
}

// Several clients are connected to, each by itself, while others come by
// themselves; the allow list is not asked, and the daemon opens the data
// connections.
func TestCase019ActiveMode(t *testing.T) {
	a, b := listen(t), listen(t)
	d := serve(t, "-l", "192.0.2.1", "-a", "127.0.0.1,"+a.target().Port+",127.0.0.1,"+b.target().Port, "--reconnect-time", "10ms", "--max-sessions", "1")
	ca := a.accept().auth()
	cb := b.accept().auth()
	cb.call(&rpcap.FindAllIfRequest{})

	data := listen(t)
	ca.call(&rpcap.OpenRequest{Device: "eth0"})
	body := ca.call(&rpcap.StartCapRequest{DataPort: uint16(data.port()), Filter: []rpcap.Instruction{{Op: 6, K: 262144}}})
	if port := int(body[4])<<8 | int(body[5]); port != 0 {
		t.Errorf("port %d is announced", port)
	}
	stream := data.accept()
	d.host.last().Push(frame(60), frame(61))
	readFrames(t, stream.conn, 2)
	ca.call(&rpcap.EndCapRequest{})

	cb.conn.Close() // a session that is lost is made up for
	b.accept().auth().call(&rpcap.FindAllIfRequest{})
	ca.call(&rpcap.FindAllIfRequest{})
}

// Null authentication is refused as in passive mode.
func TestCase122ActiveModeWithoutNullAuth(t *testing.T) {
	a := listen(t)
	d := serve(t, "--reconnect-time", "10ms")
	d.Apply(config.Settings{Active: []config.Target{a.target()}})
	c := a.accept()
	c.send(&rpcap.AuthRequest{})
	if h, body := c.receive(); h.Value != 18 || string(body) != "Authentication failed; NULL authentication not permitted." {
		t.Errorf("%v %q", h, body)
	}
}

// A CLOSE after authentication is the end; one before it means nothing.
func TestCase120ActiveModeDismissed(t *testing.T) {
	a := listen(t)
	d := serve(t, "--reconnect-time", "10ms")
	d.Apply(config.Settings{NullAuth: true, Active: []config.Target{a.target()}})
	a.accept().send(&rpcap.Close{})
	c := a.accept().auth()
	c.send(&rpcap.Close{})
	_, _, err := c.r.Next()
	if err == nil {
		t.Error("the session goes on")
	}
	_ = a.listener.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if conn, err := a.listener.Accept(); err == nil {
		conn.Close()
		t.Error("is dialled again")
	}
}
