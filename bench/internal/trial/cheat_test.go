//go:build linux

package trial_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// Its ring holds all frames of a test, also if they trickle in for 12 s while
// it is kept from its processor: blocks of at most 50 ms each.
const (
	ringLen      = 16 << 20
	blockLen     = 64 << 10
	blockTimeout = 50 * time.Millisecond
)

// cheat is a capture server that does one thing wrong. The test binary plays it
// when it is called "cheat PORT INTERFACE WHAT".
type cheat struct {
	what   string
	ring   *afpacket.Ring
	data   net.Conn
	number uint32 // of the packet sent last
	kept   []byte // a frame held back
	seen   int
	drops  uint32
}

func playCheat(args []string) error {
	listener, err := net.Listen("tcp4", "127.0.0.1:"+args[0])
	if err != nil {
		return err
	}
	control, err := listener.Accept()
	if err != nil {
		return err
	}
	c := &cheat{what: args[2]}
	reader := rpcap.NewReader(control, nil)
	for {
		h, _, err := reader.Next()
		if err != nil || h.Type == rpcap.TypeClose {
			return nil
		}
		reply, err := c.answer(h.Type, control, args[1])
		if err != nil {
			return fmt.Errorf("%v: %w", h.Type, err)
		}
		if reply != nil {
			if _, err := control.Write(rpcap.Append(nil, reply)); err != nil {
				return err
			}
		}
	}
}

func (c *cheat) answer(t rpcap.Type, control net.Conn, ifname string) (rpcap.Message, error) {
	switch t {
	case rpcap.TypeAuthRequest:
		return &rpcap.AuthReply{ByteOrder: binary.LittleEndian}, nil
	case rpcap.TypeOpenRequest:
		return &rpcap.OpenReply{LinkType: capture.LinkTypeEthernet}, nil
	case rpcap.TypeStartCapRequest:
		return nil, c.start(control, ifname)
	case rpcap.TypeStatsRequest:
		return &rpcap.StatsReply{Received: uint32(c.seen), KernelDropped: c.drops, Sent: c.number}, nil
	case rpcap.TypeEndCapRequest:
		c.ring.Close()
		c.data.Close()
		return &rpcap.EndCapReply{}, nil
	}
	return nil, errors.New("not served")
}

func (c *cheat) start(control net.Conn, ifname string) error {
	link, err := net.InterfaceByName(ifname)
	if err != nil {
		return err
	}
	c.ring, err = afpacket.Open(afpacket.Config{Interface: link.Index, BlockLen: blockLen, BlockCount: ringLen / blockLen, BlockTimeout: blockTimeout}, nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	if _, err := control.Write(rpcap.Append(nil, &rpcap.StartCapReply{DataPort: port})); err != nil {
		return err
	}
	if c.data, err = l.Accept(); err != nil {
		return err
	}
	go c.pump()
	return nil
}

func (c *cheat) pump() {
	var b afpacket.Block
	var f afpacket.Frame
	for c.ring.Next(&b, -1) == nil {
		for b.Next(&f) {
			c.seen++
			c.frame(f.Data)
		}
		b.Release()
	}
}

// frame sends a frame, or what the cheat makes of it.
func (c *cheat) frame(frame []byte) {
	hundredth := c.seen%100 == 0
	first := c.seen == 100
	switch {
	case c.what == "drop" && hundredth: // in secret
	case c.what == "drop-numbered" && hundredth:
		c.number++
	case c.what == "drop-claimed" && hundredth:
		c.drops++
	case c.what == "corrupt" && first:
		damaged := append([]byte(nil), frame...)
		damaged[len(damaged)-1]++
		c.send(damaged)
	case c.what == "swap" && first:
		c.kept = append([]byte(nil), frame...)
	case c.what == "swap" && c.seen == 101:
		c.send(frame)
		c.send(c.kept)
	case c.what == "twice" && first:
		c.send(frame)
		c.send(frame)
	case c.what == "burn-child" && first:
		_ = child("cheat-burn", "300").Run()
		c.send(frame)
	case c.what == "burn-orphan" && first:
		_ = child("cheat-detach", "300").Run()
		c.send(frame)
	case c.what == "burn-thread" && first:
		burn(300 * time.Millisecond)
		c.send(frame)
	default:
		c.send(frame)
	}
}

func (c *cheat) send(frame []byte) {
	c.number++
	_, _ = c.data.Write(rpcaptest.AppendPacket(nil, rpcap.PacketHeader{Number: c.number}, frame))
}

// child returns a process of the test binary. The race detector would let it
// sleep for a second at its end.
func child(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// burn uses the processor for d, by its own thread's clock.
func burn(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var r syscall.Rusage
		const thread = 1 // RUSAGE_THREAD
		_ = syscall.Getrusage(thread, &r)
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	for begin := used(); used()-begin < d; {
	}
}

// play acts if the test binary was started as one of the processes above.
func play(args []string) (played bool) {
	if len(args) < 2 || !strings.HasPrefix(args[0], "cheat") {
		return false
	}
	millis, _ := strconv.Atoi(args[1])
	d := time.Duration(millis) * time.Millisecond
	var err error
	switch args[0] {
	case "cheat":
		err = playCheat(args[1:])
	case "cheat-burn":
		burn(d)
	case "cheat-detach": // leaves a process behind in a session of its own
		cmd := child("cheat-burn", args[1])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err = cmd.Start()
	case "cheat-linger": // for ever, and deaf
		cmd := child("cheat-sleep", args[1])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err = cmd.Start(); err == nil {
			err = playCheat(args[2:])
		}
	case "cheat-sleep":
		time.Sleep(time.Hour)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cheat:", err)
	}
	return true
}
