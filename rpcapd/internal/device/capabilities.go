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
}

// required is what every capture needs. CAP_SYS_ADMIN includes CAP_BPF.
var required = []struct {
	Missing
	anyOf []uint
}{
	{Missing{"CAP_NET_RAW", "to open packet sockets on interfaces"}, []uint{unix.CAP_NET_RAW}},
	{Missing{"CAP_BPF", "to load the socket filters"}, []uint{unix.CAP_BPF, unix.CAP_SYS_ADMIN}},
}

// MissingCapabilities returns which capabilities for capturing are not in the
// process's effective set.
func MissingCapabilities() ([]Missing, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // capabilities 0 to 31, 32 to 63
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	var missing []Missing
	for _, r := range required {
		has := false
		for _, c := range r.anyOf {
			has = has || data[c/32].Effective&(1<<(c%32)) != 0
		}
		if !has {
			missing = append(missing, r.Missing)
		}
	}
	return missing, nil
}
