//go:build linux

package device

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Missing names a capability that the process lacks.
type Missing struct {
	Capability string // such as CAP_NET_RAW
	Purpose    string // what it is needed for
	Optional   bool   // captures run without it
}

// wanted is what captures use. CAP_SYS_ADMIN includes CAP_BPF.
var wanted = []struct {
	Missing
	anyOf []uint
}{
	{Missing{"CAP_NET_RAW", "to open packet sockets on interfaces", false}, []uint{unix.CAP_NET_RAW}},
	{Missing{"CAP_BPF", "to load the socket filters", true}, []uint{unix.CAP_BPF, unix.CAP_SYS_ADMIN}},
}

// MissingCapabilities returns which capabilities for capturing are not in the
// effective set.
func MissingCapabilities() ([]Missing, error) {
	var missing []Missing
	for _, r := range wanted {
		has := false
		for _, c := range r.anyOf {
			h, err := HasCapability(c)
			if err != nil {
				return nil, err
			}
			has = has || h
		}
		if !has {
			missing = append(missing, r.Missing)
		}
	}
	return missing, nil
}

// HasCapability reports whether a capability, unix.CAP_NET_RAW for one, is in
// the effective set of the calling thread.
func HasCapability(c uint) (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // capabilities 0 to 31, 32 to 63
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, fmt.Errorf("read capabilities: %w", err)
	}
	return data[c/32].Effective&(1<<(c%32)) != 0, nil
}
