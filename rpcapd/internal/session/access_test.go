package session_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/policy"
	"capstan/rpcapd/internal/session"
)

// fakeAccess knows bob, whose password is secret.
type fakeAccess struct {
	rights    policy.Rights
	anonymous policy.Rights
	work      time.Duration // of a login
	refusal   auth.Refusal  // of whoever isn't bob; 0: wrong password
	clear     int           // passwords without TLS
	ended     bool          // a login's context ended
}

func (f *fakeAccess) Login(ctx context.Context, _ netip.Addr, user string, password []byte) (policy.Rights, error) {
	right := user == "bob" && string(password) == "secret"
	clear(password)
	select {
	case <-time.After(f.work):
	case <-ctx.Done():
		f.ended = true
		return policy.Rights{}, &auth.LoginError{Refusal: auth.RefusedBusy}
	}
	switch {
	case right:
		return f.rights, nil
	case f.refusal != 0:
		return policy.Rights{}, &auth.LoginError{Refusal: f.refusal}
	}
	return policy.Rights{}, &auth.LoginError{Refusal: auth.RefusedPassword}
}

func (f *fakeAccess) Anonymous() policy.Rights { return f.anonymous }

func (f *fakeAccess) ClearPassword(netip.Addr) { f.clear++ }

const loginBob = "00 08 0000 00000011 0001 0000 0003 0006 626f62 736563726574"

func TestLogin(t *testing.T) {
	in(t, "C022 right password", func(t *testing.T) {
		access := &fakeAccess{rights: policy.Everything()}
		r := start(t, session.Config{Access: access}, newHost())
		r.send(loginBob)
		r.expect(authReply)
		r.open().inSync()
		r.end()
		if access.clear != 1 || r.counters.Logins.Load() != 1 {
			t.Errorf("%d clear passwords told, %d logins", access.clear, r.counters.Logins.Load())
		}
	})
	// Whatever is wrong, the answer is the same, to the byte, and as late
	// (CVE-2019-15162).
	for refusal := auth.Refusal(1); refusal < auth.NumRefusals; refusal++ {
		in(t, "C021 CVE-2019-15162 "+refusal.String(), func(t *testing.T) {
			r := start(t, session.Config{Access: &fakeAccess{refusal: refusal}}, newHost())
			r.send("00 08 0000 00000011 0001 0000 0003 0006 65 7665 736563726574")
			r.expectError(18, "Authentication failed")
			before := time.Now()
			r.send(loginBob)
			r.expect(authReply)
			if waited := time.Since(before); waited != time.Second {
				t.Errorf("the next answer came after %v", waited)
			}
			if r.counters.FailedLogins[refusal].Load() != 1 {
				t.Error("not counted")
			}
			r.end()
		})
	}
	in(t, "requests sent while the password is verified", func(t *testing.T) {
		r := start(t, session.Config{Access: &fakeAccess{rights: policy.Everything(), work: time.Second}}, newHost())
		r.send(loginBob + listReq)
		r.expect(authReply)
		if got := r.receive(); got[1] != byte(rpcap.TypeFindAllIfReply) {
			t.Errorf("% x", got)
		}
		r.end()
	})
	in(t, "a client that hangs up ends the verification", func(t *testing.T) {
		access := &fakeAccess{work: time.Hour}
		r := start(t, session.Config{Access: access}, newHost())
		r.send(loginBob)
		synctest.Wait()
		r.conn.Close()
		before := time.Now()
		if reason := r.wait(); reason != session.ReasonEOF || time.Since(before) > time.Second || !access.ended {
			t.Error(reason)
		}
	})
	in(t, "no longer than the initial timeout", func(t *testing.T) {
		r := start(t, session.Config{Access: &fakeAccess{work: time.Hour}}, newHost())
		before := time.Now()
		r.send(loginBob)
		r.expectError(18, "Authentication failed")
		if d := time.Since(before); d != 90*time.Second {
			t.Errorf("after %v", d)
		}
		r.end()
	})
	in(t, "no password in the log", func(t *testing.T) {
		r := start(t, session.Config{Access: &fakeAccess{}}, newHost())
		for range 5 {
			r.message(&rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: "eve", Password: []byte("hunter2")})
			r.expectError(18, "Authentication failed")
		}
		r.expectEOF()
		r.wait()
		if strings.Contains(r.log.String(), "hunter2") || !strings.Contains(r.log.String(), "user=eve") {
			t.Error(r.log.String())
		}
	})
}

const denied = "You don't have permission to perform this capture on that device (Attempt to create packet socket failed - CAP_NET_RAW may be required)"

func TestRights(t *testing.T) {
	in(t, "none", func(t *testing.T) {
		r := start(t, session.Config{Access: &fakeAccess{}}, newHost())
		r.send(loginBob)
		r.expect(authReply)
		for _, device := range []string{"eth0", "nosuch0"} { // the same: whether there is one isn't told
			r.message(&rpcap.OpenRequest{Device: device})
			r.expectError(6, device+": "+denied)
		}
		r.send(startAll)
		r.expectError(12, "No capture device was specified")
		r.send(listReq)
		if got := r.receive(); got[1] != byte(rpcap.TypeError) || got[3] != 5 {
			t.Errorf("% x", got)
		}
		if r.counters.OpensDenied.Load() != 2 {
			t.Error("not counted")
		}
		r.end()
	})
	in(t, "devices", func(t *testing.T) {
		h := newHost()
		h.interfaces = append(h.interfaces, rpcap.Interface{Name: "vb"}, rpcap.Interface{Name: "lo"})
		r := start(t, session.Config{NullAuth: true, Access: &fakeAccess{anonymous: policy.Rights{Capture: true, Devices: []string{"eth*", "lo"}}}}, h).auth()
		r.message(&rpcap.OpenRequest{Device: "vb?dir=in"})
		r.expectError(6, "vb: "+denied)
		r.open()
		r.send(listReq)
		_, body, _ := r.reader.Next()
		var list rpcap.FindAllIfReply
		if err := rpcap.Decode(rpcap.Header{Type: rpcap.TypeFindAllIfReply, Value: 2, Len: uint32(len(body))}, body, &list); err != nil || len(list.Interfaces) != 2 || list.Interfaces[1].Name != "lo" {
			t.Errorf("%+v, %v", list, err)
		}
		r.end()
	})
	in(t, "snap length", func(t *testing.T) {
		r := start(t, session.Config{NullAuth: true, Access: &fakeAccess{anonymous: policy.Rights{Capture: true, SnapLen: 40}}}, newHost()).auth().open()
		data := r.capture()
		r.host.last().Push(ethernet(60, 1))
		if h := readPackets(t, data, 1)[0]; h.CapLen != 40 || h.Len != 60 || r.host.last().options.SnapLen != 40 {
			t.Errorf("%+v", h)
		}
		data.Close()
		r.end()
	})
	in(t, "trusted clients have all of them", func(t *testing.T) {
		r := start(t, session.Config{NullAuth: true, Trusted: true, Access: &fakeAccess{}}, newHost()).auth().open()
		r.end()
	})
}

// compileByte compiles "N", which accepts Ethernet frames of bytes N.
func compileByte(linkType capture.LinkType, _ int, expression string) ([]bpf.RawInstruction, error) {
	if linkType != capture.LinkTypeEthernet {
		return nil, errors.New("link type is not supported")
	}
	return []bpf.RawInstruction{{Op: 0x30, K: 20}, {Op: 0x15, K: uint32(expression[0] - '0'), Jf: 1}, {Op: 6, K: 1}, {Op: 6}}, nil
}

// The policy's filter holds for whatever filter the client sets, from the first
// frame on, and an OPEN meanwhile doesn't lift it.
func TestPolicyFilterCantBeEvaded(t *testing.T) {
	cfg := session.Config{NullAuth: true, CompileFilter: compileByte, Access: &fakeAccess{anonymous: policy.Rights{Capture: true, Filter: "1"}}}
	in(t, "", func(t *testing.T) {
		h := newHost()
		r := start(t, cfg, h).auth().open()
		data := r.capture()
		dev := h.last()
		dev.UserSpace = true // as where the kernel can't run the program
		frames := func(want ...uint32) {
			t.Helper()
			dev.Push(ethernet(61, 1), ethernet(62, 2), ethernet(63, 1))
			for i, p := range readPackets(t, data, len(want)) {
				if p.Len != want[i] || p.CapLen != p.Len {
					t.Errorf("%+v, want %d", p, want[i])
				}
			}
		}
		r.send("00 05 0000 00000010" + retAll)
		r.expect("00 85 0000 00000000")
		frames(61, 63)
		// Of a link type that the filter can't be compiled for.
		r.message(&rpcap.OpenRequest{Device: "tun0"})
		r.expectError(6, "tun0: "+denied)
		r.open()
		r.send("00 05 0000 00000010" + retAll)
		r.expect("00 85 0000 00000000")
		frames(61, 63)
		r.send("00 05 0000 00000010 0001 0000 00000001 0006 00 00 00000000")
		r.expect("00 85 0000 00000000")
		dev.Push(ethernet(61, 1))
		synctest.Wait()
		r.send("00 05 0000 00000010" + retAll)
		r.expect("00 85 0000 00000000")
		frames(61, 63)
		data.Close()
		r.end()
		if !strings.Contains(r.log.String(), "the policy's filter can't be used on this device") {
			t.Error(r.log.String())
		}
	})
	in(t, "it takes its share of the longest program", func(t *testing.T) {
		r := start(t, cfg, newHost()).auth().open()
		filter := make([]rpcap.Instruction, 8192)
		filter[8191] = rpcap.Instruction{Op: 6, K: 1}
		r.message(&rpcap.StartCapRequest{Filter: filter})
		r.expectError(12, "The filter contains invalid instructions")
		r.inSync()
		r.end()
	})
}

func TestAuditRecord(t *testing.T) {
	in(t, "", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit")
		log, err := audit.Open(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		rights := policy.Rights{Capture: true, Devices: []string{"eth0"}, Filter: "1"}
		r := start(t, session.Config{Access: &fakeAccess{rights: rights}, Audit: log, CompileFilter: compileByte}, newHost())
		r.send(authNull)
		r.receive()
		r.send("00 08 0000 00000011 0001 0000 0003 0006 65 7665 736563726574")
		r.receive()
		r.send(loginBob)
		r.expect(authReply)
		r.message(&rpcap.OpenRequest{Device: "lo"})
		r.receive()
		r.open()
		data := r.capture()
		r.host.last().Push(ethernet(60, 1))
		readPackets(t, data, 1)
		r.send("00 05 0000 00000010" + retAll)
		r.receive()
		time.Sleep(2 * time.Second)
		r.send(endCap)
		r.expect(endReply)
		r.send(closeMsg)
		r.expectEOF()
		r.wait()
		counts := &audit.Counts{Seen: 1, Matched: 1, Sent: 1, Bytes: 88}
		want := []audit.Event{
			{Kind: audit.KindLogin, Result: audit.Refused, Reason: "null_not_permitted", Method: "null"},
			{Kind: audit.KindLogin, Result: audit.Refused, Reason: "wrong_password", Method: "password", User: "eve"},
			{Kind: audit.KindLogin, Result: audit.OK, Method: "password", User: "bob"},
			{Kind: audit.KindOpen, Result: audit.Refused, Reason: "not permitted", User: "bob", Device: "lo"},
			{Kind: audit.KindOpen, Result: audit.OK, User: "bob", Device: "eth0"},
			{Kind: audit.KindStart, User: "bob", Device: "eth0", SnapLen: 262144, Promiscuous: true, Transport: "stream", Filter: "1,6 0 0 262144", Restriction: "1"},
			{Kind: audit.KindFilter, User: "bob", Device: "eth0", Filter: "1,6 0 0 262144"},
			{Kind: audit.KindEnd, User: "bob", Device: "eth0", DurationMS: 2000, Counts: counts},
			{Kind: audit.KindSession, Reason: "closed by client", User: "bob", DurationMS: 3000, Counts: counts},
		}
		got := readRecord(t, path)
		for i := range got {
			if got[i].Session == 0 || got[i].Peer != "test" || got[i].Time.IsZero() {
				t.Errorf("%+v", got[i])
			}
			got[i].Session, got[i].Peer, got[i].Time = 0, "", time.Time{}
			if got[i].Kind == audit.KindEnd || got[i].Kind == audit.KindSession { // the drain at the end takes a little
				got[i].DurationMS = got[i].DurationMS / 1000 * 1000
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func readRecord(t *testing.T, path string) (events []audit.Event) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var e audit.Event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}
