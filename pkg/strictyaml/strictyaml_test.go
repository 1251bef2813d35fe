package strictyaml

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// shout is text that reads itself.
type shout string

func (s *shout) UnmarshalText(b []byte) error {
	if strings.ToUpper(string(b)) != string(b) {
		return fmt.Errorf("%q is not loud", b)
	}
	*s = shout(b)
	return nil
}

type part struct {
	Size int  `yaml:"size"`
	On   bool `yaml:"on"`
}

func (p *part) SetDefaults() { p.Size = 7 }

type whole struct {
	Name   string           `yaml:"name"`
	Kind   string           `yaml:"kind" enum:"big,small"`
	Wait   time.Duration    `yaml:"wait"`
	Loud   shout            `yaml:"loud"`
	Names  []string         `yaml:"names"`
	Part   part             `yaml:"part,omitempty"`
	Made   *part            `yaml:"made"`
	Parts  []part           `yaml:"parts"`
	Shouts map[string]shout `yaml:"shouts"`
	Hidden string           `yaml:"-"`
	Other  string
}

func decode(text string) (w whole, err error) {
	r, root, err := Parse("c.yaml", []byte(text))
	if err != nil || root == nil {
		return w, err
	}
	r.Decode(root, "", &w)
	return w, r.Err()
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]whole{
		"":                        {},
		"# nothing":               {},
		"---\n":                   {},
		"name:":                   {},
		"{name: 5, wait: 1h30m}":  {Name: "5", Wait: 90 * time.Minute},
		"loud: HEY\nnames: a":     {Loud: "HEY", Names: []string{"a"}},
		"names: [a, 1, yes, '*']": {Names: []string{"a", "1", "yes", "*"}},
		"made:":                   {Made: &part{Size: 7}},
		"made: {on: true}":        {Made: &part{Size: 7, On: true}},
		"part: {on: true}":        {Part: part{On: true}},
		"parts: [{size: 1}, ]":    {Parts: []part{{Size: 1}}},
		"shouts: {a: A, b: B}":    {Shouts: map[string]shout{"a": "A", "b": "B"}},
		"kind: big":               {Kind: "big"},
	} {
		got, err := decode(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nam: 5", "c.yaml:1: nam: no such key; did you mean name?"},
		{"\n\npart:\n  siez: 5", "c.yaml:4: part.siez: no such key; did you mean size?"},
		{"part:\n  what:\n    - a", "c.yaml:2: part.what: no such key; there are: size, on"},
		{"Other: 5", "c.yaml:1: Other: no such key; there are: name, kind,"},
		{"-: 5", "no such key"},
		{"name: a\nname: b", "c.yaml:2: name: stands here twice"},
		{"name: [a]", "c.yaml:1: name: want one value"},
		{"names: {a: b}", "c.yaml:1: names: want a list"},
		{"names: [[a]]", "c.yaml:1: names[0]: want one value"},
		{"names:\n- a\n-\n", "c.yaml:3: names[1]: stands here without a value"},
		{"parts: [~]", "c.yaml:1: parts[0]: stands here without a value"},
		{"shouts: {a: }", "c.yaml:1: shouts.a: stands here without a value"},
		{"part: 5", "c.yaml:1: part: want keys with values"},
		{"- a", "c.yaml:1: the file: want keys with values"},
		{"kind: bigg", `c.yaml:1: kind: "bigg" is none of big, small; did you mean big?`},
		{"kind: enormous", `c.yaml:1: kind: "enormous" is none of big, small`},
		{"wait: 5", `"5" is no time: write one such as`},
		{"wait: -5s", "is no time"},
		{"part: {on: yes}", `"yes" is neither true nor false`},
		{"part: {size: -1}", `"-1" is no number from 0`},
		{"part: {size: 4000000000}", "is no number"},
		{"loud: hey", `c.yaml:1: loud: "hey" is not loud`},
		{"shouts: {a: a}", `c.yaml:1: shouts.a: "a" is not loud`},
		{"part: &a {on: true}", "c.yaml:1: part: anchors"},
		{"name: &a x", "anchors"},
		{"names: [&a x]", "names[0]: anchors"},
		{"name: &a x\nloud: *a", "c.yaml:2: loud: anchors"},
		{"part: &a {size: 1}\nmade: {<<: *a}", "a key has to be plain text"},
		{"name: &a", "anchors"},
		{"? [a]\n: b", "c.yaml:1: the file: a key has to be plain text"},
		{"a: b\n---\nc: d", "c.yaml: more than one YAML document"},
		{"a: [", "c.yaml: yaml: line 1"},
		{"names: [" + strings.Repeat("a,", MaxList+1) + "]", "names: more than 1000 entries"},
		{"name: " + strings.Repeat("a", MaxLen), "c.yaml: longer than 1048576 bytes"},
	} {
		if _, err := decode(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v, want %q", c.text, err, c.want)
		}
	}
	_, err := decode("{a: 1, b: 2}")
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("not all is told: %v", err)
	}
	many := "shouts:\n"
	for n := range 100 {
		many += fmt.Sprintf("  k%d: a\n", n)
	}
	if _, err := decode(many); err == nil || strings.Count(err.Error(), "\n") != maxErrors-1 {
		t.Errorf("%v", err)
	}
}

// TestErrorAt: what is missing is told at the line of what it is missing in.
func TestErrorAt(t *testing.T) {
	r, root, err := Parse("c.yaml", []byte("name: a\nparts:\n- on: true\n- on: false\n"))
	if err != nil {
		t.Fatal(err)
	}
	var w whole
	r.Decode(root, "", &w)
	r.ErrorAt("parts[1].size", "is missing")
	r.ErrorAt("made.size", "is missing")
	if got := fmt.Sprint(r.Err()); got != "c.yaml:4: parts[1].size: is missing\nc.yaml:1: made.size: is missing" {
		t.Error(got)
	}
}

// String writes p as a file says it.
func (p part) String() string { return fmt.Sprintf("{size: %d, on: %v}", p.Size, p.On) }

// text writes w as a file says it.
func (w *whole) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %q\nwait: %v\nloud: %q\npart: %v\n", w.Name, w.Wait, string(w.Loud), w.Part)
	if w.Kind != "" {
		fmt.Fprintf(&b, "kind: %s\n", w.Kind)
	}
	if w.Made != nil {
		fmt.Fprintf(&b, "made: %v\n", *w.Made)
	}
	b.WriteString("names:\n")
	for _, n := range w.Names {
		fmt.Fprintf(&b, "- %q\n", n)
	}
	b.WriteString("parts:\n")
	for _, p := range w.Parts {
		fmt.Fprintf(&b, "- %v\n", p)
	}
	b.WriteString("shouts:\n")
	for key, s := range w.Shouts {
		fmt.Fprintf(&b, "  %q: %q\n", key, string(s))
	}
	return b.String()
}

// FuzzDecode: a mistake is told with its place, and what is read is read again
// when it is written.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"name: a", "kind: big\nwait: 5s", "made:\nparts: [{on: true}]", "shouts: {a: A}", "names: [a, b]", "&a a: *a", "a: {<<: {}}", "? {}\n: []",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decode(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "c.yaml:") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		again, err := decode(got.text())
		if err != nil {
			t.Fatalf("%v\n%s", err, got.text())
		}
		if diff := cmp.Diff(got, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s\nread again: %s", got.text(), diff)
		}
	})
}
