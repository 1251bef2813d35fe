//go:build linux

package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/device"
)

// Examine tries everything. It captures nothing: its sockets are closed at
// once, and what they got is thrown away.
func Examine(ringMiB int) Report {
	r := Report{CanCapture: true, Kernel: kernel()}
	for _, probe := range []func() Check{
		packetSocket,
		func() Check { return ring(ringMiB) },
		socketFilter,
		parameters,
		watch,
		promiscuous,
		perfmon,
		jit,
		interfaces,
	} {
		c := probe()
		r.Checks = append(r.Checks, c)
		r.CanCapture = r.CanCapture && (c.OK || !c.Needed)
	}
	return r
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// check makes a Check of what an attempt came to.
func (c Check) of(err error, found string, remedy func() *Remedy) Check {
	if err == nil {
		c.OK, c.Detail, c.Cost = true, found, ""
		return c
	}
	c.Detail = err.Error()
	c.Remedy = remedy()
	return c
}

// denied returns the remedy for what needs a capability: to grant it, or, if it
// is there, to let the system call through.
func denied(number uint, name, call string) func() *Remedy {
	return func() *Remedy {
		if has, err := device.HasCapability(number); err == nil && has {
			return forbidden(call)
		}
		return capability(name)
	}
}

const costEverything = "nothing can be captured"

func packetSocket() Check {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return Check{Name: "packet socket", Needed: true, Cost: costEverything}.
		of(err, "opened", denied(unix.CAP_NET_RAW, "NET_RAW", "socket"))
}

func ring(mib int) Check {
	const block = 1 << 20
	r, err := afpacket.Open(afpacket.Config{BlockLen: block, BlockCount: mib, BlockTimeout: time.Second}, nil)
	if err == nil {
		err = r.Close()
	}
	return Check{Name: "ring", Needed: true, Cost: costEverything}.
		of(err, fmt.Sprintf("mapped %d MiB", mib), func() *Remedy {
			if errors.Is(err, unix.ENOMEM) {
				return &Remedy{
					Host:       "a smaller --ring-size, or more free memory",
					Systemd:    "MemoryMax= and LimitMEMLOCK= above the rings of all captures, in [Service]",
					Container:  "--memory above the rings of all captures",
					Kubernetes: "resources.limits.memory above the rings of all captures",
				}
			}
			return denied(unix.CAP_NET_RAW, "NET_RAW", "setsockopt")()
		})
}

// load loads a filter with a program and frees it.
func load(cfg sockfilter.Config) error {
	f, err := sockfilter.NewFilter(cfg)
	if err != nil {
		return err
	}
	program, err := sockfilter.Compile([]bpf.RawInstruction{{Op: 0x28, K: 12}, {Op: 0x16}})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	judged, err := f.Set(program)
	if err == nil && !judged.Untagged {
		err = errors.New("the kernel refuses a filter of two instructions")
	}
	return errors.Join(err, f.Close())
}

func socketFilter() Check {
	return Check{Name: "socket filter", Cost: "filters are classic ones: fewer are judged in the kernel, and no frames of several interfaces or with VLAN tags"}.
		of(load(sockfilter.Config{}), "loaded", denied(unix.CAP_BPF, "BPF", "bpf"))
}

// allRules asks for all that the kernel can do beside a client's program.
var allRules = sockfilter.Config{
	Direction: capture.DirectionIn, LoopbackInterface: 1,
	Shard: sockfilter.Shard{Index: 0, Count: 2}, Flows: 2, Cutoff: 1 << 16, Dedup: time.Second,
}

func parameters() Check {
	err := load(allRules)
	return Check{Name: "device parameters in the kernel", Cost: "captures with shard, flows, cutoff or dedup fail"}.
		of(err, "loaded", denied(unix.CAP_BPF, "BPF", "bpf"))
}

func watch() Check {
	return Check{Name: "following interfaces", Cost: "captures with if or not-if fail"}.
		of(device.CheckWatch(), "subscribed", func() *Remedy { return forbidden("socket") })
}

func promiscuous() Check {
	return Check{Name: "promiscuous mode", Cost: "frames to other stations are not captured on a shared medium; clients that ask for them are not told"}.
		of(joinPromiscuous(), "granted", denied(unix.CAP_NET_RAW, "NET_RAW", "setsockopt"))
}

// joinPromiscuous asks for promiscuous mode on loopback, where it is without
// effect.
func joinPromiscuous() error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	request := unix.PacketMreq{Ifindex: int32(lo.Index), Type: unix.PACKET_MR_PROMISC}
	return os.NewSyscallError("setsockopt", unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &request))
}

func perfmon() Check {
	has, err := device.HasCapability(unix.CAP_PERFMON)
	if admin, adminErr := device.HasCapability(unix.CAP_SYS_ADMIN); adminErr == nil && admin {
		has = true
	}
	if err == nil && !has {
		err = errors.New("CAP_PERFMON is not in the effective set")
	}
	return Check{Name: "CAP_PERFMON", Cost: "15 to 50 ns more per frame with cutoff or dedup, and the kernel refuses more of the large filters, which then run in user space"}.
		of(err, "in the effective set", func() *Remedy { return capability("PERFMON") })
}

func jit() Check {
	const file = "/proc/sys/net/core/bpf_jit_enable"
	b, err := os.ReadFile(file)
	value := strings.TrimSpace(string(b))
	if err == nil && value == "0" {
		err = errors.New("net.core.bpf_jit_enable is 0")
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		// Kernels built to always compile have no such file, and it isn't
		// shown outside the first network namespace.
		err, value = nil, "not told by "+file
	}
	return Check{Name: "compiled filters", Cost: "filters are interpreted, several times slower"}.
		of(err, "net.core.bpf_jit_enable: "+value, func() *Remedy {
			set := "sysctl net.core.bpf_jit_enable=1"
			return &Remedy{Host: set, Systemd: set + " on the host", Container: set + " on the host", Kubernetes: set + " on the node"}
		})
}

func interfaces() Check {
	list, err := net.Interfaces()
	var names []string
	for _, i := range list {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	found := fmt.Sprintf("%d up beside loopback", len(names))
	if err == nil && len(names) == 0 {
		err = errors.New("none is up beside loopback")
	}
	return Check{Name: "interfaces", Cost: "there is no traffic to capture in this network namespace"}.
		of(err, found, func() *Remedy {
			return &Remedy{
				Host:       "ip link set INTERFACE up",
				Systemd:    "PrivateNetwork=no in [Service]",
				Container:  "--network host",
				Kubernetes: "hostNetwork: true in the pod's spec",
			}
		})
}
