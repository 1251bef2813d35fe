package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// AllowList says who may connect: addresses, prefixes and host names. Empty is
// everybody.
type AllowList struct {
	Entries []AllowEntry
}

// AllowEntry is one entry: a prefix, or a name that is looked up for each
// connection.
type AllowEntry struct {
	Prefix netip.Prefix // an address is a prefix of full length; invalid if Name is set
	Name   string
}

// maxAllowList is the longest list the reference takes (MAX_HOST_LIST).
const maxAllowList = 64000

// parseAllowList parses entries between blanks, commas, semicolons and ends of
// lines (RPCAP_HOSTLIST_SEP), and CIDR prefixes, which the reference has not.
func parseAllowList(s string) (AllowList, error) {
	if len(s) > maxAllowList {
		return AllowList{}, fmt.Errorf("allow list: longer than %d characters", maxAllowList)
	}
	var list AllowList
	for _, field := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" ,;\n\r", r) }) {
		entry := AllowEntry{Name: field}
		if strings.Contains(field, "/") {
			p, err := netip.ParsePrefix(field)
			if err != nil {
				return AllowList{}, fmt.Errorf("allow list: %q is no prefix: %w", field, err)
			}
			entry = AllowEntry{Prefix: p.Masked()}
		} else if a, err := netip.ParseAddr(field); err == nil {
			a = a.WithZone("").Unmap()
			entry = AllowEntry{Prefix: netip.PrefixFrom(a, a.BitLen())}
		}
		list.Entries = append(list.Entries, entry)
	}
	return list, nil
}
