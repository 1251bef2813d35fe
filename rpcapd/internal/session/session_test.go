package session_test

import (
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/session"
)

// in runs f in a bubble of virtual time.
func in(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestAuthentication(t *testing.T) {
	in(t, "C002 null refused, connection stays", func(t *testing.T) {
		r := start(t, session.Config{}, newHost())
		r.send(authNull)
		r.expectError(18, "Authentication failed; NULL authentication not permitted.")
		r.send(authNull)
		r.expectError(18, "Authentication failed; NULL authentication not permitted.")
		r.end()
	})
	in(t, "C020 wrong password waits", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 08 0000 00000011 0001 0000 0003 0006 626f62 736563726574")
		r.expectError(18, "Authentication failed")
		before := time.Now()
		r.auth()
		if waited := time.Since(before); waited < time.Second {
			t.Errorf("the next answer came after %v", waited)
		}
		r.end()
	})
	in(t, "a name of any length is a short line in the log", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.message(&rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: strings.Repeat("u", 60_000), Password: []byte("b")})
		r.expectError(18, "Authentication failed")
		r.end()
		for line := range strings.Lines(r.log.String()) {
			if len(line) > 1000 {
				t.Errorf("a line of %d bytes: %.80s", len(line), line)
			}
		}
	})
	in(t, "refused logins don't fill the disk", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit")
		record, err := audit.Open(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer record.Close()
		r := start(t, session.Config{MaxAuthAttempts: 1000, Audit: record}, newHost())
		refuse := func(n int) {
			for range n {
				r.send(authNull)
				r.expectError(18, "Authentication failed; NULL authentication not permitted.")
			}
		}
		refuse(500)
		time.Sleep(time.Second)
		refuse(1)
		r.end()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, lines := range map[string][]string{
			"log":    slices.Collect(strings.Lines(strings.Split(r.log.String(), "session ended")[0])),
			"record": slices.Collect(strings.Lines(string(text))),
		} {
			if n := strings.Count(strings.Join(lines, ""), "login"); n != 201 || !strings.Contains(lines[200], "omitted") || !strings.Contains(lines[200], "300") {
				t.Errorf("%d lines in the %s, the last is %s", n, name, lines[200])
			}
		}
	})
	in(t, "C034 attempts are limited", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		for range 5 {
			r.message(&rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: "a", Password: []byte("b")})
			r.expectError(18, "Authentication failed")
		}
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonLogin {
			t.Error(reason)
		}
	})
	in(t, "C023 unknown type of authentication", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 08 0000 00000008 0007 0000 0000 0000")
		r.expectError(20, "Authentication type not recognized.")
		r.auth().end()
	})
	in(t, "C024 short, then in sync", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 08 0000 00000004 0000 0000")
		r.expectError(3, "Message payload is too short")
		r.auth().end()
	})
	in(t, "C025 user name beyond the body", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 08 0000 00000014 0001 0000 0064 0000" + strings.Repeat("61", 12)) // user of 100 bytes, 12 there
		r.expectError(3, "Message payload is too short")
		r.auth().end()
	})
	in(t, "C026 surplus", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 08 0000 00000010 0000 0000 0000 0000 ffffffff ffffffff")
		r.expect(authReply)
		r.inSync()
		r.end()
	})
}

func TestTimeouts(t *testing.T) {
	const expired = "The RPCAP initial timeout has expired"
	in(t, "C010 silent client", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		before := time.Now()
		r.expectError(2, expired)
		if d := time.Since(before); d != 90*time.Second {
			t.Errorf("after %v", d)
		}
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonTimeout {
			t.Error(reason)
		}
	})
	in(t, "the initial timeout runs from the start", func(t *testing.T) {
		r := start(t, session.Config{}, newHost())
		before := time.Now()
		time.Sleep(60 * time.Second)
		r.send(authNull)
		r.receive()
		r.expectError(2, expired)
		if d := time.Since(before); d != 90*time.Second {
			t.Errorf("after %v", d)
		}
		r.wait()
	})
	in(t, "C012 stalled header", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 08 00")
		r.expectEOF()
		r.wait()
	})
	in(t, "C013 header cut off", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 08 00")
		r.conn.Close()
		r.wait()
		if !strings.Contains(r.log.String(), "Read from client failed: The other host terminated the connection.") {
			t.Error(r.log.String())
		}
	})
	in(t, "C096 idle after authentication", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		before := time.Now()
		r.expectError(2, expired)
		if d := time.Since(before); d != 180*time.Second {
			t.Errorf("after %v", d)
		}
		r.expectEOF()
		r.wait()
	})
	in(t, "C097 idle while capturing", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		defer data.Close()
		time.Sleep(time.Hour)
		r.inSync()
		r.end()
	})
	in(t, "idle after the data connection was lost", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		data.Close()
		time.Sleep(time.Hour)
		r.host.last().Push(ethernet(60, 1))
		before := time.Now()
		r.expectError(2, expired)
		if d := time.Since(before); d < 180*time.Second || d > 182*time.Second {
			t.Errorf("after %v", d)
		}
		r.expectEOF()
		r.wait()
	})
}

func TestOversizedBodyClosesAtOnce(t *testing.T) {
	in(t, "C095 body of 4 GiB", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		before := time.Now()
		r.send("00 02 0000 ffffffff")
		r.expectEOF()
		if time.Since(before) > time.Second {
			t.Error("drained")
		}
		r.wait()
	})
	in(t, "smaller limit before authentication", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("00 04 0000 00010001")
		r.expectEOF()
		r.wait()
	})
}

func TestTLSClientIsRefusedByAlert(t *testing.T) {
	for name, version := range map[string]string{"C005 record version 3.1": "0301", "C006 record version 3.3": "0303"} {
		in(t, name, func(t *testing.T) {
			r := start(t, nullAuth, newHost())
			r.send("16" + version + "0010" + strings.Repeat("00", 16))
			got, err := io.ReadAll(r.conn)
			if want := "15" + version + "00020228"; hex.EncodeToString(got) != want || err != nil {
				t.Errorf("got %x, %v, want %s", got, err, want)
			}
			if reason := r.wait(); reason != session.ReasonTLS {
				t.Error(reason)
			}
		})
	}
	in(t, "a first byte only", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		r.send("16")
		r.expectEOF()
		r.wait()
	})
}

func TestErrorsOfTheClientAreLoggedSparingly(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		for range 100 {
			r.message(&rpcap.Error{Code: 11, Text: "no thanks"})
		}
		r.inSync()
		r.end()
		if n := strings.Count(r.log.String(), "Error from client: no thanks"); n != 1 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestListing(t *testing.T) {
	in(t, "C040 no interface", func(t *testing.T) {
		h := newHost()
		h.interfaces = nil
		r := start(t, nullAuth, h).auth()
		r.send(listReq)
		r.expectError(5, "No interfaces found! Make sure libpcap/WinPcap is properly installed and you have the right to access to the remote device.")
		r.end()
	})
	in(t, "C041 junk in the request", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		r.send("00 02 0000 0000000a 00112233445566778899")
		if got := r.receive(); got[1] != 0x82 {
			t.Errorf("% x", got)
		}
		r.inSync()
		r.end()
	})
	in(t, "C039 more than 64,000 bytes", func(t *testing.T) {
		h := newHost()
		h.interfaces = nil
		for range 40 {
			h.interfaces = append(h.interfaces, rpcap.Interface{Name: "eth0", Addresses: make([]rpcap.InterfaceAddress, 4)})
		}
		r := start(t, nullAuth, h).auth()
		r.send(listReq)
		if got := r.receive(); len(got) != 8+40*(12+4+4*512) {
			t.Errorf("%d bytes", len(got))
		}
		r.end()
	})
}

func parseError(t *testing.T, device string) string {
	_, err := rpcap.ParseDevice(device)
	if err == nil {
		t.Fatalf("%q is a device", device)
	}
	return err.Error()
}

func TestOpen(t *testing.T) {
	for name, tc := range map[string]struct{ device, reply string }{
		"C043 lo":  {"lo", openReply},
		"C044 any": {"any", "0083 0000 00000008 00000071 00000000"},
		"tunnel":   {"tun0", "0083 0000 00000008 0000000c 00000000"},
	} {
		in(t, name, func(t *testing.T) {
			r := start(t, nullAuth, newHost()).auth()
			r.message(&rpcap.OpenRequest{Device: tc.device})
			r.expect(tc.reply)
			r.end()
		})
	}
	for name, tc := range map[string]struct{ device, text string }{
		"C045 unknown device":      {"nosuch0", "nosuch0: No such device exists (No such device exists)"},
		"C046 URL":                 {"rpcap://h/eth0", "Source string refers to a remote device"},
		"file URL":                 {"file:///etc/passwd", "Source string refers to a remote device"},
		"URL behind a name":        {"eth0?x=rpcap://h/eth0", "Source string refers to a remote device"},
		"C047 too long":            {strings.Repeat("x", 1025), "Source string too long"},
		"empty":                    {"", ": No such device exists (No such device exists)"},
		"C051 NUL in the name":     {"lo\x00x", parseError(t, "lo\x00x")},
		"unknown device parameter": {"eth0?colour=red", parseError(t, "eth0?colour=red")},
	} {
		in(t, name, func(t *testing.T) {
			r := start(t, nullAuth, newHost()).auth()
			r.message(&rpcap.OpenRequest{Device: tc.device})
			r.expectError(6, tc.text)
			r.inSync()
			r.end()
		})
	}
	in(t, "C048 a failed OPEN leaves nothing opened", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		for _, device := range []string{"nosuch0", strings.Repeat("x", 1025)} {
			r.message(&rpcap.OpenRequest{Device: device})
			r.receive()
			r.send(startAll)
			r.expectError(12, "No capture device was specified")
		}
		r.inSync()
		r.end()
	})
	in(t, "C050 STARTCAP without OPEN", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		r.send(startAll)
		r.expectError(12, "No capture device was specified")
		r.inSync()
		r.end()
	})
	in(t, "C049 the last one that succeeded counts", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		for _, name := range []string{"lo", "eth0?dir=in", "nosuch0"} {
			r.message(&rpcap.OpenRequest{Device: name})
			r.receive()
		}
		data := r.capture()
		defer data.Close()
		if got := r.host.last().name.String(); got != "eth0?dir=in" {
			t.Errorf("captures on %s", got)
		}
		r.end()
		r.host.closeCheck(t)
	})
}

func TestStartCapRefusals(t *testing.T) {
	const fixed = "00040000 00000005 0001 0000"
	start12 := func(bodyLen, body string) string { return "00 04 0000 " + bodyLen + body }
	for _, tc := range []struct{ name, request, text string }{
		{"C057 short", start12("00000008", "00040000 00000005"), "Message payload is too short"},
		{"C060 filter type", start12("0000001c", fixed+"0002 0000 00000001 0006 00 00 00040000"), "Only BPF/NPF filters are currently supported"},
		{"C061 filter length", start12("0001001c", fixed+"0001 0000 00002001"+strings.Repeat("0006000000000001", 8193)), "Filter program is larger than the maximum size of 8192 instructions"},
		{"instructions missing", start12("00000014", fixed+"0001 0000 00000002"), "Message payload is too short"},
		{"C062 no instruction", start12("00000014", fixed+"0001 0000 00000000"), "The filter contains invalid instructions"},
		{"C063 last is not RET", start12("0000001c", fixed+"0001 0000 00000001 0000 00 00 00000001"), "The filter contains invalid instructions"},
		{"jump beyond the end", start12("00000024", fixed+"0001 0000 00000002 0015 01 00 00000000 0006 00 00 00000001"), "The filter contains invalid instructions"},
		{"scratch word 16", start12("00000024", fixed+"0001 0000 00000002 0060 00 00 00000010 0006 00 00 00000001"), "The filter contains invalid instructions"},
		{"division by 0", start12("00000024", fixed+"0001 0000 00000002 0034 00 00 00000000 0006 00 00 00000001"), "The filter contains invalid instructions"},
		{"opcode 255", start12("00000024", fixed+"0001 0000 00000002 00ff 00 00 00000000 0006 00 00 00000001"), "The filter contains invalid instructions"},
		{"C064 backward jump", start12("00000024", fixed+"0001 0000 00000002 0005 00 00 ffffffff 0006 00 00 00000001"), "The filter contains invalid instructions"},
	} {
		in(t, tc.name, func(t *testing.T) {
			r := start(t, nullAuth, newHost()).auth().open()
			r.send(tc.request)
			r.expectError(12, tc.text)
			r.inSync()
			r.capture().Close()
			r.end()
			r.host.closeCheck(t)
		})
	}
	in(t, "C074 device, then a good one", func(t *testing.T) {
		h := newHost()
		h.openError = &device.Error{Device: "eth0", Status: "That device is not up", Err: unix.ENETDOWN}
		r := start(t, nullAuth, h).auth().open()
		r.send(startAll)
		r.expectError(12, "eth0: That device is not up")
		h.openError = nil
		r.capture().Close()
		r.end()
	})
}

func TestStartCapOptions(t *testing.T) {
	for _, tc := range []struct {
		name, fixed string
		want        device.Options
	}{
		{"C067 as asked", "00000060 00000032 0001", device.Options{SnapLen: 96, BlockTimeout: 50 * time.Millisecond, Promiscuous: true}},
		{"C068 zeros", "00000000 00000000 0000", device.Options{SnapLen: 262144, BlockTimeout: 10 * time.Millisecond}},
		{"too large", "ffffffff ffffffff 0000", device.Options{SnapLen: 262144, BlockTimeout: time.Second}},
	} {
		in(t, tc.name, func(t *testing.T) {
			r := start(t, nullAuth, newHost()).auth().open()
			r.send("00 04 0000 00000020" + tc.fixed + "0000" + retAll + "deadbeef") // and four bytes too many
			r.expect(started)
			r.data.connect(t).Close()
			if diff := cmp.Diff(tc.want, r.host.last().options); diff != "" {
				t.Error(diff)
			}
			r.inSync()
			r.end()
		})
	}
}

// libpcap's client doesn't count the only instruction of an absent filter.
func TestUncountedFilter(t *testing.T) {
	const head = "00 04 0000 00000014 00040000 00000005 0001 0000 0001 0000 00000001"
	in(t, "C058 instruction follows", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(head + "0006 0000 00040000")
		r.expect(started)
		r.data.connect(t).Close()
		r.inSync()
		r.end()
	})
	in(t, "instruction follows later", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(head)
		time.Sleep(100 * time.Millisecond)
		r.send("0006 0000 00040000")
		r.expect(started)
		r.data.connect(t).Close()
		r.end()
	})
	in(t, "C059 CLOSE follows", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(head)
		go r.send(closeMsg)
		r.expectError(12, "Message payload is too short")
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonClosed {
			t.Error(reason)
		}
	})
	in(t, "nothing follows", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		before := time.Now()
		r.send(head)
		r.expectError(12, "Message payload is too short")
		if d := time.Since(before); d != 250*time.Millisecond {
			t.Errorf("after %v", d)
		}
		r.inSync()
		r.end()
	})
}

func TestCapture(t *testing.T) {
	in(t, "C083 statistics before any capture", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		r.send(statsReq)
		r.expect("0089 0000 00000010" + strings.Repeat("00", 16))
		r.end()
	})
	in(t, "C073 a second STARTCAP is refused", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		r.send(startAll)
		r.expectError(12, "A capture is already running")
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		if len(r.host.opened) != 1 {
			t.Errorf("%d devices are open", len(r.host.opened))
		}
		r.end()
	})
	in(t, "C086 ENDCAP without a capture", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(endCap)
		r.expectError(13, "Device not opened. Cannot close the capture")
		r.inSync()
		r.end()
	})
	in(t, "C084 statistics after ENDCAP", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		go io.Copy(io.Discard, data) // ended by the session
		r.host.last().Push(ethernet(60, 1), ethernet(60, 1))
		r.send(endCap)
		r.expect(endReply)
		r.send(statsReq)
		r.expect("0089 0000 00000010 00000002 00000000 00000000 00000002")
		r.end()
	})
	in(t, "C085 ENDCAP, then a capture without OPEN", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		r.host.last().Push(ethernet(60, 1), ethernet(70, 2), ethernet(80, 3))
		got := readPackets(t, data, 3)
		if got[2].Number != 3 || got[2].CapLen != 80 {
			t.Errorf("%+v", got)
		}
		r.send(endCap)
		if n, err := data.Read(make([]byte, 1)); err != io.EOF { // the data connection goes first
			t.Errorf("data: %d bytes, %v", n, err)
		}
		r.expect(endReply)
		data = r.capture()
		synctest.Wait()
		r.host.last().Push(ethernet(60, 1))
		if got := readPackets(t, data, 1); got[0].Number != 1 {
			t.Errorf("the second capture starts with packet %d", got[0].Number)
		}
		data.Close()
		r.end()
		r.host.closeCheck(t)
		if s := r.session.Stats(); s.Sent != 4 || s.Seen != 4 {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(r.log.String(), "frames=4") {
			t.Error(r.log.String())
		}
	})
}

// STARTCAP_REPLY says that the capture runs: what comes between it and the data
// connection is delivered.
func TestCaptureRunsFromTheReplyOn(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(startAll)
		r.expect(started)
		r.host.last().Push(ethernet(60, 1), ethernet(70, 2))
		data := r.data.connect(t)
		_ = data.SetReadDeadline(time.Now().Add(time.Second))
		if got := readPackets(t, data, 2); got[1].CapLen != 70 {
			t.Errorf("%+v", got)
		}
		data.Close()
		r.end()
	})
}

func TestUpdateFilter(t *testing.T) {
	const invalid = "00 05 0000 00000010 0001 0000 00000001 0000 00 00 00000001" // ends in a load
	in(t, "C081 without a capture", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send("00 05 0000 00000010" + retAll)
		r.expectError(7, "Device not opened. Cannot update filter")
		r.inSync()
		r.end()
	})
	in(t, "C080 an invalid one leaves the old in force", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		r.send(invalid)
		r.expectError(7, "The filter contains invalid instructions")
		r.inSync()
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		r.end()
	})
	in(t, "C079 traffic changes accordingly", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		r.send("00 05 0000 00000010 0001 0000 00000001 0006 00 00 00000000")
		r.expect("00 85 0000 00000000")
		r.host.last().Push(ethernet(60, 1))
		r.send("00 05 0000 00000014" + retAll + "00000000") // and four bytes too many
		r.expect("00 85 0000 00000000")
		r.host.last().Push(ethernet(61, 1))
		if got := readPackets(t, data, 1); got[0].CapLen != 61 || got[0].Number != 1 {
			t.Errorf("%+v", got)
		}
		r.end()
	})
}

func TestLostDataConnection(t *testing.T) {
	in(t, "C090 STATS and ENDCAP are still answered", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		data.Close()
		r.host.last().Push(ethernet(60, 1))
		time.Sleep(time.Second)
		r.send(statsReq)
		r.expect("0089 0000 00000010 00000002 00000000 00000000 00000001")
		r.send(endCap)
		r.expect(endReply)
		r.send(statsReq)
		r.expect("0089 0000 00000010 00000002 00000000 00000000 00000001")
		r.capture().Close()
		r.end()
		r.host.closeCheck(t)
	})
}

func TestClientThatDoesNotRead(t *testing.T) {
	in(t, "C087 ENDCAP does not wait for it", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		defer data.Close()
		synctest.Wait()
		r.host.last().Push(ethernet(60, 1))
		before := time.Now()
		r.send(endCap)
		r.expect(endReply)
		if d := time.Since(before); d > 1200*time.Millisecond {
			t.Errorf("ENDCAP took %v", d)
		}
		if s := r.session.Stats(); s.Undelivered != 1 || s.Matched != 1 {
			t.Errorf("%+v", s)
		}
		r.end()
	})
}

func TestDataConnectionNeverComes(t *testing.T) {
	in(t, "C071 timeout", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		before := time.Now()
		r.send(startAll)
		r.expect(started)
		r.expectError(12, "The client did not open the data connection in time")
		if d := time.Since(before); d != 30*time.Second {
			t.Errorf("after %v", d)
		}
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonData {
			t.Error(reason)
		}
		r.host.closeCheck(t)
	})
	in(t, "client hangs up", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(startAll)
		r.expect(started)
		before := time.Now()
		r.end()
		if d := time.Since(before); d > time.Second {
			t.Errorf("noticed after %v", d)
		}
		r.host.closeCheck(t)
	})
	in(t, "requests sent ahead are answered after it", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		r.send(startAll)
		r.expect(started)
		r.send(listReq)
		r.send(statsReq)
		time.Sleep(time.Second)
		data := r.data.connect(t)
		defer data.Close()
		if got := r.receive(); got[1] != 0x82 {
			t.Errorf("% x", got)
		}
		if got := r.receive(); got[1] != 0x89 {
			t.Errorf("% x", got)
		}
		r.end()
	})
}

func TestDeviceVanishes(t *testing.T) {
	in(t, "C091 ERROR 9 and the end", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		r.host.last().Fail(&afpacket.InterfaceGoneError{Err: unix.ENETDOWN})
		r.expectError(9, "Error reading the packets: The interface disappeared")
		r.expectEOF()
		if _, err := data.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("data: %v", err)
		}
		if reason := r.wait(); reason != session.ReasonDevice {
			t.Error(reason)
		}
		r.host.closeCheck(t)
	})
}

func TestShutdownDeliversWhatTheRingHolds(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		synctest.Wait()
		r.host.last().Push(ethernet(60, 1), ethernet(60, 2))
		r.cancel()
		readPackets(t, data, 2)
		r.expectEOF()
		if reason := r.wait(); reason != session.ReasonShutdown {
			t.Error(reason)
		}
	})
	for _, state := range []string{"auth", "idle", "opened"} {
		in(t, state, func(t *testing.T) {
			r := reach(t, state)
			r.cancel()
			r.expectEOF()
			if reason := r.wait(); reason != session.ReasonShutdown {
				t.Error(reason)
			}
		})
	}
	in(t, "while waiting for the data connection", func(t *testing.T) {
		r := reach(t, "opened")
		r.send(startAll)
		r.expect(started)
		r.cancel()
		r.expectEOF()
		r.wait()
		r.host.closeCheck(t)
	})
}

// recordingSelf counts own endpoints.
type recordingSelf struct{ added, released int }

func (f *recordingSelf) Add(netip.AddrPort) error { f.added++; return nil }
func (f *recordingSelf) Release(netip.AddrPort)   { f.released++ }

func TestCase072StrangersAtTheDataPort(t *testing.T) {
	d := &session.TCPData{Local: netip.MustParseAddr("127.0.0.1"), Peer: netip.MustParseAddr("127.0.0.2"), Self: &recordingSelf{}}
	refused := 0
	l, err := d.ListenData(t.Context(), 10*time.Second, func() { refused++ })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func(from string) net.Conn {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := dialer.Dial("tcp", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(l.Port())}).String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	stranger, right := dial("127.0.0.1"), dial("127.0.0.2")
	defer stranger.Close()
	defer right.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().String(); got != right.LocalAddr().String() || refused != 1 {
		t.Errorf("accepted %s, %d refused", got, refused)
	}
	if _, err := stranger.Read(make([]byte, 1)); err == nil {
		t.Error("the stranger is still connected")
	}
	if conn.LocalAddr().(*net.TCPAddr).IP.String() != "127.0.0.1" {
		t.Error("listens beyond the control connection's address")
	}
}

func TestTCPDataListenerGivesUp(t *testing.T) {
	self := &recordingSelf{}
	d := &session.TCPData{Local: netip.MustParseAddr("127.0.0.1"), Peer: netip.MustParseAddr("127.0.0.1"), Self: self}
	l, err := d.ListenData(t.Context(), -time.Second, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	l.Close()
	l.Close()
	l.Release()
	if self.added != 1 || self.released != 1 {
		t.Errorf("own endpoints: %d added, %d released", self.added, self.released)
	}
}
