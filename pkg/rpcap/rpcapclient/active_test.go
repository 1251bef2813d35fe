package rpcapclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// listen returns a Listener that is closed with the test.
func listen(t *testing.T, o ListenOptions) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestActiveMode(t *testing.T) {
	serverTLS, pool, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{false, true} {
		l := listen(t, ListenOptions{
			User: "bob", Password: "secret", Secure: secure,
			Options: Options{TLS: &tls.Config{RootCAs: pool}},
			Allow:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		})
		config := rpcaptest.Config{Active: l.Addr().String()}
		if secure {
			config.TLS = serverTLS
		}
		rpcaptest.Start(t, config, append([]rpcaptest.Step{
			rpcaptest.Expect(&rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: "bob", Password: []byte("secret")}), rpcaptest.Send(&rpcap.AuthReply{}),
			rpcaptest.Open("eth0"), rpcaptest.OpenData(), rpcaptest.SendData(packets(1, 3, 60)),
		}, endCapture...)...)
		c, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := start(t, c, TransportDefault)
		nextFrames(t, s, 3)
		if err := c.EndCapture(t.Context()); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

// What is wrong with one daemon doesn't concern the next.
func TestActiveModeRefusals(t *testing.T) {
	l := listen(t, ListenOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	dial := func(from string) net.Conn {
		t.Helper()
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}

	stranger := dial("127.0.0.2")
	_, err := l.Accept(t.Context())
	var peer *PeerError
	if !errors.As(err, &peer) || peer.Peer.Addr() != netip.MustParseAddr("127.0.0.2") || !errors.Is(err, ErrNotAllowed) {
		t.Errorf("a host that isn't allowed: %v", err)
	}
	h, body, err := rpcap.NewReader(stranger, nil).Next()
	var told rpcap.Error
	if err == nil {
		err = rpcap.Decode(h, body, &told)
	}
	if err != nil || told.Code != rpcap.CodeRemoteAccept || told.Text != "The host is not in the allowed host list. Connection refused." {
		t.Errorf("it is told %+v, %v", told, err)
	}

	dial("127.0.0.1").Close()
	if _, err := l.Accept(t.Context()); !errors.As(err, &peer) {
		t.Errorf("one that says nothing: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no daemon: %v", err)
	}

	rpcaptest.Start(t, rpcaptest.Config{Active: l.Addr().String()}, rpcaptest.Authenticate(), rpcaptest.ExpectEnd())
	c, err := l.Accept(t.Context())
	if err != nil {
		t.Fatalf("a good one: %v", err)
	}
	l.Close()
	if _, err := l.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("the session ended with the listener: %v", err)
	}
	c.Close()
	if _, err := c.Stats(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// A failed accept is no end: daemons that come later are taken.
func TestListenerOutlivesFailedAccept(t *testing.T) {
	l := listen(t, ListenOptions{})
	if err := l.tcp.SetDeadline(time.Unix(1, 0)); err != nil { // as good as any error that passes
		t.Fatal(err)
	}
	select {
	case <-l.ended:
		t.Fatal(l.err)
	case <-time.After(2 * acceptPause):
	}
	if err := l.tcp.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	rpcaptest.Start(t, rpcaptest.Config{Active: l.Addr().String()}, rpcaptest.Authenticate(), rpcaptest.Expect(&rpcap.Close{}))
	c, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestSilentPeersGiveWay: however long peers may take, those that say nothing don't keep a
// daemon waiting for which every call of Accept comes too late.
func TestSilentPeersGiveWay(t *testing.T) {
	l := listen(t, ListenOptions{Options: Options{RequestTimeout: time.Hour}})
	const calls, silent = 2, 3
	for range silent {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	rpcaptest.Start(t, rpcaptest.Config{Active: l.Addr().String()}, rpcaptest.Authenticate(), rpcaptest.Expect(&rpcap.Close{}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var gaveWay atomic.Int32
	var accepting sync.WaitGroup
	for range calls {
		accepting.Go(func() {
			for {
				c, err := l.Accept(ctx)
				switch {
				case err == nil:
					c.Close()
					cancel()
					return
				case ctx.Err() != nil:
					return
				case errors.Is(err, errGivesWay):
					gaveWay.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	accepting.Wait()
	if n := gaveWay.Load(); !errors.Is(ctx.Err(), context.Canceled) || n != silent-calls+1 {
		t.Errorf("%v, %d of %d silent peers gave way", ctx.Err(), n, silent)
	}
}
