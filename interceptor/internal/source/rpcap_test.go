package source

import (
	"context"
	"errors"
	"log/slog"
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
