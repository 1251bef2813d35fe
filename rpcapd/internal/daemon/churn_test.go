//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/session"
)

// churnConnections is how many connections TestChurn makes, several at a time.
// CHURN_CONNECTIONS says otherwise. Each loads up to some ten programs, which
// package sockfilter paces.
const churnConnections = 24

// serveKernel runs a daemon that captures on this host's loopback interface.
func serveKernel(t *testing.T) (address string, stop func()) {
	t.Helper()
	netnstest.RequireCapture(t)
	cfg, err := config.Parse([]string{"-n", "-b", "127.0.0.1", "-p", "0", "--max-sessions", "100", "--max-sessions-per-host", "100"})
	if err != nil {
		t.Fatal(err)
	}
	table, err := sockfilter.NewSelfTable()
	if err != nil {
		t.Fatal(err)
	}
	self := device.NewEndpoints(table, time.Millisecond)
	d := New(cfg, session.Config{}, &device.Host{RingMiB: 2, Self: table}, self, slog.New(slog.DiscardHandler))
	if err := d.Listen(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }() // ended by stop
	return d.listeners[0].Addr().String(), func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		self.Close()
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}
}

// churner is a client that does things in any order.
type churner struct {
	address  string
	random   *rand.Rand
	conn     net.Conn
	r        *rpcap.Reader
	data     net.Conn
	received sync.WaitGroup
}

// run plays one connection and reports what a correct daemon never does.
func (c *churner) run() error {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c.conn, c.r = conn, rpcap.NewReader(conn, nil)
	defer c.received.Wait()
	defer c.dropData()
	if err := c.ask(&rpcap.AuthRequest{}); err != nil {
		return err
	}
	for range 3 + c.random.IntN(10) {
		if err := c.step(); err != nil {
			return err
		}
	}
	if c.random.IntN(2) == 0 { // or else it is killed
		_, err = conn.Write(rpcap.Append(nil, &rpcap.Close{}))
	}
	return err
}

func (c *churner) step() error {
	filter := []rpcap.Instruction{{Op: 0x28, K: 12}, {Op: 0x15, K: uint32(c.random.IntN(3)) + 0x0800, Jf: 1}, {Op: 6, K: 262144}, {Op: 6}}
	switch c.random.IntN(9) {
	case 0, 1:
		return c.ask(&rpcap.OpenRequest{Device: "lo"})
	case 2, 3:
		return c.start(filter)
	case 4:
		return c.ask(&rpcap.UpdateFilterRequest{Filter: filter})
	case 5:
		return c.ask(&rpcap.StatsRequest{})
	case 6:
		return c.ask(&rpcap.SetSamplingRequest{Method: rpcap.SamplingMethod(c.random.IntN(3)), Value: uint32(c.random.IntN(4))})
	case 7:
		return c.ask(&rpcap.EndCapRequest{})
	default:
		c.dropData()
		return nil
	}
}

// ask sends a request; its reply or an ERROR must come.
func (c *churner) ask(m rpcap.Message) error {
	_, err := c.request(m)
	return err
}

func (c *churner) request(m rpcap.Message) (body []byte, err error) {
	if _, err := c.conn.Write(rpcap.Append(nil, m)); err != nil {
		return nil, err
	}
	h, body, err := c.r.Next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%v: %w", m.Type(), err)
	case h.Type == rpcap.TypeError:
		return nil, nil // out of turn
	case h.Type != m.Type()|rpcap.TypeReply:
		return nil, fmt.Errorf("%v is answered by %v", m.Type(), h)
	}
	return body, nil
}

// start starts a capture, if that is in turn, with a data connection of either
// direction.
func (c *churner) start(filter []rpcap.Instruction) error {
	m := &rpcap.StartCapRequest{ReadTimeout: time.Millisecond, Filter: filter}
	var l *net.TCPListener
	if c.random.IntN(3) == 0 {
		var err error
		if l, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			return err
		}
		defer l.Close()
		m.Flags, m.DataPort = rpcap.StartCapServerOpen, uint16(l.Addr().(*net.TCPAddr).Port)
	}
	body, err := c.request(m)
	if err != nil || body == nil {
		return err
	}
	c.dropData()
	if l != nil {
		_ = l.SetDeadline(time.Now().Add(time.Minute))
		c.data, err = l.Accept()
	} else {
		c.data, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(body[4])<<8|int(body[5]))))
	}
	if err != nil {
		return err
	}
	data := c.data
	c.received.Go(func() { _, _ = io.Copy(io.Discard, data) }) // ended by either side's end
	return nil
}

func (c *churner) dropData() {
	if c.data != nil {
		c.data.Close()
		c.data = nil
	}
}

// Requests in any order on many connections at once leave no goroutine,
// descriptor, ring or eBPF program behind.
func TestChurn(t *testing.T) {
	count := churnConnections
	if s := os.Getenv("CHURN_CONNECTIONS"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	_, stop := serveKernel(t)
	stop() // what is made once is made
	before := inUse(t)
	address, stop := serveKernel(t)
	const atOnce = 8
	var wg sync.WaitGroup
	for worker := range atOnce {
		wg.Go(func() {
			for i := worker; i < count; i += atOnce {
				c := churner{address: address, random: rand.New(rand.NewPCG(uint64(i), 11))}
				if err := c.run(); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Errorf("connection %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	stop()
	awaitReturn(t, before)
}
