//go:build linux

package daemon

import (
	"context"
	"net/netip"

	"capstan/rpcapd/internal/config"
)

// resolver looks names up; net.Resolver is the real one.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// listErrorText begins the refusal by a list that can't be judged by.
const listErrorText = "Allowed host list error: "

// checkHost returns the text to refuse peer with, or "". The list is gone
// through in order up to the first match; names are looked up for each
// connection. If one can't be, and nothing else matched, the text says so
// (sock_check_hostlist in sockutils.c).
func checkHost(ctx context.Context, list config.AllowList, peer netip.Addr, r resolver) string {
	if len(list.Entries) == 0 {
		return ""
	}
	peer = peer.Unmap().WithZone("")
	failure := ""
	for _, e := range list.Entries {
		if e.Prefix.IsValid() {
			if e.Prefix.Contains(peer) {
				return ""
			}
			continue
		}
		addresses, err := r.LookupNetIP(ctx, "ip", e.Text)
		if err != nil {
			failure = listErrorText + err.Error()
			continue
		}
		for _, a := range addresses {
			if a.Unmap().WithZone("") == peer {
				return ""
			}
		}
	}
	if failure != "" {
		return failure
	}
	return "The host is not in the allowed host list. Connection refused."
}
