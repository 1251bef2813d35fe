package sockfilter

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/netns/netnstest"
)

// withCapabilities calls f on a thread that has only these.
func withCapabilities(t *testing.T, f func(), capabilities ...uint) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var set [2]unix.CapUserData
		for _, c := range capabilities {
			set[c/32].Effective |= 1 << (c % 32)
			set[c/32].Permitted |= 1 << (c % 32)
		}
		err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &set[0])
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("capset: %v", err)
	}
}

// everyRule is a Config with all rules on, made by a process with privileges.
func everyRule(t *testing.T) Config {
	t.Helper()
	self, err := NewSelfTable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { self.Close() })
	if err := self.Add(netip.MustParseAddrPort("192.0.2.1:2002")); err != nil {
		t.Fatal(err)
	}
	interfaces, err := NewInterfaceTable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { interfaces.Close() })
	return Config{
		Self: self, LoopbackInterface: 1, Direction: capture.DirectionIn, Interfaces: interfaces,
		Shard: Shard{Index: 1, Count: 3}, Flows: 10, Cutoff: 1 << 16, Dedup: time.Second,
	}
}

// TestWithoutPerfmon has the least privileges that eBPF filters need. The
// verifier is stricter then: it guards against speculation.
func TestWithoutPerfmon(t *testing.T) {
	netnstest.RequireBPF(t)
	all := everyRule(t)
	programs := tcpdumpPrograms(t)
	withCapabilities(t, func() {
		for _, cfg := range []Config{{}, {Self: all.Self}, all} {
			f, err := NewFilter(cfg)
			if err != nil {
				t.Errorf("%+v: %v", cfg, err)
				continue
			}
			for _, np := range programs[:10] {
				if judged, err := f.Set(mustCompile(t, np.code)); err != nil || judged != allJudged {
					t.Errorf("%s: %+v, %v", np.name, judged, err)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}, unix.CAP_NET_RAW, unix.CAP_BPF)
}

func TestWithoutBPF(t *testing.T) {
	netnstest.RequireBPF(t)
	if v, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled"); err == nil && v[0] == '0' {
		t.Skip("this kernel gives socket filters to everybody")
	}
	withCapabilities(t, func() {
		f, err := NewFilter(Config{})
		if missing := (*PermissionError)(nil); !errors.As(err, &missing) || missing.Capability != "CAP_BPF" {
			t.Errorf("NewFilter: %v, %v", f, err)
		}
	}, unix.CAP_NET_RAW)
}
