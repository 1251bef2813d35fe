//go:build linux

package environment_test

import (
	"strings"
	"testing"

	"capstan/bench/internal/environment"
)

func TestRead(t *testing.T) {
	e := environment.Read()
	if e.Kernel == "" || e.CPU == "" && e.Arch == "amd64" || e.CPUs < 1 || e.MemoryMiB == 0 || e.Go == "" || len(e.Settings) == 0 {
		t.Errorf("environment %+v", e)
	}
	if s := e.Summary(); !strings.Contains(s, e.Kernel) || !strings.Contains(s, e.CPU) {
		t.Errorf("summary %q", s)
	}
}

func TestOffloads(t *testing.T) {
	got, err := environment.Offloads("lo")
	if err != nil {
		t.Skip(err) // a host without lo, or a sandbox without ioctls
	}
	if !got["scatter-gather"] {
		t.Errorf("lo has no scatter-gather: %v", got)
	}
	if _, err := environment.Offloads("nothing0"); err == nil {
		t.Error("an interface that isn't there has offloads")
	}
}
