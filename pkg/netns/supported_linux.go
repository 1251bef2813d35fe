package netns

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CapabilityError says that the process lacks a capability.
type CapabilityError struct {
	Capability string // as capabilities(7) spells it
}

// Error names the capability.
func (e *CapabilityError) Error() string { return "netns: needs " + e.Capability }

// Supported returns nil if this process may make namespaces and configure
// them, a [*CapabilityError] that names the first missing capability
// (CAP_SYS_ADMIN, CAP_NET_ADMIN), or what the kernel answered to an attempt.
func Supported() error {
	if err := CheckCapability(unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"); err != nil {
		return err
	}
	if err := CheckCapability(unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"); err != nil {
		return err
	}
	// Capabilities are not all: seccomp, no namespaces in the kernel, limits.
	n, err := New()
	if err != nil {
		return err
	}
	return n.Close()
}

// CheckCapability returns a [*CapabilityError] unless the calling thread has
// the capability of that number in its effective set.
func CheckCapability(number int, name string) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("netns: capget: %w", err)
	}
	if data[number/32].Effective&(1<<(number%32)) == 0 {
		return &CapabilityError{Capability: name}
	}
	return nil
}
