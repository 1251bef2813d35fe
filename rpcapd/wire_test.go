//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
)

// listing returns the FINDALLIF_REPLY as it is on the wire.
func (c *client) listing() (rpcap.Header, []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(rpcap.Append(nil, &rpcap.FindAllIfRequest{})); err != nil {
		c.t.Fatal(err)
	}
	h, body, err := c.r.Next()
	if err != nil || h.Type != rpcap.TypeFindAllIfReply {
		c.t.Fatal(h, err)
	}
	return h, bytes.Clone(body)
}

// record is one interface of a listing, taken apart by the offsets of the
// protocol's description and not by our decoder.
type record struct {
	name      string
	flags     uint32
	addresses [][]byte // 512 bytes each
}

func records(t *testing.T, body []byte) (all []record) {
	t.Helper()
	for len(body) > 0 {
		name, description := int(binary.BigEndian.Uint16(body)), int(binary.BigEndian.Uint16(body[2:]))
		r := record{name: string(body[12 : 12+name]), flags: binary.BigEndian.Uint32(body[4:])}
		count := int(binary.BigEndian.Uint16(body[8:]))
		body = body[12+name+description:]
		for range count {
			r.addresses = append(r.addresses, body[:512])
			body = body[512:]
		}
		all = append(all, r)
	}
	return all
}

func recordOf(t *testing.T, body []byte, name string) record {
	t.Helper()
	for _, r := range records(t, body) {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("%s is not listed", name)
	return record{}
}

func sockaddr(t *testing.T, hexadecimal string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(hexadecimal, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, make([]byte, 128-len(b))...)
}

func TestListingOnTheWire(t *testing.T) {
	host, peer := link(t)
	s := serve(t, host, "-n")
	c := tcpClient(t, peer, "10.9.8.1")
	t.Run("C035 count and length", func(t *testing.T) {
		h, body := c.listing()
		if got := records(t, body); int(h.Value) != len(got) || len(got) != 3 || int(h.Len) != len(body) {
			t.Errorf("%v for %d records in %d bytes", h, len(got), len(body))
		}
	})
	t.Run("C036 lo alone", func(t *testing.T) {
		netnstest.RequireCapture(t)
		alone := netnstest.New(t)
		s := serve(t, alone, "-n")
		_, body := tcpClient(t, alone, "127.0.0.1").listing()
		lo := recordOf(t, body, "lo")
		if lo.flags != 0x37 || len(lo.addresses) != 2 {
			t.Fatalf("flags %#x, %d addresses", lo.flags, len(lo.addresses))
		}
		zero := make([]byte, 128)
		want := [2][4][]byte{
			{sockaddr(t, "0002 0000 7f000001"), sockaddr(t, "0002 0000 ff000000"), zero, zero},
			{sockaddr(t, "0017 0000 00000000 00000000000000000000000000000001"), sockaddr(t, "0017 0000 00000000 ffffffffffffffffffffffffffffffff"), zero, zero},
		}
		for i, a := range lo.addresses {
			if got := bytes.Join(want[i][:], nil); !bytes.Equal(a, got) {
				t.Errorf("address %d: got\n%x, want\n%x", i, a, got)
			}
		}
		s.stop()
	})
	t.Run("C037 scope of a link-local address", func(t *testing.T) {
		if err := host.AddAddr("cap0", netip.MustParsePrefix("fe80::77/64")); err != nil {
			t.Fatal(err)
		}
		index, err := host.Index("cap0")
		if err != nil {
			t.Fatal(err)
		}
		_, body := c.listing()
		found := false
		for _, a := range recordOf(t, body, "cap0").addresses {
			if bytes.HasPrefix(a[8:], []byte{0xfe, 0x80}) {
				found = true
				if scope := binary.BigEndian.Uint32(a[24:]); int(scope) != index {
					t.Errorf("scope %d, want %d", scope, index)
				}
			}
		}
		if !found {
			t.Error("no link-local address is listed")
		}
	})
	t.Run("C038 broadcast address", func(t *testing.T) {
		_, body := c.listing()
		cap0 := recordOf(t, body, "cap0")
		broadcast := cap0.addresses[0][256:]
		if !bytes.HasPrefix(broadcast, []byte{0, 2, 0, 0, 10, 9, 8}) {
			t.Errorf("broadcast % x", broadcast[:16])
		}
	})
	s.stop()
}

// dialled starts a capture whose data connection the daemon makes.
func (c *client) dialled(device string, flags rpcap.StartCapFlags, port uint16) {
	c.t.Helper()
	c.call(&rpcap.OpenRequest{Device: device}, &rpcap.OpenReply{})
	var reply rpcap.StartCapReply
	c.call(&rpcap.StartCapRequest{ReadTimeout: 5 * time.Millisecond, Flags: flags, DataPort: port, Filter: everything}, &reply)
	if reply.DataPort != 0 {
		c.t.Errorf("announces port %d", reply.DataPort)
	}
}

func TestServerOpensTheDataConnection(t *testing.T) {
	host, peer := link(t)
	s := serve(t, host, "-n")
	for address, own := range map[string]string{"10.9.8.1": "10.9.8.2", "fd09::1": "fd09::2"} {
		t.Run(address, func(t *testing.T) {
			c := tcpClient(t, peer, address)
			l, err := peer.Listen("tcp", net.JoinHostPort(own, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c.dialled("cap0", rpcap.StartCapServerOpen, uint16(l.Addr().(*net.TCPAddr).Port))
			conn, err := l.Accept() // it is there when the reply is
			if err != nil {
				t.Fatal(err)
			}
			st := &stream{t: t, done: make(chan struct{})}
			go st.read(conn) // ended by the data connection's end
			sendFrames(t, peer, "gen0", numbered(100, nil)...)
			packets, stats := c.end(st)
			checkNumbers(t, packets, 12, 100, 1)
			if int(stats.Sent) != len(packets) {
				t.Errorf("%d packets, %+v", len(packets), stats)
			}
			port := conn.RemoteAddr().(*net.TCPAddr).Port
			for _, p := range packets {
				if hasPort(p.data, port) {
					t.Fatalf("packet %d is of the own data connection", p.Number)
				}
			}
		})
	}
	s.stop()
}

// hasPort tells whether an Ethernet frame is TCP or UDP over IPv4 from or to
// the port.
func hasPort(frame []byte, port int) bool {
	if len(frame) < 38 || frame[14] != 0x45 || frame[23] != 6 && frame[23] != 17 {
		return false
	}
	return int(binary.BigEndian.Uint16(frame[34:])) == port || int(binary.BigEndian.Uint16(frame[36:])) == port
}

func TestDatagramsOnTheWire(t *testing.T) {
	host, peer := link(t)
	s := serve(t, host, "-n")
	c := tcpClient(t, peer, "10.9.8.1")
	var conn *net.UDPConn
	err := peer.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(10, 9, 8, 2)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(4 << 20)
	c.dialled("cap0", rpcap.StartCapDatagram|rpcap.StartCapPromiscuous, uint16(conn.LocalAddr().(*net.UDPAddr).Port))
	sendFrames(t, peer, "gen0", numbered(100, nil)...)
	var packets []capturedPacket
	buf := make([]byte, 1<<16)
	source := 0
	for seen := 0; seen < 100; {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			t.Fatalf("after %d test frames: %v", seen, err)
		}
		h, err := rpcap.ParsePacketHeader(buf[rpcap.HeaderLen:n])
		if err != nil || n != rpcap.PacketOverhead+int(h.CapLen) || buf[1] != byte(rpcap.TypePacket) {
			t.Fatalf("datagram of %d bytes: %+v, %v", n, h, err)
		}
		p := capturedPacket{h, bytes.Clone(buf[rpcap.PacketOverhead:n])}
		if _, ok := isTest(p.data, 12); ok {
			seen++
		}
		source = from.Port
		packets = append(packets, p)
	}
	checkNumbers(t, packets, 12, 100, 1)
	for i, p := range packets {
		if int(p.Number) != i+1 || hasPort(p.data, source) {
			t.Fatalf("packet %d has number %d, own %v", i+1, p.Number, hasPort(p.data, source))
		}
	}
	c.call(&rpcap.EndCapRequest{}, &rpcap.EndCapReply{})
	s.stop()
}

// The data listener is on the address that the client came to.
func TestDataListenerAddress(t *testing.T) {
	host, peer := link(t)
	s := serve(t, host, "-n")
	t.Run("C077 family of the control connection", func(t *testing.T) {
		for control, other := range map[string]string{"10.9.8.1": "fd09::1", "fd09::1": "10.9.8.1"} {
			c := tcpClient(t, peer, control)
			dial := c.dial
			c.dial = func(port uint16) net.Conn {
				conn, err := peer.DialContext(t.Context(), "tcp", (&net.TCPAddr{IP: net.ParseIP(other), Port: int(port)}).String())
				if err == nil {
					conn.Close()
					t.Errorf("control on %s, data on %s", control, other)
				}
				return dial(port)
			}
			stream := c.capture("cap0", 0, testFilter(12))
			sendFrames(t, peer, "gen0", numbered(10, nil)...)
			packets, _ := c.end(stream)
			checkNumbers(t, packets, 12, 10, 2)
		}
	})
	s.stop()
}

func TestSamplingOnTheWire(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path)
	for _, device := range []struct {
		name   string
		offset int
	}{{"cap0", 12}, {"any", 14}} {
		t.Run(device.name, func(t *testing.T) {
			c := unixClient(t, path)
			c.call(&rpcap.SetSamplingRequest{Method: rpcap.SamplingOneInN, Value: 10}, &rpcap.SetSamplingReply{})
			stream := c.capture(device.name, 0, testFilter(uint32(device.offset)))
			sendFrames(t, peer, "gen0", numbered(2000, nil)...) // half of them match
			packets, stats := c.end(stream)
			checkNumbers(t, packets, device.offset, 2000, 20)
			if stats.Sent != 100 || stats.Received != 1000 {
				t.Errorf("%+v", stats)
			}
			c.call(&rpcap.SetSamplingRequest{Method: rpcap.SamplingFirstAfterMS, Value: 3_600_000}, &rpcap.SetSamplingReply{})
			stream = c.start(0, testFilter(uint32(device.offset)))
			sendFrames(t, peer, "gen0", numbered(100, nil)...)
			if packets, stats = c.end(stream); len(packets) != 1 || stats.Received != 50 {
				t.Errorf("%d packets in an hour, %+v", len(packets), stats)
			}
		})
	}
	s.stop()
}

// Several clients capture at once, each with its own filter; one that doesn't
// read stalls only itself.
func TestClientsDoNotDisturbOneAnother(t *testing.T) {
	host, peer := link(t)
	path := socketPath(t)
	s := serve(t, host, "--unix-socket", path, "--ring-size=4")
	stuck := unixClient(t, path)
	stuck.call(&rpcap.OpenRequest{Device: "cap0"}, &rpcap.OpenReply{})
	var reply rpcap.StartCapReply
	stuck.call(&rpcap.StartCapRequest{Filter: everything}, &reply)
	defer stuck.dial(reply.DataPort).Close()
	var clients [4]*client
	var streams [4]*stream
	for i := range clients {
		clients[i] = unixClient(t, path)
		filter := testFilter(12)
		if i%2 == 1 {
			filter[3] = rpcap.Instruction{Op: 0x45, K: 1, Jf: 1} // odd numbers
		}
		streams[i] = clients[i].capture("cap0", 0, filter)
	}
	for range 5 {
		sendFrames(t, peer, "gen0", numbered(1000, nil)...)
	}
	for i, c := range clients {
		packets, stats := c.end(streams[i])
		if len(packets) != 2500 || stats.KernelDropped != 0 {
			t.Errorf("client %d: %d packets, %+v", i, len(packets), stats)
		}
		for _, p := range packets {
			if number, ok := isTest(p.data, 12); !ok || number%2 != i%2 {
				t.Fatalf("client %d got frame %d", i, number)
			}
		}
	}
	stuck.call(&rpcap.StatsRequest{}, &rpcap.StatsReply{})
	s.stop()
}
