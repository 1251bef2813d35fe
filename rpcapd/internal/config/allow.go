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

// AllowEntry is one entry: an address or prefix, or a name that is looked up
// for each connection.
type AllowEntry struct {
	Text   string       // as it was written
	Prefix netip.Prefix // an address is a prefix of full length; invalid if Text is a name
}

// maxAllowList is the longest list the reference takes (MAX_HOST_LIST).
const maxAllowList = 64000

// isListSeparator tells the characters between entries of lists
// (RPCAP_HOSTLIST_SEP).
func isListSeparator(r rune) bool { return strings.ContainsRune(" ,;\n\r", r) }

// parseAllowList parses a list of entries. If one is wrong, the error says so
// and the list has it as a name, which never matches anybody: a list must not
// become empty, and so admit everybody, by a mistake.
func parseAllowList(s string) (AllowList, error) {
	if len(s) > maxAllowList {
		return AllowList{}, fmt.Errorf("allow list: longer than %d characters", maxAllowList)
	}
	var list AllowList
	var wrong error
	for _, field := range strings.FieldsFunc(s, isListSeparator) {
		entry, err := parseAllowEntry(field)
		if err != nil && wrong == nil {
			wrong = err
		}
		list.Entries = append(list.Entries, entry)
	}
	if s != "" && len(list.Entries) == 0 {
		wrong = fmt.Errorf("allow list: %q names no host", s)
	}
	return list, wrong
}

// parseAllowEntry parses a name, an address, or a CIDR prefix, which the
// reference has not.
func parseAllowEntry(field string) (AllowEntry, error) {
	entry := AllowEntry{Text: field}
	if strings.Contains(field, "/") {
		p, err := netip.ParsePrefix(field)
		if err != nil {
			return entry, fmt.Errorf("allow list: %q is no prefix: %w", field, err)
		}
		entry.Prefix = p.Masked()
	} else if a, err := netip.ParseAddr(field); err == nil {
		a = a.WithZone("").Unmap()
		entry.Prefix = netip.PrefixFrom(a, a.BitLen())
	}
	return entry, nil
}

// String returns the list as -l takes it.
func (l AllowList) String() string {
	texts := make([]string, len(l.Entries))
	for i, e := range l.Entries {
		texts[i] = e.Text
	}
	return strings.Join(texts, ",")
}
