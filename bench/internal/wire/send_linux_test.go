package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/bench/internal/traffic"
	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// cable is two hosts with a cable between them.
type cable struct{ near, far *netns.NS }

func newCable(t *testing.T) cable {
	t.Helper()
	netnstest.RequireCapture(t)
	c := cable{near: netnstest.New(t), far: netnstest.New(t)}
	if err := netns.Veth(c.near, "eth0", c.far, "eth0"); err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends from the near end.
func (c cable) send(t *testing.T, ctx context.Context, p traffic.Plan, cfg Config) (Result, error) {
	t.Helper()
	g, err := traffic.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Interface, err = c.near.Index("eth0"); err != nil {
		t.Fatal(err)
	}
	var r Result
	err = c.near.Do(func() (err error) {
		r, err = Send(ctx, g, cfg)
		return err
	})
	return r, err
}

// open opens a ring at the far end.
func (c cable) open(t *testing.T) *afpacket.Ring {
	t.Helper()
	index, err := c.far.Index("eth0")
	if err != nil {
		t.Fatal(err)
	}
	var ring *afpacket.Ring
	err = c.far.Do(func() (err error) {
		ring, err = afpacket.Open(afpacket.Config{Interface: index, BlockLen: 1 << 20, BlockCount: 16, BlockTimeout: 100 * time.Millisecond}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	return ring
}

// received counts what arrived.
type received struct {
	frames, bytes uint64
	oldest        time.Duration // from a mark's time to the kernel's timestamp
}

// drain reads what is in the ring and holds that the frames are those of the
// generator, whole, in order, in their VLANs and stamped before they arrived.
func drain(t *testing.T, ring *afpacket.Ring, vlans []uint16) (r received) {
	t.Helper()
	var b afpacket.Block
	for {
		err := ring.Next(&b, 500*time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return r
		}
		if err != nil {
			t.Fatal(err)
		}
		var f afpacket.Frame
		for b.Next(&f) {
			m, ok := traffic.ParseMark(f.Data, capture.LinkTypeEthernet)
			if !ok || m.Seq != r.frames || !traffic.CheckPattern(f.Data, capture.LinkTypeEthernet, m, false) {
				t.Fatalf("frame %d of %d bytes: mark %+v %v", r.frames, len(f.Data), m, ok)
			}
			age := time.Duration(f.Timestamp - m.SentAt)
			if age < 0 {
				t.Fatalf("frame %d was sent %v after it arrived", r.frames, -age)
			}
			r.oldest = max(r.oldest, age)
			r.bytes += uint64(len(f.Data))
			if vlans != nil {
				if want := vlans[int(r.frames)%len(vlans)]; !f.VLANPresent || f.VLANTCI != want {
					t.Fatalf("frame %d is of VLAN %d (%v), want %d", r.frames, f.VLANTCI, f.VLANPresent, want)
				}
				r.bytes += 4 // the kernel has taken the tag out
			}
			r.frames++
		}
		b.Release()
	}
}

func TestWhatWasSentArrives(t *testing.T) {
	for name, c := range map[string]struct {
		plan traffic.Plan
		cfg  Config
	}{
		"flat out":        {traffic.Plan{Count: 5000}, Config{}},
		"flat out 1400":   {traffic.Plan{Count: 3000, Kind: traffic.TCP, Size: traffic.Fixed(1400), Flows: 100}, Config{}},
		"count of wire":   {traffic.Plan{IPv6: true}, Config{Count: 1001}},
		"rate":            {traffic.Plan{Size: traffic.IMIX()}, Config{Rate: 20_000, Count: 2000}},
		"lone frames":     {traffic.Plan{}, Config{Rate: 100, Duration: 300 * time.Millisecond}},
		"bursts":          {traffic.Plan{}, Config{Rate: 10_000, Burst: 500, Count: 1750}},
		"VLAN":            {traffic.Plan{VLAN: []uint16{10, 20}, Flows: 2, Size: traffic.Fixed(1514)}, Config{Count: 100}},
		"queue":           {traffic.Plan{}, Config{Count: 100, Queue: true}},
		"burst of a rate": {traffic.Plan{}, Config{Rate: 1e6, Burst: 1, Count: 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCable(t)
			ring := w.open(t)
			r, err := w.send(t, t.Context(), c.plan, c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			want := max(c.plan.Count, c.cfg.Count)
			if want != 0 && r.Frames != want {
				t.Errorf("sent %d frames, want %d", r.Frames, want)
			}
			if r.Interface.Sent < r.Offered() || r.Interface.Dropped != 0 {
				t.Errorf("of %d frames the interface carried %d and dropped %d", r.Frames, r.Interface.Sent, r.Interface.Dropped)
			}
			got := drain(t, ring, c.plan.VLAN)
			if got.frames != r.Offered() || got.bytes != r.Bytes {
				t.Errorf("received %d frames, %d bytes, of %d and %d", got.frames, got.bytes, r.Offered(), r.Bytes)
			}
			checkRate(t, r, c.cfg)
			t.Logf("%+v; oldest %v", r, got.oldest)
		})
	}
}

// checkRate holds what is true on the slowest machine: a schedule is never run
// through too fast, and unless it had to be put off, not a frame is missing.
func checkRate(t *testing.T, r Result, cfg Config) {
	t.Helper()
	if cfg.Rate == 0 {
		return
	}
	if r.Rate > cfg.Rate*1.000001 {
		t.Errorf("%v frames/s, more than %v", r.Rate, cfg.Rate)
	}
	if cfg.Duration == 0 {
		return
	}
	want := uint64(cfg.Rate * cfg.Duration.Seconds())
	if r.Frames > want || r.Behind == 0 && r.Frames != want {
		t.Errorf("%d frames in %v, want %d", r.Frames, cfg.Duration, want)
	}
}

// TestInterfaceThatTakesNothing sends where the other end is down.
func TestInterfaceThatTakesNothing(t *testing.T) {
	w := newCable(t)
	if err := w.far.SetDown("eth0"); err != nil {
		t.Fatal(err)
	}
	r, err := w.send(t, t.Context(), traffic.Plan{}, Config{Count: 1000})
	if !errors.Is(err, unix.ENOBUFS) || r.Frames != 0 || r.Offered() != 0 || r.Retries == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOfferedIsWhatArrives(t *testing.T) {
	for _, c := range []struct {
		frames, retries, dropped, want uint64
	}{
		{100, 0, 0, 100},
		{100, 0, 7, 93},   // dropped behind our back
		{100, 7, 7, 100},  // refused and sent again
		{100, 3, 7, 96},   // both
		{100, 9, 0, 100},  // refused, never reached the interface
		{100, 0, 1000, 0}, // somebody else's
	} {
		r := Result{Frames: c.frames, Retries: c.retries, Interface: InterfaceCounts{Dropped: c.dropped}}
		if got := r.Offered(); got != c.want {
			t.Errorf("%+v: %d, want %d", r, got, c.want)
		}
	}
}

func TestConversationsAreFinishedAtTheEndOfDuration(t *testing.T) {
	w := newCable(t)
	g, err := traffic.New(traffic.Plan{Kind: traffic.HTTP1, Flows: 4, ResponseLen: 3000})
	if err != nil {
		t.Fatal(err)
	}
	index, err := w.near.Index("eth0")
	if err != nil {
		t.Fatal(err)
	}
	err = w.near.Do(func() error {
		_, err := Send(t.Context(), g, Config{Interface: index, Duration: 50 * time.Millisecond})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := g.Counts(); c.Connections == 0 || c.Exchanges != 10*c.Connections {
		t.Errorf("%+v", c)
	}
}

func TestEndOfContextEndsSending(t *testing.T) {
	for name, cfg := range map[string]Config{"flat out": {}, "between lone frames": {Rate: 0.001}} {
		w := newCable(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := w.send(t, ctx, traffic.Plan{}, cfg)
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still sending", name)
		}
	}
}

func TestSendRefuses(t *testing.T) {
	w := newCable(t)
	for _, c := range []struct {
		plan traffic.Plan
		cfg  Config
		want string
	}{
		{traffic.Plan{}, Config{Burst: 2}, "bursts need a rate"},
		{traffic.Plan{}, Config{Rate: -1}, "rate -1"},
		{traffic.Plan{}, Config{Duration: -1}, "duration -1ns"},
		{traffic.Plan{Size: traffic.Fixed(1515)}, Config{Count: 1}, "frame 0 of 1515 bytes, more than the interface takes"},
	} {
		if _, err := w.send(t, t.Context(), c.plan, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %q", c.cfg, err, c.want)
		}
	}
	g, err := traffic.New(traffic.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Send(t.Context(), g, Config{Interface: 99999}); err == nil {
		t.Error("sent into an interface that isn't there")
	}
}

func TestInNetNSOf(t *testing.T) {
	netnstest.Require(t)
	var here, there unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &here); err != nil {
		t.Fatal(err)
	}
	err := InNetNSOf(os.Getpid(), func() error { return unix.Stat("/proc/thread-self/ns/net", &there) })
	if err != nil || here.Ino != there.Ino {
		t.Errorf("%v, namespace %d, want %d", err, there.Ino, here.Ino)
	}
	if err := InNetNSOf(1<<30, func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process that isn't there: %v", err)
	}
	if _, err := net.InterfaceByName("lo"); err != nil {
		t.Error(err)
	}
}

func TestNothingIsAllocatedWhileSending(t *testing.T) {
	w := newCable(t)
	index, err := w.near.Index("eth0")
	if err != nil {
		t.Fatal(err)
	}
	err = w.near.Do(func() error {
		g, err := traffic.New(traffic.Plan{})
		if err != nil {
			return err
		}
		sock, err := openSocket(index, false)
		if err != nil {
			return err
		}
		defer sock.close()
		s := sender{generator: g, socket: sock, pace: newPacer(0, 0, time.Now())}
		ctx := t.Context()
		once := func() {
			if err := s.send(ctx, s.fill(s.size())); err != nil {
				t.Error(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(100, once); n != 0 {
			t.Errorf("%v allocations per batch", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
