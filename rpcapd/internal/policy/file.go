package policy

import (
	"path"
	"strconv"

	"capstan/pkg/smallfile"
	"capstan/pkg/strictyaml"
)

// Limits of a policy file.
const (
	maxEntries   = 10_000 // users, and groups
	maxDevices   = 256    // patterns of one entry
	maxDeviceLen = 256
	maxFilterLen = 4096
	maxNameLen   = 256
	maxSnapLen   = 262144 // MAXIMUM_SNAPLEN of libpcap
)

// CheckFilter tells what is wrong with a filter expression.
type CheckFilter func(expression string) error

// Load reads a policy file. The error tells everything that is wrong with it,
// each with file, line and key.
func Load(file string, check CheckFilter) (*Policy, error) {
	text, err := smallfile.Read(file, strictyaml.MaxLen)
	if err != nil {
		return nil, err
	}
	return Parse(file, text, check)
}

// Parse reads the text of a policy file, which is called file in errors:
//
//	users:
//	  alice:                      # everything
//	  bob:
//	    devices: [eth0, "veth*"]
//	    snaplen: 128
//	    filter: not port 22
//	  "*": …                      # whoever has no other entry
//	groups:                       # the first that a user is in counts
//	  wireshark: …
//	anonymous: …                  # clients without login
func Parse(file string, text []byte, check CheckFilter) (*Policy, error) {
	r, root, err := strictyaml.Parse(file, text)
	if err != nil {
		return nil, err
	}
	policy := &Policy{}
	if root != nil {
		p := parser{r, check}
		p.policy(root, policy)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return policy, nil
}

// parser reads a policy.
type parser struct {
	*strictyaml.Reader
	check CheckFilter
}

func (p *parser) policy(n *strictyaml.Node, policy *Policy) {
	p.Mapping(n, "", func(key *strictyaml.Node, name string, value *strictyaml.Node) {
		switch key.Value {
		case "users":
			policy.Users = map[string]Rights{}
			p.entries(value, name, func(name string, r Rights) { policy.Users[name] = r })
		case "groups":
			p.entries(value, name, func(name string, r Rights) { policy.Groups = append(policy.Groups, Group{name, r}) })
		case "anonymous":
			r := p.rights(value, name)
			policy.Anonymous = &r
		default:
			p.Unknown(key, name, []string{"users", "groups", "anonymous"})
		}
	})
}

// entries reads the rights of users or groups.
func (p *parser) entries(n *strictyaml.Node, at string, add func(name string, r Rights)) {
	if len(n.Content)/2 > maxEntries {
		p.Errorf(n, at, "more than %d entries", maxEntries)
		return
	}
	p.Mapping(n, at, func(key *strictyaml.Node, name string, value *strictyaml.Node) {
		if key.Value == "" || len(key.Value) > maxNameLen {
			p.Errorf(key, at, "a name is empty or longer than %d bytes", maxNameLen)
			return
		}
		add(key.Value, p.rights(value, name))
	})
}

// rights reads one entry; nothing means everything.
func (p *parser) rights(n *strictyaml.Node, at string) Rights {
	r := Everything()
	p.Mapping(n, at, func(key *strictyaml.Node, name string, value *strictyaml.Node) {
		switch key.Value {
		case "devices":
			r.Devices = p.devices(value, name)
		case "snaplen":
			r.SnapLen = p.snapLen(value, name)
		case "filter":
			r.Filter = p.filter(value, name)
		default:
			p.Unknown(key, name, []string{"devices", "snaplen", "filter"})
		}
	})
	return r
}

func (p *parser) devices(n *strictyaml.Node, at string) (devices []string) {
	isList := p.List(n, at, maxDevices, func(_ int, name string, item *strictyaml.Node) {
		pattern, ok := p.Scalar(item, name)
		if !ok {
			return
		}
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || len(pattern) > maxDeviceLen {
			p.Errorf(item, name, "%q is no pattern of names: empty, longer than %d bytes, or with an open [ or a \\ at its end", pattern, maxDeviceLen)
			return
		}
		devices = append(devices, pattern)
	})
	if isList && len(n.Content) == 0 {
		p.Errorf(n, at, `want names or patterns, such as [eth0, "veth*"]; leave it away to allow all`)
	}
	return devices
}

func (p *parser) snapLen(n *strictyaml.Node, at string) int {
	text, ok := p.Scalar(n, at)
	if !ok {
		return 0
	}
	length, err := strconv.Atoi(text)
	if err != nil || length < 1 || length > maxSnapLen {
		p.Errorf(n, at, "%q is no number of bytes from 1 to %d", text, maxSnapLen)
		return 0
	}
	return length
}

func (p *parser) filter(n *strictyaml.Node, at string) string {
	text, ok := p.Scalar(n, at)
	switch {
	case !ok:
		return ""
	case text == "" || len(text) > maxFilterLen:
		p.Errorf(n, at, "the expression is empty or longer than %d bytes; leave it away to have none", maxFilterLen)
		return ""
	}
	if err := p.check(text); err != nil {
		p.Errorf(n, at, "%v", err)
	}
	return text
}
