package session_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/session"
)

// What a session says to the first messages, to the byte.
func TestBeforeAuthentication(t *testing.T) {
	in(t, "C001 null login", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		r.conn.Close()
		if reason := r.wait(); reason != session.ReasonEOF {
			t.Error(reason)
		}
	})
	in(t, "C003 version 1", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("01 08 0000 00000008 0000 0000 0000 0000")
		r.expectVersionError(1, 17, "RPCAP version in requests in the authentication phase must be 0")
		r.expectEOF()
		r.wait()
	})
	in(t, "C011 nothing at all", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.conn.Close()
		if reason := r.wait(); reason != session.ReasonEOF || strings.Contains(r.log.String(), "level=WARN") || strings.Contains(r.log.String(), "level=ERROR") {
			t.Error(reason, r.log.String())
		}
	})
	for name, tc := range map[string]struct{ request, text string }{
		"C028 request":     {listReq, "RPCAP_MSG_FINDALLIF_REQ request sent before authentication was completed"},
		"C029 reply":       {"00 82 0000 00000000", "Server-to-client message RPCAP_MSG_FINDALLIF_REPLY received from client"},
		"C030 unknown":     {"00 6e 0000 00000005 0102030405", "Unknown message type 110"},
		"packet from peer": {"00 07 0000 00000002 ffff", "Server-to-client message RPCAP_MSG_PACKET received from client"},
	} {
		in(t, name, func(t *testing.T) {
			r := start(t, nullAuth, newHost())
			r.send(tc.request)
			r.expectError(16, tc.text)
			r.auth().inSync()
			r.end()
		})
	}
	in(t, "C031 CLOSE", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send(closeMsg)
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonClosed {
			t.Error(reason)
		}
	})
	in(t, "C032 ERROR", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.message(&rpcap.Error{Code: rpcap.CodeRemoteAccept, Text: "x"})
		r.expectEOF()
		r.wait()
		if !strings.Contains(r.log.String(), "Error from client: x") {
			t.Error(r.log.String())
		}
	})
}

// What closes an authenticated session, and what doesn't.
func TestAfterAuthentication(t *testing.T) {
	for name, tc := range map[string]struct {
		request string
		version uint8
		code    rpcap.ErrorCode
		text    string
	}{
		"C004 version 1":            {"01 02 0000 00000000", 1, 17, "RPCAP version in message isn't supported by the server"},
		"C033 AUTH_REQ":             {authNull, 0, 16, "RPCAP_MSG_AUTH_REQ request sent after authentication was completed"},
		"C092 unknown type":         {"00 0c 0000 00000000", 0, 16, "Unknown message type 12"},
		"C093 PACKET":               {"00 07 0000 00000000", 0, 16, "Server-to-client message RPCAP_MSG_PACKET received from client"},
		"reply":                     {"00 84 0000 00000000", 0, 16, "Server-to-client message RPCAP_MSG_STARTCAP_REPLY received from client"},
		"unknown type with a body":  {"00 6e 0000 00000003 010203", 0, 16, "Unknown message type 110"},
		"version 255 with any type": {"ff ff ffff 00000001 01", 255, 17, "RPCAP version in message isn't supported by the server"},
	} {
		in(t, name, func(t *testing.T) {
			r := start(t, nullAuth, newHost()).auth()
			r.send(tc.request)
			r.expectVersionError(tc.version, tc.code, tc.text)
			r.expectEOF()
			if reason := r.wait(); reason != session.ReasonProtocol {
				t.Error(reason)
			}
		})
	}
	in(t, "C094 ERROR", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		r.message(&rpcap.Error{Code: rpcap.CodeRead, Text: "as you say"})
		r.inSync()
		r.end()
		if !strings.Contains(r.log.String(), "Error from client: as you say") {
			t.Error(r.log.String())
		}
	})
}

// packets reads n PACKET messages whole.
func packets(t *testing.T, conn io.Reader, n int) (all [][]byte) {
	t.Helper()
	r := rpcap.NewReader(conn, nil)
	for range n {
		_, body, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.Clone(body))
	}
	return all
}

func TestPacketsOnTheWire(t *testing.T) {
	in(t, "C052 numbers and lengths", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		r.host.last().Push(ethernet(60, 1), ethernet(61, 2), ethernet(62, 3))
		want := "00 07 0000 00000050 6553f100 00000001 0000003c 0000003c 00000001" + strings.Repeat("01", 60)
		for i, body := range packets(t, data, 3) {
			h := rpcap.ReadPacketHeader(body)
			if int(h.Number) != i+1 || int(h.CapLen) != 60+i || len(body) != 20+60+i {
				t.Errorf("packet %d: %+v in %d bytes", i, h, len(body))
			}
			if i == 0 && !bytes.Equal(append(unhex(t, "00 07 0000 00000050"), body...), unhex(t, want)) {
				t.Errorf("got  %x\nwant %s", body, want)
			}
		}
		r.end()
	})
	in(t, "C065 hostile filters accept nothing", func(t *testing.T) {
		for _, filter := range []string{
			"00000002 0020 00 00 7fffffff 0006 00 00 00040000",                                         // ld [2³¹-1]
			"00000003 0000 00 00 00000005 003c 00 00 00000000 0006 00 00 00040000",                     // a / x, x = 0
			"00000004 0001 00 00 00000028 0000 00 00 00000001 006c 00 00 00000000 0016 00 00 00000000", // 1 << 40, ret a
			"00000003 0001 00 00 ffffffff 0040 00 00 ffffffff 0006 00 00 00040000",                     // ld [x+k] beyond 2³²
			"00000003 0000 00 00 00000005 009c 00 00 00000000 0006 00 00 00040000",                     // a % x, x = 0
		} {
			r := start(t, nullAuth, newHost()).auth()
			r.message(&rpcap.OpenRequest{Device: "any"}) // judged by the interpreter
			r.receive()
			body := unhex(t, "00040000 00000005 0001 0000 0001 0000"+filter)
			r.write(append(rpcap.AppendHeader(nil, rpcap.Header{Type: rpcap.TypeStartCapRequest, Len: uint32(len(body))}), body...))
			r.expect(started)
			data := r.data.connect(t)
			go io.Copy(io.Discard, data) // ended by the session
			r.host.last().Push(ethernet(60, 1))
			r.send(endCap)
			r.expect(endReply)
			r.end()
			if s := r.session.Stats(); s.Filtered != 1 || s.Sent != 0 {
				t.Errorf("%s: %+v", filter, s)
			}
		}
	})
	in(t, "C066 the verdict cuts", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		r.message(&rpcap.OpenRequest{Device: "any"})
		r.receive()
		r.send("00 04 0000 0000001c 00040000 00000005 0001 0000 0001 0000 00000001 0006 00 00 0000000a")
		r.expect(started)
		data := r.data.connect(t)
		r.host.last().Push(ethernet(60, 1))
		if got := readPackets(t, data, 1); got[0].CapLen != 10 || got[0].Len != 60-14+16 {
			t.Errorf("%+v", got)
		}
		r.end()
	})
	in(t, "C069 a frame of more than 64 KiB", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		r.host.last().Push(ethernet(65600, 1), ethernet(60, 2))
		got := packets(t, data, 2)
		if len(got[0]) != 20+65600 || len(got[1]) != 20+60 {
			t.Errorf("bodies of %d and %d bytes", len(got[0]), len(got[1]))
		}
		r.end()
	})
	in(t, "C075 surplus bytes behind the filter", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send("00 04 0000 00000020 00040000 00000005 0001 0000" + retAll + "deadbeef")
		r.expect(started)
		defer r.data.connect(t).Close()
		r.inSync()
		r.end()
	})
	in(t, "C054 datagrams of exactly 28 bytes more", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(startDatagram)
		r.expect(dialStarted)
		r.host.last().Push(ethernet(60, 1))
		if n, err := r.data.dialed.Read(make([]byte, 100)); err != nil || n != 88 {
			t.Errorf("%d bytes, %v", n, err)
		}
		r.end()
	})
}

// What a session does while its capture runs.
func TestWhileCapturing(t *testing.T) {
	in(t, "C042 listing", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		r.inSync()
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		r.end()
	})
	in(t, "C082 statistics", func(t *testing.T) {
		host := newHost()
		r := start(t, nullAuth, host).auth().open()
		data := r.capture()
		host.last().Capacity = 3
		host.last().Push(ethernet(60, 1), ethernet(70, 2), ethernet(80, 3), ethernet(90, 4), ethernet(90, 5))
		if got := readPackets(t, data, 3); got[2].Number != 3 {
			t.Errorf("%+v", got)
		}
		synctest.Wait()
		r.send(statsReq)
		r.expect("0089 0000 00000010 00000005 00000000 00000002 00000003")
		r.end()
	})
	in(t, "C088 CLOSE", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		r.send(closeMsg)
		r.expectEOF()
		if _, err := data.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("data: %v", err)
		}
		if reason := r.wait(); reason != session.ReasonClosed {
			t.Error(reason)
		}
		r.host.closeCheck(t)
	})
	in(t, "C089 the control connection goes", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		r.conn.Close()
		if _, err := data.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("data: %v", err)
		}
		r.wait()
		r.host.closeCheck(t)
	})
	in(t, "another OPEN does not touch the capture", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		r.message(&rpcap.OpenRequest{Device: "lo"})
		r.expect(openReply)
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		r.send(endCap)
		r.expect(endReply)
		r.capture().Close()
		if got := r.host.last().name.Name; got != "lo" {
			t.Errorf("the next capture is on %s", got)
		}
		r.end()
	})
}
