package sockfilter

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/netns/netnstest"
)

// classicCapture is a packet socket with a ClassicFilter, made without any
// capability, and one without a filter that sees each frame after it.
type classicCapture struct {
	t       *testing.T
	filter  *ClassicFilter
	fd, all int
	buf     []byte
}

func openClassic(t *testing.T, l *link, cfg Config) *classicCapture {
	t.Helper()
	c := &classicCapture{t: t, buf: make([]byte, 1<<16)}
	// The kernel hands a frame to the youngest socket first.
	c.all = openPacketSocket(t, l.receiver)
	c.fd = openPacketSocket(t, l.receiver)
	withCapabilities(t, func() {
		f, err := NewClassicFilter(cfg)
		if err == nil {
			c.filter = f
			err = f.Attach(c.fd)
		}
		if err != nil {
			t.Errorf("classic filter: %v", err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { c.filter.Close() })
	for _, fd := range []int{c.all, c.fd} {
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: l.receiverIndex}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// receive returns the frames that passed, after n frames have come by.
func (c *classicCapture) receive(n int) (frames [][]byte) {
	c.t.Helper()
	for range n {
		c.poll(c.all)
		if _, _, err := unix.Recvfrom(c.all, c.buf, 0); err != nil {
			c.t.Fatal(err)
		}
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return frames
		}
		if err != nil {
			c.t.Fatal(err)
		}
		frames = append(frames, bytes.Clone(c.buf[:n]))
	}
}

func (c *classicCapture) poll(fd int) {
	c.t.Helper()
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(testWait.Milliseconds())); err != nil {
		c.t.Fatal(err)
	}
}

// TestClassicFilter holds the contract of Set: what is judged in the kernel has
// the interpreter's verdict, the rest comes whole.
func TestClassicFilter(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	r := rand.New(rand.NewPCG(8, 1))
	var frames [][]byte
	for _, f := range testFrames(r) {
		if len(f) > 14 {
			f = bytes.Clone(f)
			f[1] = byte(len(frames))
			frames = append(frames, f)
		}
	}
	skbs, tags := received(frames, l.receiverIndex)
	const snapLen = 90
	c := openClassic(t, l, Config{SnapLen: snapLen})
	programs := tcpdumpPrograms(t)[:30]
	for range 30 {
		programs = append(programs, namedProgram{"random", randomKernelProgram(r)})
	}
	inKernel := 0
	for _, np := range programs {
		p := mustCompile(t, np.code)
		judged, err := c.filter.Set(p)
		if err != nil {
			t.Fatal(err)
		}
		if judged.Untagged {
			inKernel++
		}
		for _, f := range frames {
			send(t, fd, l.senderIndex, f)
		}
		var want [][]byte
		for i, s := range skbs {
			if tags[i] == tagged || !judged.Untagged {
				want = append(want, s.data)
				continue
			}
			if n := min(int(min(p.RunPacket(clientPacket(ViewFrame, tags[i], s)), 1<<20)), len(s.data)); n > 0 {
				want = append(want, s.data[:n])
			}
		}
		got := c.receive(len(frames))
		if len(got) != len(want) {
			t.Fatalf("%s: %d frames, want %d\nprogram %v", np.name, len(got), len(want), np.code)
		}
		for i := range got {
			// RET A isn't cut to the snap length, which the caller does.
			if n := min(len(want[i]), snapLen); len(got[i]) < n || !bytes.Equal(got[i][:n], want[i][:n]) {
				t.Fatalf("%s: frame %d is %x, want %x\nprogram %v", np.name, i, got[i], want[i], np.code)
			}
		}
	}
	if inKernel < len(programs)/2 {
		t.Errorf("only %d of %d programs are judged in the kernel", inKernel, len(programs))
	}
	t.Logf("%d of %d programs are judged in the kernel", inKernel, len(programs))
}

func TestClassicFilterRules(t *testing.T) {
	l := newLink(t)
	in, out := openPacketSocket(t, l.sender), openPacketSocket(t, l.receiver)
	frame := ethernet(0x88b5, make([]byte, 50)...)
	for _, tt := range []struct {
		name string
		cfg  Config
		want int
	}{
		{"none", Config{}, 5},
		{"in", Config{Direction: capture.DirectionIn}, 3},
		{"out", Config{Direction: capture.DirectionOut}, 2},
		{"outgoing copies of another interface", Config{LoopbackInterface: l.receiverIndex + 1000}, 5},
		{"outgoing copies", Config{LoopbackInterface: l.receiverIndex}, 3},
	} {
		c := openClassic(t, l, tt.cfg)
		play := func() int {
			for range 3 {
				send(t, in, l.senderIndex, frame)
			}
			for range 2 {
				send(t, out, l.receiverIndex, frame)
			}
			return len(c.receive(5))
		}
		if n := play(); n != 0 {
			t.Errorf("%s: %d frames before Set", tt.name, n)
		}
		for _, p := range []*Program{nil, mustCompile(t, ret(60))} {
			if _, err := c.filter.Set(p); err != nil {
				t.Fatal(err)
			}
			if n := play(); n != tt.want {
				t.Errorf("%s: %d frames, want %d", tt.name, n, tt.want)
			}
		}
		if err := c.filter.Stop(); err != nil {
			t.Error(err)
		}
		if n := play(); n != 0 {
			t.Errorf("%s: %d frames after Stop", tt.name, n)
		}
	}
}

func TestClassicFilterFallsBack(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	c := openClassic(t, l, Config{SnapLen: 20})
	// More than a socket's share of memory, in the kernel's own instructions.
	long := make([]bpf.RawInstruction, maxClassic-maxRules)
	for i := range long {
		long[i] = bpf.RawInstruction{Op: opLoadAbsW, K: 20}
	}
	long[len(long)-1] = bpf.RawInstruction{Op: opRetK}
	frame := ethernet(0x88b5, make([]byte, 50)...)
	judged, err := c.filter.Set(mustCompile(t, long))
	if err != nil {
		t.Fatal(err)
	}
	send(t, fd, l.senderIndex, frame)
	got := c.receive(1)
	counts, err := c.filter.Counts()
	switch {
	case err != nil:
		t.Error(err)
	case judged.Untagged && (len(got) != 0 || counts.Refusals != 0):
		t.Errorf("judged in the kernel: %d frames, %+v", len(got), counts)
	case !judged.Untagged && (len(got) != 1 || len(got[0]) != len(frame) || counts.Refusals != 1):
		t.Errorf("left to user space: %x, %+v", got, counts)
	}
	if err := errors.Join(c.filter.Close(), c.filter.Close(), c.filter.Stop()); err != nil {
		t.Error(err)
	}
	_, setErr := c.filter.Set(nil)
	_, countsErr := c.filter.Counts()
	for what, err := range map[string]error{"Set": setErr, "Counts": countsErr, "Attach": c.filter.Attach(c.fd)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func TestClassicFilterNeedsBPFForSomeRules(t *testing.T) {
	for _, cfg := range []Config{{Shard: Shard{0, 2}}, {Flows: 2}, {Cutoff: 1}, {Dedup: 1}, {Interfaces: &InterfaceTable{}}} {
		f, err := NewClassicFilter(cfg)
		if missing := (*PermissionError)(nil); !errors.As(err, &missing) {
			t.Errorf("%+v: %v, %v", cfg, f, err)
		}
	}
}

// TestOwn has a table in user space alone.
func TestOwn(t *testing.T) {
	netnstest.RequireBPF(t)
	var table *SelfTable
	withCapabilities(t, func() {
		var err error
		if table, err = NewSelfTable(); err != nil {
			t.Error(err)
		}
	}, unix.CAP_NET_RAW)
	if err := table.Add(netip.MustParseAddrPort("10.9.0.1:4000")); err != nil {
		t.Fatal(err)
	}
	if err := table.Add(netip.MustParseAddrPort("[::]:5000")); err != nil {
		t.Fatal(err)
	}
	f, err := NewClassicFilter(Config{Self: table})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packet := func(frame []byte) *Packet { return &Packet{Data: frame, Len: len(frame), NetworkOffset: 14} }
	v4 := func(src, dst uint16) *Packet {
		return packet(ethernet(0x0800, ipv4(6, 0, 0, segment(src, dst, ""))...))
	}
	for _, tt := range []struct {
		name   string
		packet *Packet
		want   bool
	}{
		{"source", v4(4000, 80), true},
		{"the port at the other end", v4(80, 4000), false},
		{"any address", v4(80, 5000), true},
		{"any address, IPv6", packet(ethernet(0x86dd, ipv6(17, segment(5000, 1, ""))...)), true},
		{"another connection", v4(80, 81), false},
		{"not TCP", packet(ethernet(0x0800, ipv4(1, 0, 0, segment(4000, 80, ""))...)), false},
		{"later fragment", packet(ethernet(0x0800, ipv4(6, 3, 0, segment(4000, 80, ""))...)), false},
		{"short", packet(ethernet(0x0800, 0x45)), false},
		{"empty", packet(ethernet(0x0800)), false},
	} {
		if got := f.Own(tt.packet); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if err := errors.Join(table.Remove(netip.MustParseAddrPort("10.9.0.1:4000")), table.Close()); err != nil {
		t.Error(err)
	}
	if f.Own(v4(4000, 80)) {
		t.Error("excluded after Remove")
	}
	if _, err := NewFilter(Config{Self: table}); err == nil {
		t.Error("NewFilter took a table that the kernel doesn't have")
	}
}
