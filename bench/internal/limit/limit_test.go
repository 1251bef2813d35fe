//go:build linux

package limit_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"capstan/bench/internal/limit"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/wire"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
)

func TestFeedSendsWhatIsDue(t *testing.T) {
	for _, tc := range []struct {
		name    string
		network string
		rate    float64
		min     uint64
		max     uint64
	}{
		{"unix, paced", "unix", 20_000, 4_000, 4_000},
		{"tcp, paced", "tcp", 20_000, 4_000, 4_000},
		{"tcp, flat out", "tcp", 0, 600, 1 << 40}, // one write at the least
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := limit.FeedConfig{Network: tc.network, Address: "127.0.0.1:0", Size: 400, Rate: tc.rate, Duration: 200 * time.Millisecond}
			u := rpcap.URL{Scheme: rpcap.SchemeTCP, Host: "127.0.0.1", Device: "eth0"}
			if tc.network == "unix" {
				cfg.Address = filepath.Join(t.TempDir(), "s")
				u = rpcap.URL{Scheme: rpcap.SchemeUnix, SocketPath: cfg.Address, Device: "eth0"}
			}
			feed, err := limit.ListenFeed(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer feed.Close()
			if tc.network == "tcp" {
				u.Port = feed.Addr().(*net.TCPAddr).AddrPort().Port()
			}
			served := make(chan error, 1)
			go func() { served <- feed.Serve(context.Background()) }()
			s, err := sink.Open(context.Background(), sink.Config{URL: u, ReadTimeout: 10 * time.Millisecond, Verify: sink.VerifyNone})
			if err != nil {
				t.Fatal(err)
			}
			s.Settle(context.Background(), limit.FeedDelay+400*time.Millisecond)
			r := s.End(context.Background())
			if r.Frames < tc.min || r.Frames > tc.max || r.Bytes != 400*r.Frames || r.Error != "" {
				t.Errorf("result %+v", r)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFeedRefuses(t *testing.T) {
	for _, c := range []limit.FeedConfig{
		{Network: "tcp", Address: "127.0.0.1:0", Size: 0, Duration: 1},
		{Network: "tcp", Address: "127.0.0.1:0", Size: 60, Duration: 0},
		{Network: "tcp", Address: "127.0.0.1:0", Size: 60, Duration: 1, Rate: -1},
		{Network: "carrier pigeon", Size: 60, Duration: 1},
	} {
		if f, err := limit.ListenFeed(c); err == nil {
			f.Close()
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestDrainTakesWhatIsSent(t *testing.T) {
	netnstest.RequireCapture(t)
	a, b := netnstest.New(t), netnstest.New(t)
	if err := netns.Veth(a, "eth0", b, "eth0"); err != nil {
		t.Fatal(err)
	}
	const frames = 5000
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready, done := make(chan struct{}), make(chan struct{})
	var r limit.DrainResult
	var drained error
	go func() {
		defer close(done)
		drained = a.Do(func() (err error) {
			r, err = limit.Drain(ctx, limit.DrainConfig{Interface: "eth0", RingLen: 8 << 20, BlockTimeout: 5 * time.Millisecond}, func() { close(ready) })
			return err
		})
	}()
	select {
	case <-ready:
	case <-done:
		t.Fatal(drained)
	}
	g, err := traffic.New(traffic.Plan{Size: traffic.Fixed(400)})
	if err != nil {
		t.Fatal(err)
	}
	index, err := b.Index("eth0")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Do(func() error {
		_, err := wire.Send(ctx, g, wire.Config{Interface: index, Count: frames})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	<-done
	if drained != nil || r.Frames+r.Drops != frames || r.Bytes != 400*r.Frames || r.Frames < frames/2 {
		t.Errorf("drained %+v, %v", r, drained)
	}
	if _, err := limit.Drain(ctx, limit.DrainConfig{Interface: "nothing0"}, nil); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("no interface: %v", err)
	}
}
