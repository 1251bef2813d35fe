package command

import (
	"log/slog"

	"capstan/pkg/hostaccess"
)

// disrupted is what each missing access to the host costs this process.
var disrupted = map[string]string{
	hostaccess.HostNetwork: "a capture server in this pod captures the pod's own traffic alone",
	hostaccess.HostPID:     "nothing here; processes of the node can't be told by their numbers",
	hostaccess.Privileged:  "nothing here, as long as the capture server admits this user, and spool and files can be written",
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
