package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"capstan/pkg/strictyaml"
)

// Schema returns the JSON schema (draft 2020-12) of a file that may set options.
func Schema(options []Option) ([]byte, error) {
	s := schemaOf(reflect.TypeFor[File](), "")
	properties := s["properties"].(map[string]any)
	for _, o := range options {
		properties[o.Key] = optionSchema(o)
	}
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Capstan interceptor configuration"
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

func optionSchema(o Option) map[string]any {
	scalar := map[string]any{"type": []string{"string", "number", "boolean", "null"}}
	switch {
	case o.List:
		text := map[string]any{"type": "string"}
		return map[string]any{"description": o.Doc, "anyOf": []any{map[string]any{"type": "array", "items": text, "maxItems": strictyaml.MaxList}, text}}
	case o.Type == "bool":
		scalar["type"] = []string{"boolean", "null"}
	case strings.HasPrefix(o.Type, "int"), strings.HasPrefix(o.Type, "uint"):
		scalar["type"] = []string{"integer", "null"}
	case o.Type == SizeType:
		scalar["type"], scalar["pattern"] = []string{"integer", "string", "null"}, sizePattern
	}
	scalar["description"] = o.Doc
	return scalar
}

// sizePattern is what a Size that is text looks like.
const sizePattern = `^[0-9]+ *([KMGT]iB)?$`

func schemaOf(t reflect.Type, enum string) map[string]any {
	textual := reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch {
	case enum != "":
		return map[string]any{"enum": strings.Split(enum, ",")}
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^0$`}
	case t == reflect.TypeFor[Size]():
		return map[string]any{"type": []string{"integer", "string"}, "pattern": sizePattern, "minimum": 0}
	case textual:
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), "")
	case reflect.Struct:
		properties := map[string]any{}
		known, _ := strictyaml.Fields(t)
		for name, i := range known {
			f := t.Field(i)
			s := schemaOf(f.Type, f.Tag.Get("enum"))
			s["description"] = f.Tag.Get("doc")
			properties[name] = s
		}
		return map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	case reflect.Slice:
		items := schemaOf(t.Elem(), "")
		if t.Elem().Kind() == reflect.Struct {
			items["type"] = "object" // an entry has to be something
		}
		list := map[string]any{"type": "array", "items": items, "maxItems": strictyaml.MaxList}
		if t.Elem().Kind() == reflect.String { // one without brackets
			return map[string]any{"anyOf": []any{list, items}}
		}
		return list
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), "")}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "string"}
}

// Reference returns the keys as Markdown tables: those of the file, then the
// options.
func Reference(options []Option) string {
	var b strings.Builder
	b.WriteString("| key | value | meaning |\n|---|---|---|\n")
	reference(&b, reflect.TypeFor[File](), "")
	b.WriteString("\n| option | meaning |\n|---|---|\n")
	for _, o := range options {
		fmt.Fprintf(&b, "| `%s` | %s |\n", o.Key, cell(o.Doc))
	}
	return b.String()
}

// cell is text in a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func reference(b *strings.Builder, t reflect.Type, at string) {
	known, names := strictyaml.Fields(t)
	for _, name := range names {
		f := t.Field(known[name])
		key := name
		if at != "" {
			key = at + "." + name
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, kindOf(f.Type, f.Tag.Get("enum")), cell(f.Tag.Get("doc")))
		inner := f.Type
		if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			inner, key = inner.Elem(), key+"[]"
		}
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			reference(b, inner, key)
		}
	}
}

// kindOf is how a value is written, for people.
func kindOf(t reflect.Type, enum string) string {
	switch {
	case enum != "":
		return "`" + strings.ReplaceAll(enum, ",", "`, `") + "`"
	case t == reflect.TypeFor[time.Duration]():
		return "time"
	case t == reflect.TypeFor[Size]():
		return "size"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Struct, reflect.Pointer, reflect.Map:
		return "keys"
	case reflect.Bool:
		return "`true`, `false`"
	case reflect.Int:
		return "number"
	}
	return "text"
}

// Show returns a file that says what settings and f say, but for secrets, which
// it hides.
func Show(settings []Setting, options []Option, f *File) ([]byte, error) {
	isList := map[string]bool{}
	for _, o := range options {
		isList[o.Key] = o.List
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	text := func(s string) *yaml.Node {
		n := new(yaml.Node)
		n.SetString(s)
		switch n.Style {
		case 0:
			n.Tag = "" // plain where that reads as the same
		case yaml.LiteralStyle:
			n.Style = yaml.DoubleQuotedStyle
		}
		return n
	}
	for _, s := range settings {
		value := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, v := range s.Values {
			value.Content = append(value.Content, text(v))
		}
		if !isList[s.Key] {
			value = value.Content[0]
		}
		root.Content = append(root.Content, text(s.Key), value)
	}
	// In flow style the library escapes the line breaks of texts. As blocks it writes some
	// that it can't read.
	var own yaml.Node
	if err := own.Encode(struct {
		File *File `yaml:",flow"`
	}{f}); err != nil {
		return nil, err
	}
	file := own.Content[1]
	inBlocks(file)
	root.Content = append(root.Content, file.Content...)
	return yaml.Marshal(root)
}

// inBlocks takes the flow style from n and all in it.
func inBlocks(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
	for _, inner := range n.Content {
		inBlocks(inner)
	}
}
