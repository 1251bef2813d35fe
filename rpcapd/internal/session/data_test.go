package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/session"
)

const (
	startDial     = "00 04 0000 0000001c 00040000 00000005 0004 1092" + retAll
	startDatagram = "00 04 0000 0000001c 00040000 00000005 0002 1092" + retAll
	dialStarted   = "00 84 0000 00000008 00040000 0000 0000"
)

func TestServerOpensData(t *testing.T) {
	in(t, "C053 as asked", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(startDial)
		r.expect(dialStarted)
		r.host.last().Push(ethernet(60, 1), ethernet(70, 2))
		if got := readPackets(t, r.data.dialed, 2); got[1].Number != 2 || got[1].CapLen != 70 {
			t.Errorf("%+v", got)
		}
		r.send(endCap)
		if n, err := r.data.dialed.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("data: %d bytes, %v", n, err)
		}
		r.expect(endReply)
		r.end()
		r.host.closeCheck(t)
	})
	in(t, "always in active mode", func(t *testing.T) {
		r := start(t, session.Config{NullAuth: true, Active: true}, newHost()).auth().open()
		r.send("00 04 0000 0000001c 00040000 00000005 0000 1092" + retAll)
		r.expect(dialStarted)
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, r.data.dialed, 1)
		r.end()
	})
	in(t, "connection refused", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.data.dialErr = errors.New("cannot connect to the client's data port 4242: connection refused")
		r.send(startDial)
		r.expectError(12, r.data.dialErr.Error())
		r.data.dialErr = nil
		r.send(startDial)
		r.expect(dialStarted)
		r.end()
		r.host.closeCheck(t)
	})
	in(t, "no answer in time", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.data.blocked = true
		before := time.Now()
		r.send(startDial)
		r.expectError(12, context.DeadlineExceeded.Error())
		if d := time.Since(before); d != 30*time.Second {
			t.Errorf("after %v", d)
		}
		r.inSync()
		r.end()
		r.host.closeCheck(t)
	})
	in(t, "client hangs up meanwhile", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.data.blocked = true
		before := time.Now()
		r.send(startDial)
		r.end()
		if d := time.Since(before); d > time.Second {
			t.Errorf("noticed after %v", d)
		}
		r.host.closeCheck(t)
	})
}

// In active mode the daemon waits as long as it takes.
func TestActiveSessionHasNoTimer(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := start(t, session.Config{NullAuth: true, Active: true}, newHost())
		time.Sleep(time.Hour)
		r.auth()
		time.Sleep(time.Hour)
		r.open()
		time.Sleep(time.Hour)
		r.inSync()
		r.end()
	})
}

func TestDatagrams(t *testing.T) {
	in(t, "C070 a frame that fits into no datagram", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(startDatagram)
		r.expect(dialStarted)
		// Each write is a datagram; the frame that fits into none has no number.
		go r.host.last().Push(ethernet(60, 1), ethernet(65600, 2), ethernet(65479, 3))
		buf := make([]byte, 1<<17)
		for i, want := range []int{60, 65479} {
			n, err := r.data.dialed.Read(buf)
			if err != nil || n != 28+want {
				t.Fatalf("datagram of %d bytes, %v", n, err)
			}
			if h := rpcap.ReadPacketHeader(buf[8:]); int(h.Number) != i+1 || int(h.CapLen) != want {
				t.Errorf("%+v", h)
			}
		}
		synctest.Wait()
		r.send(statsReq)
		r.expect("0089 0000 00000010 00000003 00000000 00000000 00000002")
		r.end()
		if s := r.session.Stats(); s.Oversized != 1 || s.Undelivered != 1 || s.Sent != 2 || s.Matched != 3 {
			t.Errorf("%+v", s)
		}
		r.host.closeCheck(t)
	})
}

func TestSampling(t *testing.T) {
	sampled := func(t *testing.T, request string) (*rig, []rpcap.PacketHeader) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send("000b 0000 00000008" + request)
		r.expect("008b 0000 00000000")
		data := r.capture()
		received := make(chan []byte)
		go func() { b, _ := io.ReadAll(data); received <- b }()
		for i := range 1000 {
			f := ethernet(60, 1)
			f.Timestamp += int64(i) * int64(time.Millisecond)
			r.host.last().Push(f)
		}
		r.send(endCap)
		r.expect(endReply)
		b := <-received
		return r, readPackets(t, pipeTo(b), len(b)/88)
	}
	for _, tc := range []struct {
		name, request string
		want          int
	}{
		{"none", "00000000 0000000a", 1000},
		{"C100 one in 10", "01000000 0000000a", 100},
		{"one in 1", "01000000 00000001", 1000},
		{"C102 one in 0", "01000000 00000000", 1000},
		{"one in 4 billion", "01000000 ffffffff", 1},
		{"C101 first after 50 ms", "02000000 00000032", 20},
		{"first after 0 ms", "02000000 00000000", 1000},
		{"unknown method", "63000000 0000000a", 1000},
	} {
		in(t, tc.name, func(t *testing.T) {
			r, got := sampled(t, tc.request)
			if len(got) != tc.want {
				t.Fatalf("%d packets, want %d", len(got), tc.want)
			}
			for i, h := range got {
				if int(h.Number) != i+1 {
					t.Fatalf("packet %d has number %d", i+1, h.Number)
				}
			}
			s := r.session.Stats()
			if int(s.Sampled) != 1000-tc.want || s.Matched != s.Sent || s.Reply().Received != 1000 {
				t.Errorf("%+v", s)
			}
			r.end()
		})
	}
	in(t, "C098 while capturing", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		r.send("000b 0000 00000008 01000000 00000003")
		r.expect("008b 0000 00000000")
		r.host.last().Push(ethernet(60, 1), ethernet(61, 1), ethernet(62, 1), ethernet(63, 1))
		if got := readPackets(t, data, 2); got[0].CapLen != 60 || got[1].CapLen != 63 {
			t.Errorf("%+v", got)
		}
		r.end()
	})
	in(t, "C099 short", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		r.send("000b 0000 00000004 01000000")
		r.expectError(15, "Message payload is too short")
		r.inSync()
		r.end()
	})
}

// pipeTo returns a connection that b comes out of.
func pipeTo(b []byte) net.Conn {
	from, to := net.Pipe()
	go func() { _, _ = io.Copy(from, bytes.NewReader(b)); from.Close() }() // ended when b is read
	return to
}

// A client that changes its filter all the time waits, and nobody else.
func TestFilterStormIsSlowed(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		defer data.Close()
		before := time.Now()
		const storm = 100
		for range storm {
			r.send("00 05 0000 00000010" + retAll)
			r.expect("00 85 0000 00000000")
		}
		// 20 at once, of which STARTCAP had one, then 20 a second.
		if d := time.Since(before); d < 4*time.Second || d > 5*time.Second {
			t.Errorf("%d filters took %v", storm, d)
		}
		if n := r.counters.FiltersDelayed.Load(); n < storm-25 || n >= storm {
			t.Errorf("%d requests were delayed", n)
		}
		r.send("00 05 0000 00000010" + retAll)
		r.cancel() // the wait ends with the daemon
		if reason := r.wait(); reason != session.ReasonShutdown {
			t.Error(reason)
		}
	})
}

// So does one that opens devices all the time, of which each is a line of the
// record.
func TestOpenStormIsSlowed(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		before := time.Now()
		for range 150 {
			r.message(&rpcap.OpenRequest{Device: "lo"})
			r.expect(openReply)
		}
		if d := time.Since(before); d < 5*time.Second || d > 6*time.Second { // 50 at once, then 20 a second
			t.Errorf("took %v", d)
		}
		r.message(&rpcap.OpenRequest{Device: "lo"})
		r.cancel()
		if reason := r.wait(); reason != session.ReasonShutdown {
			t.Error(reason)
		}
	})
}

func loopbackData() (*session.TCPData, *recordingSelf) {
	self := &recordingSelf{}
	loopback := netip.MustParseAddr("127.0.0.1")
	return &session.TCPData{Local: loopback, Peer: loopback, Self: self}, self
}

func TestDialData(t *testing.T) {
	d, self := loopbackData()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	data, err := d.DialData(t.Context(), "tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	if data.MaxDatagram != 0 || self.added != 1 {
		t.Errorf("%+v, %d own endpoints", data, self.added)
	}
	data.Conn.Close()
	data.Release()
	if self.released != 1 {
		t.Error("the endpoint stays")
	}
	l.Close()
	for network, want := range map[string]string{"tcp": "cannot connect to the client's data port", "udp": ""} {
		data, err := d.DialData(t.Context(), network, port)
		if err == nil {
			data.Conn.Close()
		}
		if want == "" && (err != nil || data.MaxDatagram != 65507) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", network, err)
		}
		if _, err := d.DialData(t.Context(), network, 0); err == nil {
			t.Error("dials port 0")
		}
	}
	if _, err := (&session.UnixData{}).DialData(t.Context(), "tcp", 1); err == nil {
		t.Error("dials from a unix socket")
	}
}

// Nobody listens, then somebody does: the capture goes on.
func TestCase055DatagramsToNobody(t *testing.T) {
	d, _ := loopbackData()
	client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	address := client.LocalAddr().(*net.UDPAddr)
	client.Close()
	server, conn := net.Pipe()
	r := startOn(t, nullAuth, newHost(), server, conn, d).auth().open()
	r.message(&rpcap.StartCapRequest{Flags: rpcap.StartCapDatagram, DataPort: uint16(address.Port), Filter: []rpcap.Instruction{{Op: 6, K: 1 << 18}}})
	r.expect(dialStarted)
	for i := range 20 {
		r.host.last().Push(ethernet(60+i, 1))
		r.inSync()
	}
	if client, err = net.ListenUDP("udp", address); err != nil {
		t.Skip("the port is somebody else's now:", err)
	}
	defer client.Close()
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
	received := make(chan struct{})
	go func() {
		defer close(received)
		for n := 0; n != 28+1000; {
			if n, err = client.Read(make([]byte, 1<<16)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for { // what is sent first may meet the error that an earlier datagram caused
		r.host.last().Push(afpacket.Frame{Data: make([]byte, 1000), Len: 1000})
		select {
		case <-received:
			r.send(endCap)
			r.expect(endReply)
			r.end()
			if s := r.session.Stats(); s.Matched != s.Sent+s.Undelivered || s.Undelivered != s.SendFailed {
				t.Errorf("%+v", s)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}
