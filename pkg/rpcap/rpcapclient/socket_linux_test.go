package rpcapclient

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// tcpPair returns both ends of a connection, the first read directly.
func tcpPair(t *testing.T) (*socket, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	near, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { far.Close(); near.Close() })
	return direct(near).(*socket), far.(*net.TCPConn)
}

func TestSocketReads(t *testing.T) {
	near, far := tcpPair(t)
	b := make([]byte, 8)
	if n, err := near.Read(nil); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	must(t, near.SetReadDeadline(time.Now().Add(time.Millisecond)))
	if n, err := near.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !isTimeout(err) {
		t.Errorf("a deadline: %d, %v", n, err)
	}
	must(t, near.SetReadDeadline(time.Time{}))
	read := make(chan string)
	go func() { // ends with what is written next
		n, err := near.Read(b)
		if err != nil {
			t.Error(err)
		}
		read <- string(b[:n])
	}()
	_, err := far.Write([]byte("waited"))
	must(t, err)
	if got := <-read; got != "waited" {
		t.Errorf("%q", got)
	}
	must(t, far.CloseWrite())
	for range 2 {
		if n, err := near.Read(b); n != 0 || err != io.EOF {
			t.Errorf("the end: %d, %v", n, err)
		}
	}
	must(t, near.Close())
	if _, err := near.Read(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestSocketErrors(t *testing.T) {
	near, far := tcpPair(t)
	must(t, far.SetLinger(0))
	must(t, far.Close()) // resets the connection
	var op *net.OpError
	if _, err := near.Read(make([]byte, 8)); !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) || op.Op != "read" {
		t.Errorf("%v", err)
	}
}

// Close ends a Read that waits.
func TestSocketCloseWakes(t *testing.T) {
	near, _ := tcpPair(t)
	ended := make(chan error)
	go func() { // ends with Close
		_, err := near.Read(make([]byte, 8))
		ended <- err
	}()
	must(t, near.Close())
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestSocketAllocatesNothing(t *testing.T) {
	near, far := tcpPair(t)
	b := make([]byte, 8)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := far.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := near.Read(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for each read", n)
	}
}

// What is no socket is read as it is.
func TestDirectLeavesOthers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if direct(a) != a {
		t.Error("a pipe is no socket")
	}
}
