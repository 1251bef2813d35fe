//go:build linux

package main

import (
	"encoding/binary"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"capstan/pkg/rpcap"
)

const testFrames = 1000

func numbered(count int, tag []byte) (frames [][]byte) {
	for i := range count {
		frames = append(frames, testFrame(i, tag))
	}
	return frames
}

// checkNumbers checks that the test frames among packets are number 0, step,
// 2·step … and each there once.
func checkNumbers(t *testing.T, packets []capturedPacket, offset, count, step int) {
	t.Helper()
	next := 0
	for _, p := range packets {
		number, ok := isTest(p.data, offset)
		if !ok {
			continue
		}
		if number != next {
			t.Fatalf("frame %d follows after frame %d", number, next-step)
		}
		next += step
	}
	if next != count {
		t.Errorf("the last frame is %d of %d", next-step, count)
	}
}

func TestCaptureOnVeth(t *testing.T) {
	for _, tc := range []struct {
		name, device, transport string
		offset                  int // of the EtherType in the client's view
		tag                     []byte
		filter                  bool
	}{
		{"everything, TCP", "cap0", "tcp", 12, nil, false},
		{"everything, unix", "cap0", "unix", 12, nil, false},
		{"filter, TCP", "cap0", "tcp", 12, nil, true},
		{"filter, unix", "cap0", "unix", 12, nil, true},
		{"tagged", "cap0", "tcp", 16, []byte{0x81, 0, 0x60, 0x0a}, false},
		{"tagged, filter", "cap0", "tcp", 16, []byte{0x81, 0, 0x60, 0x0a}, true},
		{"any", "any", "unix", 14, nil, false},
		{"any, filter", "any", "unix", 14, nil, true},
		{"any, tagged, filter", "any", "unix", 18, []byte{0x81, 0, 0x60, 0x0a}, true},
		{"direction in", "cap0?dir=in", "tcp", 12, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, peer := link(t)
			path := socketPath(t)
			s := serve(t, host, "-n", "-p", "2002", "--unix-socket", path, "--ring-size=4")
			var c *client
			if tc.transport == "unix" {
				checkMode(t, path)
				c = unixClient(t, path)
			} else {
				c = tcpClient(t, peer, "10.9.8.1") // control and data cross the interface
			}
			filter, step := everything, 1
			if tc.filter {
				filter, step = testFilter(uint32(tc.offset)), 2
			}
			stream := c.capture(tc.device, 0, filter)
			sendFrames(t, peer, "gen0", numbered(testFrames, tc.tag)...)
			packets, stats := c.end(stream)
			checkNumbers(t, packets, tc.offset, testFrames, step)
			if int(stats.Sent) != len(packets) || stats.Received != stats.Sent+stats.KernelDropped || stats.KernelDropped != 0 {
				t.Errorf("%d packets, %+v", len(packets), stats)
			}
			if tc.filter && len(packets) != testFrames/2 {
				t.Errorf("%d packets pass the filter, want %d", len(packets), testFrames/2)
			}
			c.conn.Close()
			l := s.stop()
			if l.sent != len(packets) || l.undelivered != 0 || l.sessions != 1 || l.seen < testFrames {
				t.Errorf("%+v", l)
			}
			if left, _ := os.ReadDir(strings.TrimSuffix(path, "/s")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// udpOn sends count datagrams to itself on lo of n's namespace.
func udpOn(t *testing.T, c func(network, address string) (net.Conn, error), count int) {
	t.Helper()
	conn, err := c("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range count {
		// Nobody listens, which the kernel says by an error at the next write.
		if _, err := conn.Write(binary.BigEndian.AppendUint32([]byte("capstan."), uint32(i))); err != nil {
			_, _ = conn.Write(binary.BigEndian.AppendUint32([]byte("capstan."), uint32(i)))
		}
	}
}

// On the loopback interface, and on "any", each packet is there once, and the
// own data connection never, though it crosses the same interface.
func TestCaptureOnLoopback(t *testing.T) {
	for _, device := range []string{"lo", "any"} {
		t.Run(device, func(t *testing.T) {
			host, _ := link(t)
			s := serve(t, host, "-n", "-b", "127.0.0.1")
			c := tcpClient(t, host, "127.0.0.1")
			var dataPort uint16
			dial := c.dial
			c.dial = func(port uint16) net.Conn { dataPort = port; return dial(port) }
			stream := c.capture(device, 0, everything)
			udpOn(t, func(network, address string) (net.Conn, error) {
				return host.DialContext(t.Context(), network, address)
			}, 100)
			for range 20 { // packets of the control connection and time for feedback
				c.call(&rpcap.StatsRequest{}, &rpcap.StatsReply{})
				time.Sleep(5 * time.Millisecond)
			}
			packets, stats := c.end(stream)
			ip := map[string]int{"lo": 14, "any": 16}[device]
			datagrams, control := map[uint32]int{}, 0
			for _, p := range packets {
				if len(p.data) < ip+40 || p.data[ip]>>4 != 4 {
					continue
				}
				source, destination := binary.BigEndian.Uint16(p.data[ip+20:]), binary.BigEndian.Uint16(p.data[ip+22:])
				switch protocol := p.data[ip+9]; {
				case protocol == 17 && destination == 9:
					datagrams[binary.BigEndian.Uint32(p.data[ip+36:])]++
				case protocol == 6 && (source == dataPort || destination == dataPort):
					t.Fatalf("packet %d is of the own data connection", p.Number)
				case protocol == 6 && (source == rpcap.DefaultPort || destination == rpcap.DefaultPort):
					control++
				}
			}
			if len(datagrams) != 100 {
				t.Errorf("%d of 100 datagrams", len(datagrams))
			}
			for i, n := range datagrams {
				if n != 1 {
					t.Errorf("datagram %d is there %d times", i, n)
				}
			}
			if control < 20 {
				t.Errorf("only %d packets of the control connection", control)
			}
			if int(stats.Sent) != len(packets) {
				t.Errorf("%d packets, %+v", len(packets), stats)
			}
			s.stop()
		})
	}
}

func TestListingInNamespace(t *testing.T) {
	host, peer := link(t)
	s := serve(t, host, "-n")
	for _, address := range []string{"10.9.8.1", "fd09::1"} {
		c := tcpClient(t, peer, address)
		var list rpcap.FindAllIfReply
		c.call(&rpcap.FindAllIfRequest{}, &list)
		var got []string
		for _, i := range list.Interfaces {
			got = append(got, i.Name)
			switch i.Name {
			case "lo":
				if i.Flags != 0x37 || len(i.Addresses) != 2 || i.Addresses[0].Broadcast.IsValid() || i.Addresses[0].Destination.IsValid() {
					t.Errorf("%+v", i)
				}
			case "any":
				if i.Flags != 0x36 || i.Description != "Pseudo-device that captures on all interfaces" {
					t.Errorf("%+v", i)
				}
			case "cap0":
				if i.Flags != 0x16 || i.Addresses[0].Addr.String() != "10.9.8.1" || i.Addresses[0].Netmask.String() != "255.255.255.0" {
					t.Errorf("%+v", i)
				}
			}
		}
		if names := strings.Join(got, " "); names != "cap0 any lo" {
			t.Errorf("listed %s", names)
		}
	}
	s.stop()
}

func TestUpdateFilterAndReopen(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	c := unixClient(t, path)
	stream := c.capture("cap0", 0, []rpcap.Instruction{{Op: 6}}) // nothing
	sendFrames(t, peer, "gen0", numbered(10, nil)...)
	c.call(&rpcap.UpdateFilterRequest{Filter: testFilter(12)}, &rpcap.UpdateFilterReply{})
	sendFrames(t, peer, "gen0", numbered(10, nil)...)
	packets, _ := c.end(stream)
	checkNumbers(t, packets, 12, 10, 2)
	stream = c.start(0, testFilter(12)) // without OPEN
	sendFrames(t, peer, "gen0", numbered(20, nil)...)
	packets, stats := c.end(stream)
	checkNumbers(t, packets, 12, 20, 2)
	if packets[0].Number != 1 || stats.Sent != 10 {
		t.Errorf("starts with packet %d, %+v", packets[0].Number, stats)
	}
	s.stop()
}

func TestSnapLength(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	c := unixClient(t, path)
	stream := c.capture("cap0", 20, testFilter(12))
	sendFrames(t, peer, "gen0", testFrame(0, nil))
	packets, _ := c.end(stream)
	if len(packets) != 1 || packets[0].CapLen != 20 || int(packets[0].Len) != len(testFrame(0, nil)) {
		t.Errorf("%+v", packets)
	}
	s.stop()
}

func TestDeviceThatVanishes(t *testing.T) {
	host, _ := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	c := unixClient(t, path)
	stream := c.capture("cap0", 0, everything)
	if err := host.Delete("cap0"); err != nil {
		t.Fatal(err)
	}
	h, body, err := c.r.Next()
	if err != nil || h.Type != rpcap.TypeError || h.Value != uint16(rpcap.CodeRead) {
		t.Errorf("%v %q %v", h, body, err)
	}
	<-stream.done
	if _, _, err := c.r.Next(); err == nil {
		t.Error("the control connection is still open")
	}
	s.stop()
}

// A stopping daemon delivers what its rings hold.
func TestShutdownWhileCapturing(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	c := unixClient(t, path)
	stream := c.capture("cap0", 0, testFilter(12))
	sendFrames(t, peer, "gen0", numbered(100, nil)...)
	l := s.stop()
	<-stream.done
	checkNumbers(t, stream.packets, 12, 100, 2)
	if l.sent != 50 || l.undelivered != 0 {
		t.Errorf("%+v", l)
	}
}

func TestUnixSocketRules(t *testing.T) {
	host, _ := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	t.Run("somebody listens", func(t *testing.T) {
		cmd := command("--unix-socket", path)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(out), "somebody listens") {
			t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), out)
		}
	})
	// A killed daemon leaves its socket behind; the next one replaces it.
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s = serve(t, host, "--unix-socket", path)
	unixClient(t, path)
	s.stop()
	t.Run("not a socket", func(t *testing.T) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := command("--unix-socket", path)
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed {
			t.Error(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error("the file is gone")
		}
	})
	t.Run("user who may not", func(t *testing.T) {
		path := socketPath(t)
		s := serve(t, host, "--unix-socket", path, "--unix-allow-uid", "12345")
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		h, body, err := rpcap.NewReader(conn, nil).Next() // without a word from us
		if err != nil || h.Value != uint16(rpcap.CodeHostNoAuth) || !strings.Contains(string(body), "not allowed") {
			t.Errorf("%v %q %v", h, body, err)
		}
		s.stop()
		if !strings.Contains(s.stderr.String(), "user is not allowed") {
			t.Error(s.stderr.String())
		}
	})
}
