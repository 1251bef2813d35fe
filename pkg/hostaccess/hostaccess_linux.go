// Package hostaccess tells which parts of the host a process in a container
// was given: the host's network namespace, its process namespace, and all
// capabilities. It asks the kernel, not an orchestrator, needs no privilege,
// and changes nothing.
package hostaccess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of the three, as a pod's specification has them.
const (
	HostNetwork = "hostNetwork"
	HostPID     = "hostPID"
	Privileged  = "privileged"
)

// Access is what a process was given of its host.
type Access struct {
	// HostNetwork: the process is in the network namespace of the host's first
	// process, or in the machine's first one.
	HostNetwork bool
	// HostPID: process 1 is the host's, neither this process nor a container's
	// init.
	HostPID bool
	// Privileged: CAP_SYS_ADMIN is effective. Of a privileged container's
	// capabilities no other is as sure to be there, and as rare without.
	Privileged bool
}

// Find returns what this process was given.
func Find() (Access, error) { return find("/proc", os.Getpid()) }

// Missing returns the names of what was not given, in the order of the
// constants.
func (a Access) Missing() []string {
	var missing []string
	for _, part := range []struct {
		name  string
		given bool
	}{{HostNetwork, a.HostNetwork}, {HostPID, a.HostPID}, {Privileged, a.Privileged}} {
		if !part.given {
			missing = append(missing, part.name)
		}
	}
	return missing
}

// containerInits are what runtimes run as process 1 of a container or pod
// (the comm of proc_pid_comm(5), so at most 15 bytes).
var containerInits = []string{"pause", "catatonit", "docker-init", "podman-init", "tini", "dumb-init"}

// find is Find for a file system of processes and the number of this process
// in it.
func find(proc string, pid int) (Access, error) {
	var a Access
	comm, err := os.ReadFile(filepath.Join(proc, "1/comm"))
	if err != nil {
		return a, fmt.Errorf("host access: %w", err)
	}
	a.HostPID = pid != 1 && !slices.Contains(containerInits, strings.TrimSpace(string(comm)))
	if a.HostNetwork, err = hostNetwork(proc, a.HostPID); err != nil {
		return a, fmt.Errorf("host access: %w", err)
	}
	if a.Privileged, err = effective(proc, unix.CAP_SYS_ADMIN); err != nil {
		return a, fmt.Errorf("host access: %w", err)
	}
	return a, nil
}

// hostNetwork compares with the host's first process where that can be seen
// and asked. Elsewhere it looks for a sysctl that the kernel registers in the
// machine's first network namespace only (net_core_table in
// net/core/sysctl_net_core.c). So on a host that is itself a container, a
// process that can't ask process 1 is told to be outside.
func hostNetwork(proc string, hostPID bool) (bool, error) {
	if hostPID {
		own, err := os.Readlink(filepath.Join(proc, "self/ns/net"))
		if err != nil {
			return false, err
		}
		first, err := os.Readlink(filepath.Join(proc, "1/ns/net"))
		switch {
		case err == nil:
			return own == first, nil
		case !errors.Is(err, fs.ErrPermission):
			return false, err
		}
	}
	_, err := os.Stat(filepath.Join(proc, "sys/net/core/netdev_max_backlog"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// effective reports whether a capability is in the process's effective set
// (CapEff of proc_pid_status(5), a mask in hexadecimal).
func effective(proc string, capability int) (bool, error) {
	status, err := os.ReadFile(filepath.Join(proc, "self/status"))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return mask&(1<<capability) != 0, err
		}
	}
	return false, errors.New("no CapEff in self/status")
}
