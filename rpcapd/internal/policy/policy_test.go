package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const example = `# who may capture
users:
  alice:
  bob:
    devices: [eth0, "veth*"]
    snaplen: 128
    filter: not port 22
  "*":
    devices: [lo]
groups:
  second: {snaplen: 1}
  wireshark:
    filter: tcp
anonymous:
  devices: [any]
`

// check refuses filters that contain "bad".
func check(expression string) error {
	if strings.Contains(expression, "bad") {
		return errors.New("column 1: bad is bad")
	}
	return nil
}

func parse(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Parse("policy.yaml", []byte(text), check)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	want := &Policy{
		Users: map[string]Rights{
			"alice": Everything(),
			"bob":   {Capture: true, Devices: []string{"eth0", "veth*"}, SnapLen: 128, Filter: "not port 22"},
			"*":     {Capture: true, Devices: []string{"lo"}},
		},
		Groups: []Group{
			{"second", Rights{Capture: true, SnapLen: 1}},
			{"wireshark", Rights{Capture: true, Filter: "tcp"}},
		},
		Anonymous: &Rights{Capture: true, Devices: []string{"any"}},
	}
	if diff := cmp.Diff(want, parse(t, example)); diff != "" {
		t.Error(diff)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "users:\n", "users: {}"} {
		if p := parse(t, empty); len(p.Users) != 0 || len(p.Groups) != 0 || p.Anonymous != nil {
			t.Errorf("%q: %+v", empty, p)
		}
	}
}

func TestRightsOf(t *testing.T) {
	p := parse(t, example)
	root := User{Name: "root", System: true}
	for _, tc := range []struct {
		policy *Policy
		user   User
		want   Rights
	}{
		{&Policy{}, root, Everything()},
		{&Policy{}, User{Name: "alice", System: true, UID: 1000, Groups: []string{"wireshark"}}, Rights{}},
		{&Policy{}, User{Name: "root"}, Rights{}}, // a name in a credentials file makes nobody root
		{p, User{Name: "alice"}, Everything()},
		{p, User{Name: "bob", System: true, UID: 0}, p.Users["bob"]}, // an entry restricts even uid 0
		{p, User{Name: "eve", System: true, UID: 5, Groups: []string{"users", "wireshark"}}, Rights{Capture: true, Filter: "tcp"}},
		{p, User{Name: "eve", System: true, UID: 5, Groups: []string{"wireshark", "second"}}, Rights{Capture: true, SnapLen: 1}},
		{p, User{Name: "eve", Groups: []string{"wireshark"}}, p.Users["*"]},
		{p, User{Name: "*"}, p.Users["*"]},
	} {
		if diff := cmp.Diff(tc.want, tc.policy.RightsOf(tc.user)); diff != "" {
			t.Errorf("%+v: %s", tc.user, diff)
		}
	}
	if got := (&Policy{}).RightsOfAnonymous(); !cmp.Equal(got, Everything()) {
		t.Error(got)
	}
	if got := p.RightsOfAnonymous(); !got.Allows("any") || got.Allows("eth0") {
		t.Error(got)
	}
}

func TestAllows(t *testing.T) {
	some := Rights{Capture: true, Devices: []string{"eth0", "veth*", "en[pq]?"}}
	for device, want := range map[string]bool{"eth0": true, "eth1": false, "veth": true, "vethabc": true, "enp1": true, "any": false, "": false} {
		if some.Allows(device) != want {
			t.Errorf("%s: want %v", device, want)
		}
		if !Everything().Allows(device) || (Rights{Devices: []string{"*"}}).Allows(device) {
			t.Errorf("%s: everything or nothing", device)
		}
	}
	if some.LimitSnapLen(5) != 5 || (Rights{SnapLen: 3}).LimitSnapLen(5) != 3 || (Rights{SnapLen: 9}).LimitSnapLen(5) != 5 {
		t.Error("snap length")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"users: [a]":                         "policy.yaml:1: users: want keys with values",
		"\nuser: {}":                         "policy.yaml:2: user: no such key; did you mean users?",
		"nonsense: 1":                        "nonsense: no such key; there are: users, groups, anonymous",
		"users:\n  a:\n    snaplne: 5":       "policy.yaml:3: users.a.snaplne: no such key; did you mean snaplen?",
		"users: {a: {snaplen: 0}}":           `users.a.snaplen: "0" is no number of bytes from 1 to 262144`,
		"users: {a: {snaplen: 262145}}":      "from 1 to 262144",
		"users: {a: {snaplen: many}}":        `"many"`,
		"users: {a: {snaplen: [1]}}":         "want one value",
		"users: {a: {snaplen: }}":            "want one value",
		"users: {a: {devices: eth0}}":        "users.a.devices: want a list",
		"users: {a: {devices: []}}":          "want names or patterns",
		"users: {a: {devices: [\"a[\"]}}":    "no pattern",
		"users: {a: {devices: [\"\"]}}":      "no pattern",
		"users: {a: {devices: [{b: c}]}}":    "want one value",
		"users: {a: {filter: \"\"}}":         "empty",
		"users: {a: {filter: bad}}":          "policy.yaml:1: users.a.filter: column 1: bad is bad",
		"users: {a: , a: }":                  "users.a: stands here twice",
		"users: {\"\": }":                    "a name is empty",
		"users: {a: 5}":                      "users.a: want keys with values",
		"users: {[a]: }":                     "a key has to be plain text",
		"users: {a: &x {snaplen: 1}, b: *x}": "anchors",
		"users: {a: {<<: {snaplen: 1}}}":     "a key has to be plain text",
		"groups: {a: {devices: [&x b]}}":     "groups.a.devices[0]: anchors",
		"users: {a: {filter: x":              "policy.yaml: yaml: line 1",
		"a: 1\n---\nb: 1":                    "more than one YAML document",
		"- a":                                "policy.yaml:1: the file: want keys with values",
		"users: {a: {devices: [" + strings.Repeat("a,", 257) + "]}}": "more than 256 entries",
		"users: {a: {filter: " + strings.Repeat("a", 4097) + "}}":    "longer than 4096",
		"users: {a: {snaplne: 1, devics: 2}}":                        "did you mean devices?",
	} {
		p, err := Parse("policy.yaml", []byte(text), check)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %+v, %v, want %s", text, p, err, want)
		}
	}
	var many strings.Builder
	many.WriteString("users:\n")
	for i := range maxEntries + 1 {
		fmt.Fprintf(&many, "  u%d:\n", i)
	}
	if _, err := Parse("p", []byte(many.String()), check); err == nil || !strings.Contains(err.Error(), "more than 10000 entries") {
		t.Error(err)
	}
}

// TestMistakeIsToldOnce: devices that are no list are one mistake.
func TestMistakeIsToldOnce(t *testing.T) {
	for text, want := range map[string]string{
		"users: {a: {devices: eth0}}":           "policy.yaml:1: users.a.devices: want a list",
		"users: {a: {devices: }}":               "policy.yaml:1: users.a.devices: want a list",
		"users: {a: {devices: {}}}":             "policy.yaml:1: users.a.devices: want a list",
		"users: {a: {devices: &x []}}":          "policy.yaml:1: users.a.devices: anchors",
		"users: {a: {devices: []}}":             "policy.yaml:1: users.a.devices: want names",
		"users: {a: {devices: [\"a[\"]}, b: 5}": "no pattern",
	} {
		_, err := Parse("policy.yaml", []byte(text), check)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "users.a.devices") != 1 {
			t.Errorf("%q: %v, want %s, once", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if _, err := Load(path, check); err == nil {
		t.Error("a missing file is no error")
	}
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Load(path, check); err != nil || len(p.Users) != 3 {
		t.Errorf("%+v, %v", p, err)
	}
}

// FuzzParse: what is taken, written and read again, means the same; what isn't
// is told with the file's name.
func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("users: {a: {devices: [b], snaplen: 5, filter: x}}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("policy.yaml", []byte(text), check)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "policy.yaml:") {
				t.Error(err)
			}
			return
		}
		again, err := Parse("policy.yaml", write(t, p), check)
		if err != nil {
			t.Fatalf("%s: %v", write(t, p), err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Error(diff)
		}
	})
}

// write writes p as a policy file.
func write(t *testing.T, p *Policy) []byte {
	entry := func(r Rights) *yaml.Node {
		m := map[string]any{}
		if r.Devices != nil {
			m["devices"] = r.Devices
		}
		if r.SnapLen > 0 {
			m["snaplen"] = r.SnapLen
		}
		if r.Filter != "" {
			m["filter"] = r.Filter
		}
		n := &yaml.Node{}
		if err := n.Encode(m); err != nil {
			t.Fatal(err)
		}
		return n
	}
	text := func(s string) *yaml.Node { n := &yaml.Node{}; n.SetString(s); return n }
	mapping := func(content ...*yaml.Node) *yaml.Node {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: content}
	}
	root := mapping()
	if p.Users != nil {
		users := mapping()
		for name, r := range p.Users {
			users.Content = append(users.Content, text(name), entry(r))
		}
		root.Content = append(root.Content, text("users"), users)
	}
	if p.Groups != nil {
		groups := mapping()
		for _, g := range p.Groups {
			groups.Content = append(groups.Content, text(g.Name), entry(g.Rights))
		}
		root.Content = append(root.Content, text("groups"), groups)
	}
	if p.Anonymous != nil {
		root.Content = append(root.Content, text("anonymous"), entry(*p.Anonymous))
	}
	out, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The example of docs/access.md is a policy, and means what is said beside it.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	p := parse(t, example)
	if !cmp.Equal(p.Users["alice"], Everything()) || p.Users["bob"].SnapLen != 128 || p.Users["bob"].Filter != "not port 22" ||
		!p.Users[AnyUser].Allows("lo") || p.Users[AnyUser].Allows("any") || len(p.Groups) != 1 || p.Anonymous == nil {
		t.Errorf("%+v", p)
	}
}
