//go:build linux

package syscalls_test

import (
	"os/exec"
	"testing"

	"capstan/bench/internal/syscalls"
	"capstan/pkg/netns/netnstest"
)

func TestCountsOfAChild(t *testing.T) {
	netnstest.RequireBPF(t)
	c, err := syscalls.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// dd reads and writes each of its blocks by one call each.
	count := func(blocks string) uint64 {
		cmd := exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count="+blocks, "status=none")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		n, err := c.Count(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	few, many := count("1000"), count("11000")
	if d := many - few; d < 20_000 || d > 20_200 {
		t.Errorf("10,000 blocks more made %d calls more, want 20,000", d)
	}
	if n, err := c.Count(1 << 30); n != 0 || err != nil {
		t.Errorf("nobody made %d calls, %v", n, err)
	}
}
