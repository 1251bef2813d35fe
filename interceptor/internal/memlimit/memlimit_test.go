package memlimit

import (
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestGroup(t *testing.T) {
	files := func(pairs ...string) fstest.MapFS {
		m := fstest.MapFS{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
		}
		return m
	}
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"no groups": {files(), 0},
		"version 2, the parent's is less": {files("proc/self/cgroup", "0::/kube/pod/c\n",
			"sys/fs/cgroup/kube/pod/c/memory.max", "1000000\n", "sys/fs/cgroup/kube/pod/memory.max", "500000\n", "sys/fs/cgroup/kube/memory.max", "max\n"), 500000},
		"version 2, the mount is the container's": {files("proc/self/cgroup", "0::/kube/pod/c\n", "sys/fs/cgroup/memory.max", "7000\n"), 7000},
		"version 1":           {files("proc/self/cgroup", "5:cpu,memory:/x\n1:name=systemd:/y\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9000\n"), 9000},
		"version 1, no limit": {files("proc/self/cgroup", "5:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n"), 0},
		"no number":           {files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "x"), 0},
		"another line":        {files("proc/self/cgroup", "nonsense\n"), 0},
	} {
		if got := Group(c.files); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestApply(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	if got := Apply(1 << 40); got != 1<<40 || debug.SetMemoryLimit(-1) != 1<<40 {
		t.Errorf("%d is set", got)
	}
	t.Setenv("GOMEMLIMIT", "1TiB")
	if got := Apply(0); got != 0 || debug.SetMemoryLimit(-1) != 1<<40 {
		t.Errorf("%d is set over GOMEMLIMIT", got)
	}
}
