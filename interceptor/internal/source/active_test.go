package source

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
	"capstan/pkg/rpcap/rpcaptest"
)

// listenForLocal returns a listener for daemons at 127.0.0.1 alone.
func listenForLocal(t *testing.T) *rpcapclient.Listener {
	t.Helper()
	l, err := rpcapclient.Listen(t.Context(), "127.0.0.1:0", rpcapclient.ListenOptions{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestActiveMode: a daemon that connects here is captured from, and again when
// it connects again, since it isn't told that it is wanted no more: its
// connections end without a CLOSE.
func TestActiveMode(t *testing.T) {
	l := listenForLocal(t)
	daemon := func(end ...rpcaptest.Step) {
		rpcaptest.Start(t, rpcaptest.Config{Active: l.Addr().String()}, append([]rpcaptest.Step{
			rpcaptest.Authenticate(), rpcaptest.Open("eth0"), rpcaptest.OpenData(), rpcaptest.SendData(packets(3)),
		}, end...)...)
	}
	daemon(rpcaptest.CloseData(), rpcaptest.CloseControl())

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := NewRPCAP(RPCAPConfig{
		URL: rpcap.URL{Scheme: rpcap.SchemeTCP, Host: "127.0.0.1", Device: "eth0"}, Listener: l, StartTimeout: -1, Log: discard(),
	})
	sink := &counter{}
	sink.enough = func(c *counter) {
		switch {
		case c.lost == 1 && c.frames == 3:
			daemon(
				rpcaptest.ExpectType(rpcap.TypeStatsRequest), rpcaptest.Send(&rpcap.StatsReply{}),
				rpcaptest.ExpectType(rpcap.TypeEndCapRequest), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{}),
				rpcaptest.ExpectType(rpcap.TypeStatsRequest), rpcaptest.Send(&rpcap.StatsReply{}),
				rpcaptest.ExpectEnd(),
			)
		case c.frames == 6:
			cancel()
		}
	}
	if err := s.Run(ctx, sink); err != nil || sink.frames != 6 || sink.lost != 1 {
		t.Errorf("%v, %+v", err, sink)
	}
}

// TestStrangersDoNotDelayTheDaemon: those who connect from other hosts are refused
// one after the other, and told of.
func TestStrangersDoNotDelayTheDaemon(t *testing.T) {
	l := listenForLocal(t)
	stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	const strangers = 30
	for range strangers {
		c, err := stranger.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	rpcaptest.Start(t, rpcaptest.Config{Active: l.Addr().String()},
		rpcaptest.Authenticate(), rpcaptest.Open("eth0"), rpcaptest.OpenData(), rpcaptest.SendData(packets(3)), rpcaptest.CloseData(), rpcaptest.CloseControl())
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // with pauses it would take 13 s
	defer cancel()
	s := NewRPCAP(RPCAPConfig{
		URL: rpcap.URL{Scheme: rpcap.SchemeTCP, Host: "127.0.0.1", Device: "eth0"}, Listener: l, StartTimeout: -1, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	sink := &counter{enough: func(c *counter) {
		if c.frames == 3 {
			cancel()
		}
	}}
	if err := s.Run(ctx, sink); err != nil || sink.frames != 3 {
		t.Errorf("%v, %+v", err, sink)
	}
	if n := strings.Count(log.String(), "was refused"); n != strangers || s.Counters().Refused != strangers {
		t.Errorf("%d strangers were told of, %d counted:\n%s", n, s.Counters().Refused, log.String())
	}
}

// TestSilentPeersDoNotDelayTheDaemon: those who connect from a host that may and say
// nothing, or leave at once, don't keep the daemon from being heard.
func TestSilentPeersDoNotDelayTheDaemon(t *testing.T) {
	l := listenForLocal(t)
	for i := range maxPeers - 1 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			c.Close()
			continue
		}
		defer c.Close()
	}
	rpcaptest.Start(t, rpcaptest.Config{Active: l.Addr().String()},
		rpcaptest.Authenticate(), rpcaptest.Open("eth0"), rpcaptest.OpenData(), rpcaptest.SendData(packets(3)), rpcaptest.CloseData(), rpcaptest.CloseControl())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // one silent peer alone is waited for three times as long
	defer cancel()
	s := NewRPCAP(RPCAPConfig{
		URL: rpcap.URL{Scheme: rpcap.SchemeTCP, Host: "127.0.0.1", Device: "eth0"}, Listener: l, StartTimeout: -1, Log: discard(),
	})
	sink := &counter{enough: func(c *counter) {
		if c.frames == 3 {
			cancel()
		}
	}}
	if err := s.Run(ctx, sink); err != nil || sink.frames != 3 {
		t.Errorf("%v, %+v", err, sink)
	}
	if n := s.Counters().Refused; n > 3 {
		t.Errorf("%d daemons refused, and 3 left", n)
	}
}

// TestClientFilter: the filter reaches the server as a program, joined with the
// device's where the server doesn't know that.
func TestClientFilter(t *testing.T) {
	for _, tc := range []struct {
		device string
		open   []rpcaptest.Step
		want   string
	}{
		{"eth0", nil, "ether[0] = 1"},
		{"eth0?filter=ether[1]%3D2", []rpcaptest.Step{
			rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth0?filter=ether[1]%3D2"}),
			rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: "No such device exists"}),
		}, "ether[1] = 2 and ether[0] = 1"},
	} {
		filter, err := remote.Filter(capture.LinkTypeEthernet, tc.want)
		if err != nil {
			t.Fatal(err)
		}
		steps := append([]rpcaptest.Step{rpcaptest.Authenticate()}, tc.open...)
		server := rpcaptest.Start(t, rpcaptest.Config{}, append(steps,
			rpcaptest.Open("eth0"),
			rpcaptest.Expect(&rpcap.StartCapRequest{SnapLen: rpcap.MaxSnapLen, ReadTimeout: 50 * time.Millisecond, Filter: filter}),
			rpcaptest.StartData(0), rpcaptest.SendData(packets(1)), rpcaptest.CloseData(), rpcaptest.CloseControl(),
		)...)
		u := server.URL()
		u.Device = tc.device
		sink := &counter{enough: func(*counter) {}}
		s := NewRPCAP(RPCAPConfig{URL: u, Filter: "ether[0] = 1", Log: discard(), ReconnectTimeout: 50 * time.Millisecond})
		if err := s.Run(t.Context(), sink); err == nil || sink.frames != 1 {
			t.Errorf("%s: %v, %d frames", tc.device, err, sink.frames)
		}
	}
}

// TestSetShareWithoutParameters: a share of the connections can't be had of a
// server that captures all of them, and what is in effect is told.
func TestSetShareWithoutParameters(t *testing.T) {
	unknown := []rpcaptest.Step{
		rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeOpen, Text: "No such device exists"}), rpcaptest.Open("eth0"),
	}
	server := rpcaptest.Start(t, rpcaptest.Config{}, slices.Concat(
		[]rpcaptest.Step{rpcaptest.Authenticate(), rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth0?dir=in"})}, unknown,
		[]rpcaptest.Step{rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(0), rpcaptest.SendData(packets(1)),
			rpcaptest.Expect(&rpcap.OpenRequest{Device: "eth0?flows=1/4"})}, unknown,
		[]rpcaptest.Step{rpcaptest.SendData(packets(1)), rpcaptest.CloseData(), rpcaptest.CloseControl()},
	)...)
	u := server.URL()
	u.Device = "eth0?dir=in"
	s := NewRPCAP(RPCAPConfig{URL: u, Log: discard(), ReconnectTimeout: 50 * time.Millisecond})
	sink := &counter{enough: func(c *counter) {
		if c.frames != 1 || c.lost > 0 {
			return
		}
		var settings *SettingsError
		if _, err := s.Set(t.Context(), Settings{Device: "eth0?flows=1/4"}); !errors.As(err, &settings) {
			t.Errorf("%v", err)
		}
		if got := s.Settings(); got != (Settings{Device: "eth0"}) {
			t.Errorf("%+v", got)
		}
	}}
	if err := s.Run(t.Context(), sink); err == nil || sink.frames != 2 {
		t.Errorf("%v, %d frames", err, sink.frames)
	}
}

// TestSetFilter: a filter is replaced in the capture that runs; one that the
// server refuses doesn't stay, not even for the next capture.
func TestSetFilter(t *testing.T) {
	program := func(expression string) []rpcap.Instruction {
		filter, err := remote.Filter(capture.LinkTypeEthernet, expression)
		if err != nil {
			t.Fatal(err)
		}
		return filter
	}
	start := func(expression string) rpcaptest.Step {
		return rpcaptest.Expect(&rpcap.StartCapRequest{SnapLen: rpcap.MaxSnapLen, ReadTimeout: 50 * time.Millisecond, Filter: program(expression)})
	}
	server := rpcaptest.Start(t, rpcaptest.Config{},
		rpcaptest.Authenticate(), rpcaptest.Open("eth0"), start("ether[0] = 1"), rpcaptest.StartData(0), rpcaptest.SendData(packets(1)),
		rpcaptest.Expect(&rpcap.UpdateFilterRequest{Filter: program("ether[0] = 2")}), rpcaptest.Send(&rpcap.UpdateFilterReply{}), rpcaptest.SendData(packets(1)),
		rpcaptest.Expect(&rpcap.UpdateFilterRequest{Filter: program("ether[0] = 3")}),
		rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeUpdateFilter, Text: "no"}), rpcaptest.CloseData(), rpcaptest.CloseControl(),
	)
	u := server.URL()
	u.Device = "eth0"
	s := NewRPCAP(RPCAPConfig{URL: u, Filter: "ether[0] = 1", Log: discard(), ReconnectTimeout: 50 * time.Millisecond})
	sink := &counter{enough: func(c *counter) {
		if c.lost == 0 {
			s.SetFilter([]string{"", "ether[0] = 2", "ether[0] = 3"}[c.frames])
		}
	}}
	if err := s.Run(t.Context(), sink); err == nil || sink.frames != 2 || *s.filter.Load() != "ether[0] = 2" {
		t.Errorf("%v, %d frames, filter %q", err, sink.frames, *s.filter.Load())
	}
}
