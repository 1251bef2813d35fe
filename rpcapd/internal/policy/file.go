package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"go.yaml.in/yaml/v3"

	"capstan/rpcapd/internal/smallfile"
)

// Limits of a policy file.
const (
	maxFileLen    = 1 << 20
	maxEntries    = 10_000 // users, and groups
	maxDevices    = 256    // patterns of one entry
	maxDeviceLen  = 256
	maxFilterLen  = 4096
	maxNameLen    = 256
	maxSnapLen    = 262144 // MAXIMUM_SNAPLEN of libpcap
	maxFileErrors = 20     // that are told
)

// CheckFilter tells what is wrong with a filter expression.
type CheckFilter func(expression string) error

// Load reads a policy file. The error tells everything that is wrong with it,
// each with file, line and key.
func Load(file string, check CheckFilter) (*Policy, error) {
	text, err := smallfile.Read(file, maxFileLen)
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
	p := parser{file: file, check: check}
	root, err := document(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	policy := &Policy{}
	if root != nil {
		p.policy(root, policy)
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return policy, nil
}

// document returns the one document of a YAML stream; nil is an empty one.
func document(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err // tells the line
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document")
	}
	return first.Content[0], nil
}

// parser collects what is wrong.
type parser struct {
	file  string
	check CheckFilter
	errs  []error
}

func (p *parser) errorf(n *yaml.Node, key, format string, a ...any) {
	if len(p.errs) < maxFileErrors {
		p.errs = append(p.errs, fmt.Errorf("%s:%d: %s: %s", p.file, n.Line, key, fmt.Sprintf(format, a...)))
	}
}

func (p *parser) policy(n *yaml.Node, policy *Policy) {
	p.mapping(n, "policy", func(key, value *yaml.Node) {
		switch key.Value {
		case "users":
			policy.Users = map[string]Rights{}
			p.entries(value, key.Value, func(name string, r Rights) { policy.Users[name] = r })
		case "groups":
			p.entries(value, key.Value, func(name string, r Rights) { policy.Groups = append(policy.Groups, Group{name, r}) })
		case "anonymous":
			r := p.rights(value, key.Value)
			policy.Anonymous = &r
		default:
			p.unknown(key, key.Value, "users", "groups", "anonymous")
		}
	})
}

// entries reads the rights of users or groups.
func (p *parser) entries(n *yaml.Node, at string, add func(name string, r Rights)) {
	if len(n.Content)/2 > maxEntries {
		p.errorf(n, at, "more than %d entries", maxEntries)
		return
	}
	p.mapping(n, at, func(key, value *yaml.Node) {
		where := at + "." + key.Value
		if key.Value == "" || len(key.Value) > maxNameLen {
			p.errorf(key, at, "a name is empty or longer than %d bytes", maxNameLen)
			return
		}
		add(key.Value, p.rights(value, where))
	})
}

// rights reads one entry; nothing means everything.
func (p *parser) rights(n *yaml.Node, at string) Rights {
	r := Everything()
	p.mapping(n, at, func(key, value *yaml.Node) {
		where := at + "." + key.Value
		switch key.Value {
		case "devices":
			r.Devices = p.devices(value, where)
		case "snaplen":
			r.SnapLen = p.snapLen(value, where)
		case "filter":
			r.Filter = p.filter(value, where)
		default:
			p.unknown(key, where, "devices", "snaplen", "filter")
		}
	})
	return r
}

func (p *parser) devices(n *yaml.Node, at string) []string {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || n.Anchor != "" {
		p.errorf(n, at, `want a list of names or patterns, such as [eth0, "veth*"]; leave it away to allow all`)
		return nil
	}
	if len(n.Content) > maxDevices {
		p.errorf(n, at, "more than %d devices", maxDevices)
		return nil
	}
	devices := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		pattern, ok := p.scalar(item, at)
		if !ok {
			continue
		}
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || len(pattern) > maxDeviceLen {
			p.errorf(item, at, "%q is no pattern of names: empty, longer than %d bytes, or with an open [ or a \\ at its end", pattern, maxDeviceLen)
			continue
		}
		devices = append(devices, pattern)
	}
	return devices
}

func (p *parser) snapLen(n *yaml.Node, at string) int {
	text, ok := p.scalar(n, at)
	if !ok {
		return 0
	}
	length, err := strconv.Atoi(text)
	if err != nil || length < 1 || length > maxSnapLen {
		p.errorf(n, at, "%q is no number of bytes from 1 to %d", text, maxSnapLen)
		return 0
	}
	return length
}

func (p *parser) filter(n *yaml.Node, at string) string {
	text, ok := p.scalar(n, at)
	switch {
	case !ok:
		return ""
	case text == "" || len(text) > maxFilterLen:
		p.errorf(n, at, "the expression is empty or longer than %d bytes; leave it away to have none", maxFilterLen)
		return ""
	}
	if err := p.check(text); err != nil {
		p.errorf(n, at, "%v", err)
	}
	return text
}
