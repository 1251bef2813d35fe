//go:build linux

package daemon

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/pump/pumptest"
)

// A crowd of clients of all kinds, each from a host of its own.
const (
	crowdSilent  = 200 // connect and say nothing
	crowdSlow    = 50  // stop in the middle of a message
	crowdDeaf    = 50  // capture and don't read what they get
	crowdHostile = 100 // say anything
	crowdHonest  = 100 // list, capture, ask, end
)

// address returns one of loopback's addresses.
func address(number int) string { return fmt.Sprintf("127.1.%d.%d", number>>8, number&0xff) }

// startFrom starts a capture and returns its data connection and its device,
// which is known by its snap length.
func (d *testDaemon) startFrom(c *client, mark uint32) (net.Conn, *pumptest.Device) {
	c.t.Helper()
	c.auth()
	c.call(&rpcap.OpenRequest{Device: "eth0"})
	body := c.call(&rpcap.StartCapRequest{SnapLen: mark, Filter: []rpcap.Instruction{{Op: 6, K: 262144}}})
	local := c.conn.LocalAddr().(*net.TCPAddr)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: local.IP}}
	data, err := dialer.DialContext(c.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", int(body[4])<<8|int(body[5])))
	if err != nil {
		c.t.Fatal(err)
	}
	_ = data.SetDeadline(time.Now().Add(time.Minute))
	return data, d.host.marked(mark)
}

// honest is a client that does everything right and must be served.
func (d *testDaemon) honest(t *testing.T, number int) {
	c := d.dialFrom(t, address(number))
	defer c.conn.Close()
	data, device := d.startFrom(c, uint32(1000+number))
	defer data.Close()
	const count = 100
	for range count {
		device.Push(frame(60))
	}
	readFrames(t, data, count)
	c.call(&rpcap.FindAllIfRequest{})
	c.call(&rpcap.UpdateFilterRequest{Filter: []rpcap.Instruction{{Op: 6, K: 100}}})
	c.call(&rpcap.EndCapRequest{})
	if body := c.call(&rpcap.StatsRequest{}); int(body[15]) != count {
		t.Errorf("client %d: statistics % x", number, body)
	}
	c.send(&rpcap.Close{})
	if _, _, err := c.r.Next(); err != io.EOF {
		t.Errorf("client %d: after CLOSE: %v", number, err)
	}
}

// 500 clients at once: the honest ones are served, and when all are gone the
// daemon has what it had.
func TestCrowd(t *testing.T) {
	d := serve(t, "--max-sessions", "600", "--max-sessions-per-host", "2")
	d.host.mark = true
	d.honest(t, 1) // what is made once is made
	waitFor(t, func() bool { return d.Snapshot().Sessions == 0 })
	before := inUse(t)
	var idle, busy sync.WaitGroup
	gone := make(chan struct{})
	stay := func(number int, prepare func(c *client)) {
		idle.Go(func() {
			c := d.dialFrom(t, address(number))
			defer c.conn.Close()
			prepare(c)
			<-gone
		})
	}
	number := 2
	for range crowdSilent {
		stay(number, func(*client) {})
		number++
	}
	for range crowdSlow {
		stay(number, func(c *client) { _, _ = c.conn.Write([]byte{0, 8, 0}) })
		number++
	}
	for i := range crowdDeaf {
		stay(number, func(c *client) {
			data, device := d.startFrom(c, uint32(2000+i))
			for range 100 {
				device.Push(frame(60_000)) // more than buffers hold
			}
			<-gone
			data.Close()
		})
		number++
	}
	for i := range crowdHostile {
		busy.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for range 5 {
				hostile(d.address, random)
			}
		})
	}
	for i := range crowdHonest {
		busy.Go(func() { d.honest(t, number+i) })
	}
	busy.Wait()
	close(gone)
	idle.Wait()
	d.host.forget()
	waitFor(t, func() bool { return d.Snapshot().Sessions == 0 })
	awaitReturn(t, before)
}
