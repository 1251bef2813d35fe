package session_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/pump/pumptest"
	"capstan/rpcapd/internal/session"
)

// quick are timeouts for a client that says all it has to say at once.
var quick = session.Timeouts{
	Initial: time.Second, Idle: time.Second, Message: time.Second, Write: time.Second,
	DataAccept: 20 * time.Millisecond, AuthPause: time.Millisecond, Uncounted: time.Millisecond, CloseLinger: time.Millisecond,
}

// FuzzControl plays any bytes to a session. It must end, leave nothing open,
// and say nothing but whole messages that only servers send.
func FuzzControl(f *testing.F) {
	for _, seed := range []string{
		authNull, authNull + listReq + closeMsg, authNull + openEth0 + startAll + statsReq + endCap,
		authNull + openEth0 + "00 04 0000 00000014 00040000 00000005 0001 0000 0001 0000 00000001 0006 0000 00040000" + endCap,
		"16 0301 0004 00000000", "00 08 0000 00000011 0001 0000 0003 0006 626f62 736563726574" + authNull,
		authNull + "00 02 0000 ffffffff", authNull + "000b 0000 00000008 01000000 0000000a" + "00 01 0004 00000002 6869",
		"01 08 0000 00000008 0000 0000 0000 0000", authNull + "00 6e 0000 00000001 00",
		authNull + openEth0 + "00 04 0000 0000001c 00040000 00000005 0004 1092" + retAll + endCap,
		authNull + openEth0 + "00 04 0000 0000001c 00040000 00000005 0002 1092" + retAll + closeMsg,
	} {
		b, err := hex.DecodeString(strings.Join(strings.Fields(seed), ""))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		host := newHost()
		server, client := net.Pipe()
		r := startOn(t, session.Config{NullAuth: true, Timeouts: quick}, host, server, client, instantData{})
		output := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(client)
			output <- b
		}()
		_ = client.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if _, err := client.Write(input); os.IsTimeout(err) {
			t.Fatal("the session doesn't read")
		}
		client.Close()
		select {
		case <-r.done:
		case <-time.After(20 * time.Second):
			t.Fatal("the session does not end")
		}
		checkOutput(t, <-output)
		host.closeCheck(t)
	})
}

// checkOutput checks that b is a sequence of messages, the last of which may
// have been cut off by our hanging up, or a TLS alert.
func checkOutput(t testing.TB, b []byte) {
	t.Helper()
	if len(b) == 7 && b[0] == 0x15 {
		return
	}
	r := rpcap.NewReader(bytes.NewReader(b), nil)
	for {
		h, _, err := r.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return
		}
		if err != nil {
			t.Fatalf("output: %v", err)
		}
		if h.Type != rpcap.TypeError && h.Type&rpcap.TypeReply == 0 || !h.Type.Known() {
			t.Fatalf("the session sent %v", h)
		}
	}
}

// instantData connects data connections by itself and reads nothing.
type instantData struct{}

func (instantData) ListenData(context.Context, time.Duration, func()) (session.DataListener, error) {
	return instantListener{}, nil
}

func (instantData) DialData(_ context.Context, network string, _ uint16) (*session.DialedData, error) {
	server, client := net.Pipe()
	go io.Copy(io.Discard, client) // ended by the pump
	data := &session.DialedData{Conn: server, Release: func() {}}
	if network == "udp" {
		data.Conn, data.MaxDatagram = pumptest.Datagrams{Conn: server}, 100
	}
	return data, nil
}

type instantListener struct{}

func (instantListener) Port() uint16 { return 1 }
func (instantListener) Accept() (net.Conn, error) {
	server, client := net.Pipe()
	go io.Copy(io.Discard, client) // ended by the pump
	return server, nil
}
func (instantListener) Close()   {}
func (instantListener) Release() {}
