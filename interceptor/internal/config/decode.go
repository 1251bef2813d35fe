package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Limits of a file.
const (
	maxFileLen = 1 << 20
	maxList    = 1000
	maxErrors  = 20 // that are told
)

// Load reads a file that may set options. The error tells everything that is
// wrong, each with file, line and key.
func Load(file string, options []Option) (*File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileLen+1))
	if err != nil {
		return nil, err
	}
	return Parse(file, text, options)
}

// Parse reads the text of a file, which is called file in errors.
func Parse(file string, text []byte, options []Option) (*File, error) {
	if len(text) > maxFileLen {
		return nil, fmt.Errorf("%s: longer than %d bytes", file, maxFileLen)
	}
	p := parser{file: file, lines: map[string]int{}}
	root, err := document(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f := &File{name: file}
	if root != nil && !isNull(root) {
		p.root(root, f, options)
	}
	if len(p.errs) == 0 {
		p.check(f)
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return f, nil
}

// root reads the keys of a file: its own, and options.
func (p *parser) root(n *yaml.Node, f *File, options []Option) {
	v := reflect.ValueOf(f).Elem()
	own, names := fields(v.Type())
	known := map[string]Option{}
	for _, o := range options {
		known[o.Key] = o
		names = append(names, o.Key)
	}
	p.pairs(n, "", func(name string, value *yaml.Node) {
		if i, ok := own[name]; ok {
			p.value(value, v.Field(i), name, "")
		} else if o, ok := known[name]; ok {
			p.option(value, f, o)
		} else {
			p.errorf(value.Line, name, "no such key%s", hint(name, names))
		}
	})
}

// option takes the values of an option as they are written.
func (p *parser) option(n *yaml.Node, f *File, o Option) {
	if isNull(n) {
		return // keeps its default
	}
	s := Setting{Key: o.Key, Line: n.Line}
	if o.List {
		p.value(n, reflect.ValueOf(&s.Values).Elem(), o.Key, "")
	} else {
		var text string
		p.value(n, reflect.ValueOf(&text).Elem(), o.Key, "")
		s.Values = []string{text}
	}
	f.Settings = append(f.Settings, s)
}

// fields returns the fields of a struct by their names in a file, and these.
func fields(t reflect.Type) (byName map[string]int, names []string) {
	byName = map[string]int{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		byName[name] = i
		names = append(names, name)
	}
	return byName, names
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

// parser fills values and collects what is wrong.
type parser struct {
	file  string
	lines map[string]int // where the keys are that the file has
	errs  []error
}

func (p *parser) errorf(line int, key, format string, a ...any) {
	if len(p.errs) < maxErrors {
		if key == "" {
			key = "the file"
		}
		p.errs = append(p.errs, fmt.Errorf("%s:%d: %s: %s", p.file, line, key, fmt.Sprintf(format, a...)))
	}
}

// lineOf returns the line of a key, or of the nearest one around it.
func (p *parser) lineOf(key string) int {
	for key != "" {
		if line, ok := p.lines[key]; ok {
			return line
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 1
}

// isNull reports whether a key stands without a value: it keeps its default.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// value reads n into v. Nothing in a file may refer to something else in it, so
// that what is written is what holds.
func (p *parser) value(n *yaml.Node, v reflect.Value, key, enum string) {
	p.lines[key] = n.Line
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		p.errorf(n.Line, key, "anchors (&) and aliases (*) are not supported; write a text that begins with * in quotes")
		return
	}
	if isNull(n) && v.Kind() != reflect.Pointer {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		if d, ok := v.Interface().(interface{ setDefaults() }); ok {
			d.setDefaults()
		}
		if isNull(n) { // the kind of a sink, without any setting
			return
		}
		v = v.Elem()
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration](), isText(v):
		p.scalar(n, v, key, enum)
	case v.Kind() == reflect.Struct:
		p.mapping(n, v, key)
	case v.Kind() == reflect.Slice:
		p.list(n, v, key)
	case v.Kind() == reflect.Map:
		p.textMap(n, v, key)
	default:
		p.scalar(n, v, key, enum)
	}
}

func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// pairs calls f for each key of n, which may stand there once.
func (p *parser) pairs(n *yaml.Node, at string, f func(name string, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.errorf(n.Line, at, "want keys with values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Anchor != "":
			p.errorf(key.Line, at, "a key has to be plain text")
		case seen[key.Value]:
			p.errorf(key.Line, join(at, key.Value), "stands here twice")
		default:
			seen[key.Value] = true
			f(key.Value, value)
			p.lines[join(at, key.Value)] = key.Line
		}
	}
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

func (p *parser) mapping(n *yaml.Node, v reflect.Value, at string) {
	known, names := fields(v.Type())
	p.pairs(n, at, func(name string, value *yaml.Node) {
		i, ok := known[name]
		if !ok {
			p.errorf(value.Line, join(at, name), "no such key%s", hint(name, names))
			return
		}
		p.value(value, v.Field(i), join(at, name), v.Type().Field(i).Tag.Get("enum"))
	})
}

// list reads a list; one value without brackets is a list of one.
func (p *parser) list(n *yaml.Node, v reflect.Value, at string) {
	items := n.Content
	if n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String {
		items = []*yaml.Node{n}
	} else if n.Kind != yaml.SequenceNode {
		p.errorf(n.Line, at, "want a list")
		return
	}
	if len(items) > maxList {
		p.errorf(n.Line, at, "more than %d entries", maxList)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		p.value(item, out.Index(i), fmt.Sprintf("%s[%d]", at, i), "")
	}
	v.Set(out)
}

func (p *parser) textMap(n *yaml.Node, v reflect.Value, at string) {
	out := reflect.MakeMap(v.Type())
	p.pairs(n, at, func(name string, value *yaml.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		p.value(value, item, join(at, name), "")
		out.SetMapIndex(reflect.ValueOf(name), item)
	})
	v.Set(out)
}

// scalar reads one value.
func (p *parser) scalar(n *yaml.Node, v reflect.Value, key, enum string) {
	if n.Kind != yaml.ScalarNode {
		p.errorf(n.Line, key, "want one value")
		return
	}
	if enum != "" {
		if allowed := strings.Split(enum, ","); !slices.Contains(allowed, n.Value) {
			p.errorf(n.Line, key, "%q is none of %s%s", n.Value, strings.Join(allowed, ", "), hint(n.Value, allowed))
			return
		}
	}
	if err := setScalar(v, n.Value); err != nil {
		p.errorf(n.Line, key, "%v", err)
	}
}

func setScalar(v reflect.Value, text string) error {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is no time: write one such as 500ms, 10s or 1h", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no number from 0 to 2147483647", text)
		}
		v.SetInt(n)
	default:
		panic("config: a field of type " + v.Type().String()) // every field is read by a test
	}
	return nil
}

// hint names the known word that is nearest to one that isn't known, or else
// all of them.
func hint(word string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := editDistance(word, k); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; there are: " + strings.Join(known, ", ")
}

// editDistance is Levenshtein's; words that are far longer than any key are far.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
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
	return row[len(b)]
}
