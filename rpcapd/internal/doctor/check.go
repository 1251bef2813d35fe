//go:build linux

// Package doctor tells whether this host lets the daemon capture: it tries what
// a capture does, and says what each refusal costs and how to mend it.
package doctor

// Check is one thing that was tried.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Needed says that nothing can be captured without it.
	Needed bool `json:"needed"`
	// Detail is what was found, or what the kernel answered.
	Detail string `json:"detail"`
	// Cost is what is lost without it.
	Cost string `json:"cost,omitempty"`
	// Remedy is how to get it, where OK is false.
	Remedy *Remedy `json:"remedy,omitempty"`
}

// Remedy is what to write where.
type Remedy struct {
	Host       string `json:"host,omitempty"` // a command, as root
	Systemd    string `json:"systemd,omitempty"`
	Container  string `json:"container,omitempty"` // of docker and podman
	Kubernetes string `json:"kubernetes,omitempty"`
}

// Report is what Examine found.
type Report struct {
	// CanCapture says that all is there that is needed.
	CanCapture bool    `json:"can_capture"`
	Kernel     string  `json:"kernel"` // for the reader; nothing is concluded from it
	Checks     []Check `json:"checks"`
}

// capability is the remedy for a missing capability, named without CAP_.
func capability(name string) *Remedy {
	lower := map[string]string{"NET_RAW": "cap_net_raw", "BPF": "cap_bpf", "PERFMON": "cap_perfmon"}[name]
	return &Remedy{
		Host:       "setcap " + lower + "+ep on the program, with the others that it has",
		Systemd:    "AmbientCapabilities=CAP_" + name + " and CapabilityBoundingSet=CAP_" + name + ", added to the others, in [Service]",
		Container:  "--cap-add " + name,
		Kubernetes: "securityContext: {capabilities: {add: [" + name + "]}}, with runAsUser: 0 or file capabilities on the program",
	}
}

// forbidden is the remedy for a system call that the kernel refuses although
// the capability is there.
func forbidden(call string) *Remedy {
	return &Remedy{
		Host:       "look for a security module or lockdown that refuses " + call + ": journalctl -k, /sys/kernel/security/lockdown",
		Systemd:    "SystemCallFilter=" + call + " (or none), and RestrictAddressFamilies= with AF_PACKET, AF_NETLINK, AF_INET, AF_INET6, AF_UNIX (or none)",
		Container:  "--security-opt seccomp=PROFILE, where PROFILE allows " + call,
		Kubernetes: "securityContext: {seccompProfile: {type: Localhost, localhostProfile: PROFILE}}, where PROFILE allows " + call,
	}
}
