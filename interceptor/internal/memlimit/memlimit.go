// Package memlimit finds the memory that the process may have, and tells the
// runtime to stay below: the garbage collector then works harder before the
// kernel ends the process.
package memlimit

import (
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// Apply sets the runtime's limit to limit bytes, or, if that is 0, to nine
// tenths of the control group's, and returns what it set: 0 if there is none or
// GOMEMLIMIT has set one.
func Apply(limit int64) int64 {
	if limit <= 0 {
		if os.Getenv("GOMEMLIMIT") != "" {
			return 0
		}
		limit = Group(os.DirFS("/")) / 10 * 9
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	return limit
}

// Group returns the smallest limit of the process's control group and those
// around it, in bytes; 0 is none. root is the file system.
func Group(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(0)
	for _, line := range strings.Split(string(text), "\n") {
		// hierarchy:controllers:path (cgroups(7)); version 2 has 0 and no controllers.
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		mount, file := "", ""
		switch {
		case parts[0] == "0" && parts[1] == "":
			mount, file = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+parts[1]+",", ",memory,"):
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path may be that of the host, and the mount only
		// what is below: then the mount's own limit is the one.
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if n := read(root, path.Join(mount, dir, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// read returns the limit in a file, 0 for none: "max", or so much that it
// means none.
func read(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= 1<<60 {
		return 0
	}
	return n
}
