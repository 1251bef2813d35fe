package command

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// interceptor runs a command line and returns its status and what it told.
func interceptor(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := Run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return status, stderr.String()
}

// TestServerFlags: what can't work is refused before a server is asked, with
// what to do about it.
func TestServerFlags(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tc := range []struct {
		args   string
		status int
		want   string
	}{
		{"--filter and rpcap://h/eth0", ExitUsage, "--filter: filter expression"},
		{"--filter tcp --filter-file f rpcap://h/eth0", ExitUsage, "together"},
		{"--filter-file " + missing + " rpcap://h/eth0", ExitCannotStart, "no such file"},
		{"--filter-file /dev/zero rpcap://h/eth0", ExitCannotStart, "longer than"},
		{"--transport pigeon rpcap://h/eth0", ExitUsage, "none of connect, accept, datagram"},
		{"--transport datagram rpcaps://h/eth0", ExitUsage, "over TLS"},
		{"--sampling often rpcap://h/eth0", ExitUsage, "none of none, count:N, timer:MILLISECONDS"},
		{"--listen 2003 rpcap://127.0.0.1/eth0", ExitUsage, "--listen"},
		{"--listen :2003 rpcap+unix://%2Fs/eth0", ExitUsage, "not for a unix socket"},
		{"--listen 192.0.2.1:1 rpcap://127.0.0.1/eth0", ExitCannotStart, "listen for daemons"},
		{"--password-file " + missing + " rpcap://bob@h/eth0", ExitCannotStart, "no such file"},
		{"--password-file " + missing + " rpcap://h/eth0", ExitCannotStart, "without a user"},
		{"--tls-ca " + missing + " rpcaps://h/eth0", ExitCannotStart, "no such file"},
		{"rpcap://h/", ExitUsage, "interceptor devices"},
		{"rpcap://h", ExitUsage, "names no host"},
	} {
		for _, command := range []string{"dump", "run --source"} {
			fields := strings.Fields(tc.args)
			args := append(strings.Fields(command), fields[len(fields)-1])
			args = append(args, fields[:len(fields)-1]...)
			if command == "dump" {
				args = append(args, "--write", filepath.Join(t.TempDir(), "out"))
			}
			status, text := interceptor(t, args...)
			if status != tc.status || !strings.Contains(text, tc.want) {
				t.Errorf("%q: status %d, %q; want %d, %q", args, status, text, tc.status, tc.want)
			}
		}
	}
	if status, text := interceptor(t, "run", "--listen", ":0", "-s", "rpcap://a/x", "-s", "rpcap://b/x"); status != ExitUsage || !strings.Contains(text, "one --source") {
		t.Errorf("two sources for one listener: %d, %q", status, text)
	}
}

// TestRequestsOfFlags: user, filter, sampling and transport reach the server.
func TestRequestsOfFlags(t *testing.T) {
	t.Setenv("RPCAP_PASSWORD", "secret")
	packet := rpcaptest.AppendPacket(nil, rpcap.PacketHeader{CapLen: 60, Len: 60, Number: 1}, make([]byte, 60))
	server := rpcaptest.Start(t, rpcaptest.Config{},
		rpcaptest.Expect(&rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: "bob", Password: []byte("secret")}),
		rpcaptest.Send(&rpcap.AuthReply{}),
		rpcaptest.Open("eth0"),
		rpcaptest.Expect(&rpcap.SetSamplingRequest{Method: rpcap.SamplingOneInN, Value: 7}),
		rpcaptest.Send(&rpcap.SetSamplingReply{}),
		rpcaptest.OpenData(),
		rpcaptest.SendData(packet),
		rpcaptest.ExpectType(rpcap.TypeStatsRequest), rpcaptest.Send(&rpcap.StatsReply{}),
		rpcaptest.ExpectType(rpcap.TypeEndCapRequest), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{}),
		rpcaptest.ExpectType(rpcap.TypeStatsRequest), rpcaptest.Send(&rpcap.StatsReply{}),
		rpcaptest.Expect(&rpcap.Close{}),
	)
	u := server.URL()
	u.Device, u.User = "eth0", "bob"
	status, text := interceptor(t, "dump", u.String(), "--count", "1", "--filter", "ether[0] = 1", "--sampling", "count:7", "--transport", "accept")
	if status != ExitDone || !strings.Contains(text, "1 frames written") {
		t.Errorf("status %d: %s", status, text)
	}
}
