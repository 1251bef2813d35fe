package source

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// TestServerWithoutParameters: a server that takes the parameters for part of
// the name is asked for the device alone, the filter is the client's then, and
// one line tells it, however often the server is regained.
func TestServerWithoutParameters(t *testing.T) {
	const device = "eth0?dir=in&filter=ether[0]%3D1"
	steps := []rpcaptest.Step{
		rpcaptest.Authenticate(),
		rpcaptest.Expect(&rpcap.OpenRequest{Device: device}),
		rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: device + ": No such device exists (No such device exists)"}),
		rpcaptest.Open("eth0"),
		rpcaptest.Expect(&rpcap.StartCapRequest{
			SnapLen: rpcap.MaxSnapLen, ReadTimeout: 50 * time.Millisecond,
			Filter: []rpcap.Instruction{{Op: 0x30}, {Op: 0x15, Jt: 1, K: 1}, {Op: 6}, {Op: 6, K: rpcap.MaxSnapLen}},
		}),
		rpcaptest.StartData(0),
		rpcaptest.SendData(packets(3)),
		rpcaptest.CloseData(),
		rpcaptest.CloseControl(),
	}
	server := rpcaptest.Start(t, rpcaptest.Config{}, steps...)
	u := server.URL()
	u.Device = device
	var log bytes.Buffer
	s := NewRPCAP(RPCAPConfig{URL: u, Log: slog.New(slog.NewTextHandler(&log, nil)), ReconnectTimeout: 100 * time.Millisecond})
	sink := &counter{enough: func(*counter) {}}
	err := s.Run(context.Background(), sink)
	var lost *LostError
	if !errors.As(err, &lost) || sink.frames != 3 {
		t.Errorf("%v, %+v", err, sink)
	}
	if n := strings.Count(log.String(), "knows no device parameters"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
}

// TestNoSuchDevice: a device that is really missing, and an error about
// parameters, are final.
func TestNoSuchDevice(t *testing.T) {
	for _, tc := range []struct {
		device string
		steps  []rpcaptest.Step
		want   string
	}{
		{"eth9?dir=in", []rpcaptest.Step{
			rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth9?dir=in"}),
			rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: "eth9: No such device exists"}),
			rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth9"}),
			rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: "eth9: No such device exists"}),
		}, "No such device exists"},
		{"eth0?colour=red", []rpcaptest.Step{
			rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth0?colour=red"}),
			rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: "eth0?colour=red: No such device exists"}),
		}, "No such device exists"},
		{"eth0?dir=in", []rpcaptest.Step{
			rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth0?dir=in"}),
			rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: `"eth0": bad value`}),
		}, "bad value"},
		{"eth0?filter=tcp+port", []rpcaptest.Step{
			rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth0?filter=tcp+port"}),
			rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: "eth0?filter=tcp+port: No such device exists"}),
			rpcaptest.Open("eth0"),
		}, "filter expression: the end where a port was expected"},
	} {
		server := rpcaptest.Start(t, rpcaptest.Config{}, append([]rpcaptest.Step{rpcaptest.Authenticate()}, tc.steps...)...)
		u := server.URL()
		u.Device = tc.device
		s := NewRPCAP(RPCAPConfig{URL: u, Log: discard(), StartTimeout: 300 * time.Millisecond})
		err := s.Run(context.Background(), &counter{enough: func(*counter) {}})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.device, err, tc.want)
		}
	}
}

// TestKnowsParameters: before a device is captured in shards its server is asked
// whether it can divide, and a shard is never the whole device.
func TestKnowsParameters(t *testing.T) {
	const device = "eth0?shard=0/2"
	refusal := []rpcaptest.Step{
		rpcaptest.Authenticate(),
		rpcaptest.Expect(&rpcap.OpenRequest{Device: device}),
		rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: device + ": No such device exists"}),
	}
	for _, tc := range []struct {
		steps []rpcaptest.Step
		want  bool
	}{
		{[]rpcaptest.Step{rpcaptest.Authenticate(), rpcaptest.Open(device), rpcaptest.ExpectType(rpcap.TypeClose)}, true},
		{append(refusal, rpcaptest.ExpectType(rpcap.TypeClose)), false},
	} {
		server := rpcaptest.Start(t, rpcaptest.Config{}, tc.steps...)
		u := server.URL()
		u.Device = device
		known, err := NewRPCAP(RPCAPConfig{URL: u, Log: discard()}).KnowsParameters(context.Background())
		if err != nil || known != tc.want {
			t.Errorf("%v, %v, want %v", known, err, tc.want)
		}
	}
	server := rpcaptest.Start(t, rpcaptest.Config{}, refusal...)
	u := server.URL()
	u.Device = device
	err := NewRPCAP(RPCAPConfig{URL: u, Log: discard(), NeedParameters: true}).Run(context.Background(), &counter{enough: func(*counter) {}})
	var start *StartError
	if !errors.As(err, &start) {
		t.Errorf("a shard of a server that can't divide: %v", err)
	}
}
