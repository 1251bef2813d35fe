package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxLen is how long a file may be, in bytes.
const MaxLen = 1 << 20

// maxErrors is how many mistakes are told.
const maxErrors = 20

// Node is a part of a file.
type Node = yaml.Node

// Reader collects what is wrong with one file.
type Reader struct {
	file  string
	lines map[string]int // of the keys that the file has
	errs  []error
}

// Parse returns the content of a file, which is called file in errors: nil if it
// is empty.
func Parse(file string, text []byte) (*Reader, *Node, error) {
	if len(text) > MaxLen {
		return nil, nil, fmt.Errorf("%s: longer than %d bytes", file, MaxLen)
	}
	root, err := document(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if root != nil && IsNull(root) {
		root = nil
	}
	return &Reader{file: file, lines: map[string]int{}}, root, nil
}

// document returns the one document of a YAML stream; nil is an empty one.
func document(text []byte) (*Node, error) {
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

// Err returns all that is wrong, a line each; nil if nothing is.
func (r *Reader) Err() error { return errors.Join(r.errs...) }

// Errorf tells what is wrong with the value of a key; "" is the whole file.
func (r *Reader) Errorf(n *Node, key, format string, a ...any) {
	r.errorAt(n.Line, key, format, a...)
}

// ErrorAt is Errorf for a key that has been read, or for one that is missing in
// it: the line is that of the nearest key around it.
func (r *Reader) ErrorAt(key, format string, a ...any) {
	r.errorAt(r.lineOf(key), key, format, a...)
}

func (r *Reader) errorAt(line int, key, format string, a ...any) {
	if len(r.errs) >= maxErrors {
		return
	}
	if key == "" {
		key = "the file"
	}
	r.errs = append(r.errs, fmt.Errorf("%s:%d: %s: %s", r.file, line, key, fmt.Sprintf(format, a...)))
}

// lineOf returns the line of a key, or of the nearest one around it.
func (r *Reader) lineOf(key string) int {
	for key != "" {
		if line, ok := r.lines[key]; ok {
			return line
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 1
}

// IsNull reports whether n is a key's value that isn't there.
func IsNull(n *Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Anchor == ""
}

// refers reports, and tells, that n is for others to refer to, or refers itself.
func (r *Reader) refers(n *Node, key string) bool {
	if n.Kind != yaml.AliasNode && n.Anchor == "" {
		return false
	}
	r.Errorf(n, key, "anchors (&) and aliases (*) are not supported; write a text that begins with * in quotes")
	return true
}

// Mapping calls f for each key of n, whose full name is at: with the key's node, its
// full name and its value. Nothing is an empty mapping.
func (r *Reader) Mapping(n *Node, at string, f func(key *Node, name string, value *Node)) {
	switch {
	case r.refers(n, at) || IsNull(n):
		return
	case n.Kind != yaml.MappingNode:
		r.Errorf(n, at, "want keys with values")
		return
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := join(at, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Anchor != "":
			r.Errorf(key, at, "a key has to be plain text")
		case seen[key.Value]:
			r.Errorf(key, name, "stands here twice")
		default:
			seen[key.Value] = true
			r.lines[name] = key.Line
			f(key, name, value)
		}
	}
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// Unknown tells that a key isn't one of those known.
func (r *Reader) Unknown(key *Node, name string, known []string) {
	r.Errorf(key, name, "no such key%s", Hint(key.Value, known))
}

// List calls f for each entry of the list n, which has at most limit of them, and
// reports whether n is such a list.
func (r *Reader) List(n *Node, at string, limit int, f func(i int, name string, item *Node)) bool {
	switch {
	case r.refers(n, at):
		return false
	case n.Kind != yaml.SequenceNode:
		r.Errorf(n, at, "want a list")
		return false
	case len(n.Content) > limit:
		r.Errorf(n, at, "more than %d entries", limit)
		return false
	}
	for i, item := range n.Content {
		name := fmt.Sprintf("%s[%d]", at, i)
		r.lines[name] = item.Line
		f(i, name, item)
	}
	return true
}

// Scalar returns the text of one value as it is written.
func (r *Reader) Scalar(n *Node, at string) (text string, ok bool) {
	if r.refers(n, at) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || IsNull(n) {
		r.Errorf(n, at, "want one value")
		return "", false
	}
	return n.Value, true
}
