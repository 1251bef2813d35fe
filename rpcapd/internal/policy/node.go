package policy

import (
	"cmp"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mapping calls f for each pair of n, which may be empty. Keys may stand there
// once, and nothing may refer to something else in the file, so that what is
// written is what holds.
func (p *parser) mapping(n *yaml.Node, at string, f func(key, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Anchor == "" {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.errorf(n, at, "want keys with values")
		return
	}
	if n.Anchor != "" {
		p.errorf(n, at, "anchors (&) are not supported")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Anchor != "" {
			p.errorf(key, at, "a key has to be plain text")
			continue
		}
		if seen[key.Value] {
			p.errorf(key, at+"."+key.Value, "stands here twice")
			continue
		}
		seen[key.Value] = true
		f(key, value)
	}
}

// scalar returns the text of a value.
func (p *parser) scalar(n *yaml.Node, at string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Anchor != "" {
		p.errorf(n, at, "want one value, without anchor (&) or alias (*); write a text that begins with * in quotes")
		return "", false
	}
	return n.Value, true
}

// unknown tells of a key that isn't known, and which are.
func (p *parser) unknown(n *yaml.Node, at string, known ...string) {
	hint := ""
	for _, k := range known {
		if closeTo(n.Value, k) {
			hint = fmt.Sprintf(`; did you mean %q?`, k)
		}
	}
	p.errorf(n, at, "unknown key%s Known here: %s", cmp.Or(hint, "."), strings.Join(known, ", "))
}

// maxTypos is how many letters may be wrong for a hint.
const maxTypos = 2

// closeTo tells whether a is b with few letters wrong, missing or too many.
func closeTo(a, b string) bool {
	if len(a) > len(b)+maxTypos {
		return false
	}
	row := make([]int, len(b)+1) // of the Levenshtein distance
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)] <= maxTypos
}
