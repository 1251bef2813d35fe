package pump_test

import (
	"bytes"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/pump"
	"capstan/rpcapd/internal/pump/pumptest"
)

// batchConn takes datagrams as countingConn does writes.
type batchConn struct {
	countingConn
	datagrams atomic.Int64
	errors    []error // of the first datagrams
	numbers   []uint32
}

func (c *batchConn) WriteBatch(ms []ipv4.Message, _ int) (n int, err error) {
	for _, m := range ms {
		if len(c.errors) > 0 {
			err := c.errors[0]
			if err != nil && n > 0 {
				return n, nil // as sendmmsg(2): the error comes with the next call, if at all
			}
			c.errors = c.errors[1:]
			if err != nil {
				return -1, &net.OpError{Op: "write", Err: err}
			}
		}
		if len(m.Buffers) != 1 || m.Addr != nil {
			return -1, unix.EINVAL
		}
		c.bytes.Add(int64(len(m.Buffers[0])))
		c.datagrams.Add(1)
		if len(c.numbers) < cap(c.numbers) {
			c.numbers = append(c.numbers, rpcap.ReadPacketHeader(m.Buffers[0][rpcap.HeaderLen:]).Number)
		}
		n++
	}
	c.writes.Add(1)
	return n, nil
}

// One datagram for each frame, many with one call, and no allocation.
func TestDatagramsAreBatched(t *testing.T) {
	through := func(frames int) *batchConn {
		e := &endless{frame: frame(1, 60)}
		e.left.Store(int64(frames))
		in := e.Input(pump.LayoutEthernet)
		in.Source = e
		p := pump.New(in, pump.Config{SnapLen: 1000, BlockTimeout: config.BlockTimeout, MaxDatagram: 88})
		if err := p.SetSampling(capture.Sampling{OneIn: 2}); err != nil {
			t.Fatal(err)
		}
		conn := &batchConn{}
		if err := start(p, conn, nil); err != nil {
			t.Fatal(err)
		}
		p.Stop()
		return conn
	}
	if conn := through(1280); conn.writes.Load() > 20 || conn.datagrams.Load() != 640 || conn.bytes.Load() != 640*88 {
		t.Errorf("%d writes of %d datagrams, %d bytes", conn.writes.Load(), conn.datagrams.Load(), conn.bytes.Load())
	}
	few := testing.AllocsPerRun(3, func() { through(1280) })
	if many := testing.AllocsPerRun(3, func() { through(128_000) }); many > few+50 {
		t.Errorf("%.0f allocations for few frames, %.0f for many", few, many)
	}
}

// An error that a datagram meets is counted and ends nothing.
func TestDatagramErrors(t *testing.T) {
	d := &pumptest.Device{}
	p := pump.New(d.Input(pump.LayoutEthernet), pump.Config{SnapLen: 1000, BlockTimeout: config.BlockTimeout, MaxDatagram: 1000})
	conn := &batchConn{numbers: make([]uint32, 0, 10), errors: []error{
		unix.ECONNREFUSED, nil, // of an earlier datagram: this one is sent again
		unix.ECONNREFUSED, unix.ECONNREFUSED, // lost
		nil,
		unix.ENETUNREACH, // lost
	}}
	if err := start(p, conn, nil); err != nil {
		t.Fatal(err)
	}
	d.Push(frame(0, 60), frame(1, 60), frame(2, 60), frame(3, 1000), frame(4, 60), frame(5, 60))
	p.Stop()
	s := checkBalance(t, p)
	if s.Sent != 3 || s.SendFailed != 2 || s.Oversized != 1 || s.Undelivered != 3 || s.Bytes != 3*88 || p.Err() != nil {
		t.Errorf("%+v, %v", s, p.Err())
	}
	if want := []uint32{1, 2, 3}; !slices.Equal(conn.numbers, want) {
		t.Errorf("numbers %v, want %v", conn.numbers, want)
	}
}

// Over real sockets of both families datagrams arrive in order and whole, those
// copied for want of room and those of the ring, in more than one batch.
func TestDatagramsArrive(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address)})
		if err != nil {
			t.Skipf("no UDP on this host: %v", err)
		}
		defer client.Close()
		conn, err := net.Dial("udp", client.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		d := &pumptest.Device{}
		p := pump.New(d.Input(pump.LayoutEthernet), pump.Config{SnapLen: 2000, BlockTimeout: config.BlockTimeout, MaxDatagram: 1000})
		if err := start(p, conn, nil); err != nil {
			t.Fatal(err)
		}
		const frames = 150 // as many as the default buffer of a socket takes
		for i := range uint32(frames) {
			d.Push(inRing(frame(i, 60+int(i)), int(i%3)*32))
			if i%50 == 7 {
				d.Push(frame(i, 1500)) // too long
			}
		}
		_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 2000)
		for i := range uint32(frames) {
			n, err := client.Read(b)
			if err != nil {
				t.Fatalf("%s: datagram %d: %v", address, i, err)
			}
			h := rpcap.ReadPacketHeader(b[rpcap.HeaderLen:])
			if h.Number != i+1 || !bytes.Equal(b[rpcap.PacketOverhead:n], frame(i, 60+int(i)).Data) {
				t.Fatalf("%s: datagram %d has number %d and %d bytes", address, i, h.Number, n)
			}
		}
		p.Stop()
		if s := checkBalance(t, p); s.Sent != frames || s.Oversized != 3 || s.SendFailed != 0 {
			t.Errorf("%s: %+v", address, s)
		}
	}
}
