//go:build linux

package trial

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"capstan/bench/internal/contain"
	"capstan/bench/internal/environment"
	"capstan/pkg/netns"
)

// Offloads returns the offloads of the interface that servers capture from.
func Offloads() (offloads map[string]bool, err error) {
	l, err := newLab(os.TempDir())
	if err != nil {
		return nil, err
	}
	err = l.server.Do(func() (err error) {
		offloads, err = environment.Offloads(ifname)
		return err
	})
	return offloads, errors.Join(err, l.close())
}

// ifname is the name of both ends of the cable.
const ifname = "eth0"

// lab is two hosts with a cable between them: the server's and the generator's.
type lab struct {
	server, generator *netns.NS
	dir               string
}

func newLab(dir string) (l *lab, err error) {
	l = &lab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = os.MkdirTemp(dir, "trial-"); err != nil {
		return l, err
	}
	// Servers may give their privileges up, and still have to reach their files.
	if err = os.Chmod(l.dir, 0o755); err != nil {
		return l, err
	}
	if l.server, err = netns.New(); err != nil {
		return l, err
	}
	if l.generator, err = netns.New(); err != nil {
		return l, err
	}
	return l, netns.Veth(l.server, ifname, l.generator, ifname)
}

func (l *lab) close() error {
	var errs []error
	for _, n := range []*netns.NS{l.generator, l.server} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	if l.dir != "" {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}

// CheckPrivilege returns nil if this process may do all that a trial needs, or
// one line that says what is missing.
func CheckPrivilege() error {
	if err := netns.Supported(); err != nil {
		return fmt.Errorf("measuring makes network namespaces of its own and captures in them: %w; run it as root", err)
	}
	return nil
}

// Split divides the processors of this host: the last is for the generator, the
// others are for the server and the sink. With one processor, all share it.
func Split(cpus contain.CPUs) (serverAndSink, generator contain.CPUs) {
	if len(cpus) < 2 {
		return cpus, cpus
	}
	return cpus[:len(cpus)-1], cpus[len(cpus)-1:]
}

// readArrived reads how many frames the server's interface has received, in the
// namespace of the process.
func readArrived(pid int) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/net/dev", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, counters, ok := strings.Cut(line, ":")
		if f := strings.Fields(counters); ok && strings.TrimSpace(name) == ifname && len(f) > 1 {
			return strconv.ParseUint(f[1], 10, 64) // received bytes, packets …
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, ifname)
}

// hostTime is the time of all processors since the start, in ticks.
type hostTime struct{ total, idle, stolen uint64 }

// userTick is the unit of /proc/stat: USER_HZ is 100 on every architecture that
// Go runs on.
const userTick = 10 * time.Millisecond

func readHostTime() (h hostTime) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return h
	}
	line, _, _ := strings.Cut(string(data), "\n")
	// cpu user nice system idle iowait irq softirq steal guest guest_nice, the
	// last two being part of the first two.
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil || i > 8 {
			continue
		}
		h.total += n
		switch i {
		case 4, 5:
			h.idle += n
		case 8:
			h.stolen = n
		}
	}
	return h
}

// since returns the shares of the time since h that the hypervisor took, and
// that processes took which are not ours.
func (h hostTime) since(ours time.Duration) (stolen, others float64) {
	now := readHostTime()
	if now.total <= h.total {
		return 0, 0
	}
	total := float64(now.total - h.total)
	stolenTicks := float64(now.stolen - h.stolen)
	busy := total - float64(now.idle-h.idle) - stolenTicks
	return stolenTicks / total, max(busy-float64(ours)/float64(userTick), 0) / total
}
