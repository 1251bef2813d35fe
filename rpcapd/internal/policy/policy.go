// Package policy tells what a client that has logged in may capture.
//
// The reference becomes the user that logs in, who then usually may not open a
// device. This daemon doesn't, so it has to decide itself: root, members of a
// group and users with an entry in the policy file may, nobody else.
package policy

import (
	"path"
	"slices"
)

// Rights are what a client may do. The zero value is nothing.
type Rights struct {
	// Capture allows to list and open devices.
	Capture bool
	// Devices are patterns ([path.Match]) of the names of devices, without
	// their parameters; nil is every device, "any" among them.
	Devices []string
	// SnapLen is the most bytes of a frame that are captured; 0: as many as
	// the client wants.
	SnapLen int
	// Filter is an expression (pcap-filter(7)) that frames have to match
	// besides the client's own filter; empty: none.
	Filter string
}

// Everything is the rights of whom nothing restricts.
func Everything() Rights { return Rights{Capture: true} }

// Allows tells whether a device may be listed and opened.
func (r Rights) Allows(device string) bool {
	return r.Capture && (r.Devices == nil || slices.ContainsFunc(r.Devices, func(pattern string) bool {
		ok, _ := path.Match(pattern, device) // patterns were checked when they were read
		return ok
	}))
}

// LimitSnapLen returns the smaller of n and what is allowed.
func (r Rights) LimitSnapLen(n int) int {
	if r.SnapLen == 0 {
		return n
	}
	return min(n, r.SnapLen)
}

// User is who has logged in.
type User struct {
	Name   string
	System bool // UID and Groups are those of a system account
	UID    uint32
	Groups []string
}

// Policy is what a policy file says. The zero value gives rights to root only.
type Policy struct {
	// Users are the entries by name; that of [AnyUser] is for whoever has no
	// other.
	Users map[string]Rights
	// Groups are the entries of groups in the file's order: the first that a
	// user is a member of counts.
	Groups []Group
	// Anonymous restricts clients that are let in without login; nil: they may
	// do everything.
	Anonymous *Rights
}

// Group is the entry of a group.
type Group struct {
	Name   string
	Rights Rights
}

// AnyUser is the name of the entry for users that have no other.
const AnyUser = "*"

// RightsOf returns what u may do: the user's own entry counts before that root
// may do everything, that before the groups' entries, and the entry for all
// users comes last.
func (p *Policy) RightsOf(u User) Rights {
	if r, ok := p.Users[u.Name]; ok && u.Name != AnyUser {
		return r
	}
	if u.System && u.UID == 0 {
		return Everything()
	}
	for _, g := range p.Groups {
		if u.System && slices.Contains(u.Groups, g.Name) {
			return g.Rights
		}
	}
	return p.Users[AnyUser]
}

// RightsOfAnonymous returns what a client may do that is let in without login.
func (p *Policy) RightsOfAnonymous() Rights {
	if p.Anonymous != nil {
		return *p.Anonymous
	}
	return Everything()
}
