//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/netns"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/doctor"
)

// verdicts returns what the doctor says to a process with these capabilities.
func verdicts(t *testing.T, n *netns.NS, capabilities []int) map[string]bool {
	t.Helper()
	cmd := weakCommand(capabilities, "doctor", "--json", "--ring-size=2")
	out, status := outcome(t, n, cmd)
	var report doctor.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 0 || !report.CanCapture {
		t.Fatalf("status %d, %v: %s", status, err, out)
	}
	ok := make(map[string]bool)
	for _, c := range report.Checks {
		ok[c.Name] = c.OK
	}
	return ok
}

// TestLeastPrivileges captures by a daemon that has only these capabilities,
// with filters that change meanwhile, and holds the doctor to what it said.
func TestLeastPrivileges(t *testing.T) {
	for _, tc := range []struct {
		name         string
		capabilities []int
		bpf          bool // filters of eBPF
	}{
		{"CAP_NET_RAW", []int{unix.CAP_NET_RAW}, false},
		{"CAP_NET_RAW and CAP_BPF", []int{unix.CAP_NET_RAW, unix.CAP_BPF}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if v, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled"); !tc.bpf && err == nil && v[0] == '0' {
				t.Skip("this kernel gives socket filters to everybody")
			}
			host, peer := link(t)
			ok := verdicts(t, host, tc.capabilities)
			for _, check := range []string{"socket filter", "device parameters in the kernel"} {
				if ok[check] != tc.bpf {
					t.Errorf("%s: the doctor says %t", check, ok[check])
				}
			}
			if !ok["promiscuous mode"] || !ok["following interfaces"] || ok["CAP_PERFMON"] {
				t.Errorf("the doctor says %v", ok)
			}
			path := socketPath(t)
			s := serveCommand(t, host, weakCommand(tc.capabilities, "--unix-socket", path, "--ring-size=4"))
			sent, sessions := 0, 0
			tag := []byte{0x81, 0, 0x60, 0x0a}
			for _, device := range []struct {
				name string
				view view
				tag  []byte
			}{
				{"cap0", viewEthernet, nil}, {"cap0", viewTagged, tag}, {"any", viewCooked, nil}, {"any", viewTaggedCooked, tag},
				{"cap0?dir=in", viewEthernet, nil}, {"any?link=sll2&dir=in", viewTaggedCooked2, tag},
				{"any?if=cap*", viewCooked, nil},
			} {
				c := unixClient(t, path)
				sessions++
				frames := numbered(100, device.tag)
				stream := c.capture(device.name, 0, testFilter(uint32(device.view.typ)))
				sendFrames(t, peer, "gen0", frames...)
				c.call(&rpcap.UpdateFilterRequest{Filter: everything}, &rpcap.UpdateFilterReply{})
				sendFrames(t, peer, "gen0", frames...)
				packets, stats := c.end(stream)
				want := append(steps(0, 100, 2), steps(0, 100, 1)...)
				if got := numbersOf(packets, device.view); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: frames %v, want %v", device.name, got, want)
				}
				if int(stats.Sent) != len(packets) || stats.KernelDropped != 0 {
					t.Errorf("%s: %d packets, %+v", device.name, len(packets), stats)
				}
				sent += len(packets)
			}
			c := unixClient(t, path)
			stream := c.capture("lo?filter=udp+dst+port+9", 0, everything)
			udpOn(t, func(network, address string) (net.Conn, error) {
				return host.DialContext(t.Context(), network, address)
			}, 100)
			packets, _ := c.end(stream)
			if len(packets) != 100 {
				t.Errorf("%d of 100 datagrams on lo", len(packets))
			}
			sent += len(packets)
			checkNeedsBPF(t, c, ok["device parameters in the kernel"])
			if l := s.stop(); l.sent != sent || l.undelivered != 0 || l.sessions != sessions+1 {
				t.Errorf("%+v, %d sent in %d sessions", l, sent, sessions+1)
			}
		})
	}
}

// checkNeedsBPF captures with parameters that choose in the kernel, which works
// or is refused as the doctor said.
func checkNeedsBPF(t *testing.T, c *client, works bool) {
	t.Helper()
	for _, device := range []string{"cap0?shard=0/2", "cap0?flows=1/2", "cap0?cutoff=1k", "any?dedup=1s"} {
		var opened rpcap.OpenReply
		c.call(&rpcap.OpenRequest{Device: device}, &opened)
		if works {
			c.end(c.start(0, everything))
			continue
		}
		var e rpcap.Error
		c.call(&rpcap.StartCapRequest{ReadTimeout: 5 * time.Millisecond, Filter: everything}, &e)
		if e.Code != rpcap.CodeStartCapture {
			t.Errorf("%s: %d %q", device, e.Code, e.Text)
		}
	}
}
