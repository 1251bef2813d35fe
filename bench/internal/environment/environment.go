//go:build linux

// Package environment records what a measurement's figures depend on besides
// what was measured: the machine, the kernel and its settings.
package environment

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Environment is the host of a measurement.
type Environment struct {
	Kernel      string            `json:"kernel"` // release and version
	Arch        string            `json:"arch"`
	CPU         string            `json:"cpu"`
	CPUs        int               `json:"cpus"`
	Virtual     bool              `json:"virtual"` // under a hypervisor
	MemoryMiB   uint64            `json:"memory_mib"`
	ClockSource string            `json:"clock_source"`
	Settings    map[string]string `json:"settings"` // sysctls
	Offloads    map[string]bool   `json:"offloads"` // of the interface that the traffic arrives at
	Go          string            `json:"go"`
	Bench       string            `json:"bench"` // version of this program
}

// sysctls that change what networking costs.
var sysctls = []string{
	"net.core.bpf_jit_enable", "net.core.netdev_max_backlog", "net.core.optmem_max",
	"net.core.rmem_max", "net.core.wmem_max", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}

// Read reads what can be read; what can't stays empty.
func Read() Environment {
	e := Environment{
		Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(), Bench: version(),
		ClockSource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Settings:    make(map[string]string),
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		e.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(cpuinfo)) {
		key, value, _ := strings.Cut(l, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			e.CPU = strings.TrimSpace(value)
		case "flags":
			e.Virtual = strings.Contains(value, " hypervisor")
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		e.MemoryMiB = uint64(info.Totalram) * uint64(info.Unit) >> 20
	}
	for _, name := range sysctls {
		if v := line("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); v != "" {
			e.Settings[name] = strings.Join(strings.Fields(v), " ")
		}
	}
	return e
}

// line returns the contents of a short file.
func line(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// version is what the build recorded: the commit, or the module's version.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	v, dirty := info.Main.Version, ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " with changes"
		}
	}
	return v + dirty
}

// ethtool commands that ask for an offload (linux/ethtool.h).
var offloadCommands = map[string]uint32{
	"rx-checksum": unix.ETHTOOL_GRXCSUM, "tx-checksum": unix.ETHTOOL_GTXCSUM, "scatter-gather": unix.ETHTOOL_GSG,
	"tso": unix.ETHTOOL_GTSO, "gso": unix.ETHTOOL_GGSO, "gro": unix.ETHTOOL_GGRO,
}

// Offloads asks an interface in the network namespace of the calling thread for
// its offloads.
func Offloads(ifname string) (map[string]bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	offloads := make(map[string]bool)
	for name, command := range offloadCommands {
		// struct ifreq with a pointer to struct ethtool_value.
		value := struct{ command, data uint32 }{command: command}
		var request struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(request.name[:unix.IFNAMSIZ-1], ifname)
		request.data = unsafe.Pointer(&value)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			return nil, fmt.Errorf("offloads of %s: %w", ifname, errno)
		}
		offloads[name] = value.data != 0
	}
	return offloads, nil
}

// Summary describes the machine in one line.
func (e *Environment) Summary() string {
	kind := ""
	if e.Virtual {
		kind = ", virtual"
	}
	return "Linux " + e.Kernel + " " + e.Arch + ", " + e.CPU + ", " + strconv.Itoa(e.CPUs) + " CPUs" + kind
}
