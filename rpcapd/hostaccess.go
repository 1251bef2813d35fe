//go:build linux

package main

import (
	"log/slog"

	"capstan/pkg/hostaccess"
)

// disrupted is what each missing access to the host costs this process.
var disrupted = map[string]string{
	hostaccess.HostNetwork: "captures reach the interfaces of this pod alone: no traffic of the node or of other pods",
	hostaccess.HostPID:     "processes that connect to the unix socket can't be told: log and audit log say pid 0",
	hostaccess.Privileged:  "capabilities and system calls are those that the pod lists: rpcapd doctor tells what that costs",
}

// tellHostAccess warns of each access to the host that the pod was not given.
func tellHostAccess(log *slog.Logger) {
	access, err := hostaccess.Find()
	if err != nil {
		log.Warn("access to the host is not known", "err", err)
		return
	}
	for _, name := range access.Missing() {
		log.Warn(name+" is missing", "disrupts", disrupted[name])
	}
}
