package session_test

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"capstan/pkg/certtest"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/session"
)

// secureRig is a session of a TLS port.
type secureRig struct {
	*rig
	client *tls.Config
	wire   net.Conn // below TLS
}

// startTLS begins a session; the handshake is the caller's.
func startTLS(t *testing.T, change func(server, client *tls.Config)) *secureRig {
	t.Helper()
	authority := certtest.New(t, "authority")
	server := &tls.Config{Certificates: []tls.Certificate{authority.Pair(t, "server")}, DynamicRecordSizingDisabled: true}
	client := &tls.Config{RootCAs: authority.Pool(), ServerName: "server"}
	if change != nil {
		server.ClientCAs = authority.Pool()
		change(server, client)
	}
	r := start(t, session.Config{NullAuth: true, TLS: server}, newHost())
	return &secureRig{rig: r, client: client, wire: r.conn}
}

// secure makes TLS of the client's end.
func (r *secureRig) secure() *secureRig {
	r.t.Helper()
	conn := tls.Client(r.wire, r.client)
	if err := conn.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	r.conn, r.reader = conn, rpcap.NewReader(conn, nil)
	return r
}

// With -S, the session of case 1 runs inside TLS, and so does the data (case 78).
func TestCase008TLSSession(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		in(t, tls.VersionName(version), func(t *testing.T) {
			r := startTLS(t, func(_, client *tls.Config) { client.MinVersion, client.MaxVersion = version, version }).secure()
			r.auth().open()
			data := tls.Client(r.capture(), r.client)
			if err := data.Handshake(); err != nil {
				t.Fatal(err)
			}
			r.host.last().Push(ethernet(60, 1), ethernet(61, 2))
			if h := readPackets(t, data, 2); h[1].Len != 61 {
				t.Errorf("%+v", h)
			}
			r.inSync()
			r.send(endCap)
			if _, err := data.Read(make([]byte, 1)); err != io.EOF { // that is close_notify
				t.Errorf("the data connection ends with %v", err)
			}
			r.expect(endReply)
			r.send(closeMsg)
			r.expectEOF()
			if reason := r.wait(); reason != session.ReasonClosed {
				t.Error(reason)
			}
		})
	}
}

// A daemon in active mode has dialled both connections, and is the TLS server on
// both.
func TestActiveModeTLS(t *testing.T) {
	in(t, "C078 in active mode", func(t *testing.T) {
		authority := certtest.New(t, "authority")
		server := &tls.Config{Certificates: []tls.Certificate{authority.Pair(t, "server")}}
		plain := start(t, session.Config{NullAuth: true, Active: true, TLS: server}, newHost())
		r := (&secureRig{rig: plain, wire: plain.conn, client: &tls.Config{RootCAs: authority.Pool(), ServerName: "server"}}).secure()
		r.auth().open()
		r.message(&rpcap.StartCapRequest{DataPort: pipePort, Filter: []rpcap.Instruction{{Op: 6, K: 262144}}})
		r.expect("00 84 0000 00000008 00040000 0000 0000")
		data := tls.Client(r.data.dialed, r.client)
		if err := data.Handshake(); err != nil {
			t.Fatal(err)
		}
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		r.inSync()
		r.end()
	})
}

// Two requests in one TLS record are both answered at once.
func TestCase014TwoRequestsInOneRecord(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		before := time.Now()
		go r.send(authNull + listReq) // one write, one record; net.Pipe needs a reader meanwhile
		r.expect(authReply)
		if got := r.receive(); got[1] != byte(rpcap.TypeFindAllIfReply) {
			t.Errorf("% x", got)
		}
		if d := time.Since(before); d > time.Second {
			t.Errorf("took %v", d)
		}
		r.end()
	})
}

// Requests cut anywhere, and readers woken in between, don't disturb TLS.
func TestTLSReadsGoOnAfterTimeouts(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		r.auth().open()
		data := tls.Client(r.capture(), r.client) // the session is woken for the data connection
		if err := data.Handshake(); err != nil {
			t.Fatal(err)
		}
		request := strings.ReplaceAll(listReq, " ", "")
		for i := 2; i < len(request); i += 2 {
			r.send(request[:i])
			time.Sleep(time.Second)
			r.send(request[i:])
			if got := r.receive(); got[1] != byte(rpcap.TypeFindAllIfReply) {
				t.Fatalf("%d: % x", i, got)
			}
		}
		data.Close()
		r.end()
	})
}

// A plain client of a TLS port is told so in plain.
func TestCase007PlainClientOnTLSPort(t *testing.T) {
	in(t, "whole message", func(t *testing.T) {
		r := startTLS(t, nil)
		r.send("03" + authNull[2:])
		r.expectVersionError(3, rpcap.CodeTLSRequired, "TLS is required by this server")
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonPlain || r.counters.UnwantedPlain.Load() != 1 {
			t.Error(reason)
		}
	})
	in(t, "half a header", func(t *testing.T) {
		r := startTLS(t, nil)
		r.send("00 08 00")
		r.expectEOF()
		r.wait()
	})
}

// A client that begins a record and stops.
func TestCase009TLSHandshakeHasADeadline(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := startTLS(t, nil)
		before := time.Now()
		r.send("16 03")
		r.expectEOF()
		if d := time.Since(before); d > 31*time.Second {
			t.Errorf("after %v", d)
		}
		if reason := r.wait(); reason != session.ReasonHandshake || r.counters.TLSFailures.Load() != 1 {
			t.Error(reason)
		}
		if !strings.Contains(r.log.String(), "TLS handshake on control connection failed: ") {
			t.Error(r.log.String())
		}
	})
	in(t, "never longer than the initial timeout", func(t *testing.T) {
		r := startTLS(t, nil)
		before := time.Now()
		time.Sleep(80 * time.Second)
		r.send("16 03")
		r.expectEOF()
		if d := time.Since(before); d != 90*time.Second {
			t.Errorf("after %v", d)
		}
		r.wait()
	})
}

func TestShutdownDuringHandshake(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := startTLS(t, nil)
		r.send("16 03")
		synctest.Wait()
		r.cancel()
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonShutdown {
			t.Error(reason)
		}
	})
}

// UDP under TLS is refused with a text, never what memory holds.
func TestCase056NoUDPUnderTLS(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		r.auth().open()
		r.message(&rpcap.StartCapRequest{Flags: rpcap.StartCapDatagram, DataPort: 9, Filter: []rpcap.Instruction{{Op: 6, K: 1}}})
		r.expectError(12, "SSL not supported with UDP forward of remote packets")
		r.inSync()
		r.end()
	})
}

// The data connection speaks TLS, the server has the server's part, and the
// client must be the one that logged in.
func TestCase078DataConnectionNeedsTheSameCertificate(t *testing.T) {
	for name, takes := range map[string]bool{"first": true, "second": false, "none": false} {
		in(t, name, func(t *testing.T) {
			clients := certtest.New(t, "clients")
			pairs := map[string][]tls.Certificate{"first": {clients.Pair(t, "first")}, "second": {clients.Pair(t, "second")}}
			r := startTLS(t, func(server, client *tls.Config) {
				server.ClientCAs, server.ClientAuth = clients.Pool(), tls.VerifyClientCertIfGiven
				client.Certificates = pairs["first"]
			}).secure()
			r.auth().open()
			cfg := r.client.Clone()
			cfg.Certificates = pairs[name]
			conn := tls.Client(r.capture(), cfg)
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			if takes {
				r.host.last().Push(ethernet(60, 1))
				readPackets(t, conn, 1)
				r.inSync()
				r.end()
				return
			}
			r.expectError(12, "TLS handshake on data connection failed")
			r.expectEOF()
			if reason := r.wait(); reason != session.ReasonData {
				t.Error(reason)
			}
		})
	}
}

func TestDataHandshakeFails(t *testing.T) {
	in(t, "plain client", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		r.auth().open()
		data := r.capture()
		go func() { _, _ = data.Write(make([]byte, 100)) }()
		go func() { _, _ = io.Copy(io.Discard, data) }() // the alert
		r.expectError(12, "TLS handshake on data connection failed")
		r.expectEOF()
		r.wait()
		if r.data.open != 0 || !r.host.last().Closed() {
			t.Error("something is left open")
		}
	})
	in(t, "silent client", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		r.auth().open()
		r.capture()
		before := time.Now()
		r.expectError(12, "TLS handshake on data connection failed")
		if d := time.Since(before); d != 30*time.Second {
			t.Errorf("after %v", d)
		}
		r.expectEOF()
		r.wait()
	})
	in(t, "client hangs up meanwhile", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		r.auth().open()
		r.capture()
		before := time.Now()
		r.wire.Close()
		if reason := r.wait(); reason != session.ReasonEOF || time.Since(before) > time.Second {
			t.Error(reason, time.Since(before))
		}
	})
}

// A client that doesn't read can't hold up the end of a TLS connection.
func TestEndCaptureUnderTLSWithStuckClient(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		r.auth().open()
		data := tls.Client(r.capture(), r.client)
		if err := data.Handshake(); err != nil {
			t.Fatal(err)
		}
		r.host.last().Push(ethernet(60, 1)) // net.Pipe holds nothing, so this write waits
		synctest.Wait()
		before := time.Now()
		r.send(endCap)
		r.expect(endReply)
		if d := time.Since(before); d > 3*time.Second {
			t.Errorf("took %v", d)
		}
		r.end()
	})
}

// One write of the pump leaves as full records of 16 KiB.
func TestDataRecordsAreLarge(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := startTLS(t, nil).secure()
		r.auth().open()
		counter := &countingConn{Conn: r.capture()}
		data := tls.Client(counter, r.client)
		if err := data.Handshake(); err != nil {
			t.Fatal(err)
		}
		counter.records, counter.bytes = 0, 0
		const frames, length = 1000, 1000
		for range frames {
			r.host.last().Push(ethernet(length, 1))
		}
		readPackets(t, data, frames)
		if least := frames * (length + rpcap.PacketOverhead); counter.bytes < least || counter.records > 2*least>>14 {
			t.Errorf("%d bytes in %d records", counter.bytes, counter.records)
		}
		data.Close()
		r.end()
	})
}

// countingConn counts the TLS records that are read through it.
type countingConn struct {
	net.Conn
	records, bytes, rest int
	header               []byte
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes += n
	for b := p[:n]; len(b) > 0; {
		if c.rest > 0 {
			skip := min(c.rest, len(b))
			c.rest, b = c.rest-skip, b[skip:]
			continue
		}
		take := min(5-len(c.header), len(b))
		c.header, b = append(c.header, b[:take]...), b[take:]
		if len(c.header) == 5 {
			c.rest, c.header = int(c.header[3])<<8|int(c.header[4]), nil
			c.records++
		}
	}
	return n, err
}

// FuzzTLSPort: whatever comes first on a TLS port, the session ends and answers
// nothing but TLS, the plain refusal or the timeout.
func FuzzTLSPort(f *testing.F) {
	f.Add([]byte{0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3})
	f.Add([]byte{0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x15, 3, 1, 0, 2, 2, 40})
	pair := certtest.New(f, "a").Pair(f, "server")
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, session.Config{NullAuth: true, TLS: &tls.Config{Certificates: []tls.Certificate{pair}}}, newHost())
			go func() { _, _ = r.conn.Write(input); _ = r.conn.SetWriteDeadline(time.Now()) }()
			answer, err := io.ReadAll(r.conn)
			if err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Fatal(err)
			}
			if len(answer) > 0 && answer[0] != 0x15 && answer[0] != 0x16 && answer[1] != byte(rpcap.TypeError) {
				t.Errorf("%s for %x", hex.EncodeToString(answer), input)
			}
			r.conn.Close()
			r.wait()
		})
	})
}

// A write of the pump, which is thousands of frames, allocates less than once for
// each of its TLS records, the peer's reading of them included.
func TestTLSWritesHardlyAllocate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	authority := certtest.New(t, "authority")
	go func() { // ended by the server's end closing
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(io.Discard, tls.Client(conn, &tls.Config{RootCAs: authority.Pool(), ServerName: "server"}))
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{authority.Pair(t, "server")}, DynamicRecordSizingDisabled: true})
	defer secured.Close()
	buf := make([]byte, 256<<10)
	if _, err := secured.Write(buf); err != nil {
		t.Fatal(err)
	}
	allocations := testing.AllocsPerRun(50, func() {
		if _, err := secured.Write(buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocations >= float64(len(buf)>>14) {
		t.Errorf("%v allocations per write of 256 KiB", allocations)
	}
}
