package rpcapclient

import (
	"errors"
	"io"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// A server that names no data port and hangs up ends the capture, however soon.
func TestInlineServerHangsUp(t *testing.T) {
	for range 200 {
		server := rpcaptest.Start(t, rpcaptest.Config{},
			rpcaptest.Authenticate(), rpcaptest.Open("eth0"),
			rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.Send(&rpcap.StartCapReply{BufferSize: 1}), rpcaptest.CloseControl())
		c := dialServer(t, server, Options{})
		c.grace = noDelay
		if _, err := c.Open(t.Context(), "eth0"); err != nil {
			t.Fatal(err)
		}
		s, err := c.Start(t.Context(), StartRequest{})
		if err == nil {
			err = s.Next(new(capture.Frame))
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		c.Close()
	}
}

// A server that begins a second capture on the control connection beside the
// first is told from one that may.
func TestInlineTwice(t *testing.T) {
	start := func() rpcaptest.Step { return rpcaptest.Send(&rpcap.StartCapReply{BufferSize: 1}) }
	c := session(t, Options{}, rpcaptest.Open("eth0"),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest), start(),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest), start(),
		rpcaptest.Expect(&rpcap.Close{}))
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), StartRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), StartRequest{}); !errors.Is(err, errInlineTaken) {
		t.Error(err)
	}
	c.Close()
	if _, err := c.takeInline(); !errors.Is(err, errClientClosed) {
		t.Error(err)
	}
}
