package source

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// counter is a Sink that counts and can end the capture.
type counter struct {
	frames, lost, drained int
	enough                func(c *counter)
}

func (c *counter) Frame(*capture.Frame) { c.frames++; c.enough(c) }
func (c *counter) Drained()             { c.drained++ }
func (c *counter) Idle(time.Duration)   {}
func (c *counter) Lost()                { c.lost++; c.enough(c) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func packets(n int) []byte {
	var b []byte
	for i := range n {
		b = rpcaptest.AppendPacket(b, rpcap.PacketHeader{Timestamp: int64(i) * 1e6, CapLen: 60, Len: 60, Number: uint32(i + 1)}, make([]byte, 60))
	}
	return b
}

// TestRefusalsAreFinal: what the server refuses for good is not tried again.
func TestRefusalsAreFinal(t *testing.T) {
	server := rpcaptest.Start(t, rpcaptest.Config{},
		rpcaptest.Authenticate(),
		rpcaptest.ExpectType(rpcap.TypeOpenRequest),
		rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: "eth9: No such device exists"}),
	)
	u := server.URL()
	u.Device = "eth9"
	s := NewRPCAP(RPCAPConfig{URL: u, Log: discard(), StartTimeout: time.Minute})
	began := time.Now()
	err := s.Run(context.Background(), &counter{enough: func(*counter) {}})
	var start *StartError
	var remote *rpcap.RemoteError
	if !errors.As(err, &start) || !errors.As(err, &remote) || remote.Text != "eth9: No such device exists" {
		t.Errorf("got %v", err)
	}
	if time.Since(began) > 30*time.Second {
		t.Error("tried again until the timeout")
	}
}

func TestNobodyThere(t *testing.T) {
	u, err := rpcap.ParseURL("rpcap+unix://%2Fnowhere%2Fsocket/any")
	if err != nil {
		t.Fatal(err)
	}
	s := NewRPCAP(RPCAPConfig{URL: u, Log: discard(), StartTimeout: 120 * time.Millisecond})
	err = s.Run(context.Background(), &counter{enough: func(*counter) {}})
	var start *StartError
	if !errors.As(err, &start) {
		t.Fatalf("got %v, want a StartError", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewRPCAP(RPCAPConfig{URL: u, Log: discard()}).Run(ctx, &counter{enough: func(*counter) {}}); err != nil {
		t.Errorf("cancelled before the start: %v", err)
	}
}

// TestSilentServer: that a server says nothing is told, and for how long it had time.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, scheme := range []rpcap.Scheme{rpcap.SchemeTCP, rpcap.SchemeTLS} {
		u := rpcap.URL{Scheme: scheme, Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).AddrPort().Port(), Device: "any"}
		s := NewRPCAP(RPCAPConfig{URL: u, Log: discard(), StartTimeout: 100 * time.Millisecond})
		err := s.Run(t.Context(), &counter{enough: func(*counter) {}})
		if err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
			t.Errorf("%v: %v", u, err)
		}
	}
}

// TestLostServer: frames up to the loss are delivered, then Lost is told, then
// the source gives up as configured.
func TestLostServer(t *testing.T) {
	server := rpcaptest.Start(t, rpcaptest.Config{},
		rpcaptest.Authenticate(),
		rpcaptest.Open("any"),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest),
		rpcaptest.StartData(0),
		rpcaptest.SendData(packets(7)),
		rpcaptest.CloseData(),
		rpcaptest.CloseControl(),
	)
	u := server.URL()
	u.Device = "any"
	s := NewRPCAP(RPCAPConfig{URL: u, Log: discard(), ReconnectTimeout: 100 * time.Millisecond})
	sink := &counter{enough: func(*counter) {}}
	err := s.Run(context.Background(), sink)
	var lost *LostError
	if !errors.As(err, &lost) {
		t.Errorf("got %v, want a LostError", err)
	}
	if sink.frames != 7 || sink.lost != 1 || sink.drained == 0 {
		t.Errorf("%+v", sink)
	}
	c := s.Counters()
	if c.Frames != 7 || c.OutageCount != 1 || c.Connected || c.Missing != 0 {
		t.Errorf("%+v", c)
	}
}

// serveSessions serves session after session until the test ends. answer is the
// answer to a request, and whether the session goes on after it.
func serveSessions(t *testing.T, answer func(rpcap.Type) (m rpcap.Message, goesOn bool)) rpcap.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { // ended by Close
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r := rpcap.NewReader(conn, nil)
			for goesOn := true; goesOn; {
				h, _, err := r.Next()
				if err != nil {
					break
				}
				var m rpcap.Message
				m, goesOn = answer(h.Type)
				if _, err := conn.Write(rpcap.Append(nil, m)); err != nil {
					break
				}
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-served })
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return rpcap.URL{Scheme: rpcap.SchemeTCP, Host: at.Addr().String(), Port: at.Port(), Device: "any"}
}

// opening answers requests up to the capture, whose frames would come on the
// control connection.
func opening(request rpcap.Type) rpcap.Message {
	switch request {
	case rpcap.TypeAuthRequest:
		return &rpcap.AuthReply{}
	case rpcap.TypeOpenRequest:
		return &rpcap.OpenReply{LinkType: 1}
	}
	return &rpcap.StartCapReply{}
}

// TestCapturesThatEndAtOnce: a server that starts every capture and ends it is
// asked again after ever longer pauses.
func TestCapturesThatEndAtOnce(t *testing.T) {
	var captures atomic.Int32
	u := serveSessions(t, func(request rpcap.Type) (rpcap.Message, bool) {
		started := request == rpcap.TypeStartCapRequest
		if started {
			captures.Add(1)
		}
		return opening(request), !started
	})
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	s := NewRPCAP(RPCAPConfig{URL: u, Log: discard()})
	if err := s.Run(ctx, &counter{enough: func(*counter) {}}); err != nil {
		t.Error(err)
	}
	if n := captures.Load(); n < 2 || n > 4 { // at 0, 50, 150 and 350 ms
		t.Errorf("%d captures were started", n)
	}
	if lasting := afterCapture(shortCapture, maxBackOff); lasting != 0 {
		t.Errorf("after a capture that lasted it waits for %v", lasting)
	}
	if pause := afterCapture(0, maxBackOff); pause != maxBackOff {
		t.Errorf("at last it waits for %v", pause)
	}
}

// TestDeviceReturns: a device that is there, is gone, and comes again, is captured
// from again.
func TestDeviceReturns(t *testing.T) {
	opened := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	u := serveSessions(t, func(request rpcap.Type) (rpcap.Message, bool) {
		if request == rpcap.TypeOpenRequest {
			if opened++; opened == 2 {
				return &rpcap.Error{Code: rpcap.CodeOpen, Text: "any: No such device exists"}, true
			}
		}
		if request == rpcap.TypeStartCapRequest && opened > 2 {
			defer cancel()
		}
		return opening(request), request != rpcap.TypeStartCapRequest
	})
	s := NewRPCAP(RPCAPConfig{URL: u, Log: discard()})
	if err := s.Run(ctx, &counter{enough: func(*counter) {}}); err != nil {
		t.Error(err)
	}
	if refused := (&rpcap.RemoteError{Code: rpcap.CodeAuthFailed}); !finalAgain(refused) {
		t.Error("a refused password is not final")
	}
}

// TestServerWithoutCounters: a server that answers STATS with something else is
// told of, once.
func TestServerWithoutCounters(t *testing.T) {
	var asked atomic.Int32
	u := serveSessions(t, func(request rpcap.Type) (rpcap.Message, bool) {
		switch request {
		case rpcap.TypeStatsRequest:
			asked.Add(1)
			return &rpcap.Error{Code: rpcap.CodeGetStats, Text: "none\x1b[2J"}, true
		case rpcap.TypeEndCapRequest:
			return &rpcap.EndCapReply{}, true
		}
		return opening(request), true
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log bytes.Buffer
	s := NewRPCAP(RPCAPConfig{URL: u, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	stop := time.AfterFunc(2200*time.Millisecond, cancel) // two requests, and those of the end
	defer stop.Stop()
	if err := s.Run(ctx, &counter{enough: func(*counter) {}}); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "counters can't be had"); n != 1 || asked.Load() < 3 || !strings.Contains(log.String(), `none\\x1b[2J`) {
		t.Errorf("told %d times after %d requests:\n%s", n, asked.Load(), log.String())
	}
}
