// Package values reads the comments of a chart's values.yaml: what they say of
// each key becomes the table of the chart's README and its values.schema.json.
//
// A comment above a key that begins with "--" is its text. A line that begins
// with "@schema" is JSON (Schema of draft 7) about its value, in addition to
// what the default tells; one with "@schema-file" names a file of such.
package values

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Value is one key that may be set.
type Value struct {
	Path    string // such as relay.tls.source
	Default string // JSON
	Text    string
}

// File is a values.yaml.
type File struct {
	Values []Value // in the file's order
	Schema map[string]any

	dir string // that names of schemas' files begin at
}

// Read reads a values.yaml. Every key that isn't a group of others needs a
// text.
func Read(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(data, filepath.Dir(path))
}

func parse(data []byte, dir string) (*File, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("values: not a mapping")
	}
	f := &File{dir: dir}
	properties, err := f.group(document.Content[0], "")
	if err != nil {
		return nil, err
	}
	properties["global"] = map[string]any{"type": "object"} // Helm's, for charts within charts
	f.Schema = map[string]any{
		"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
		"properties": properties, "additionalProperties": false,
	}
	return f, nil
}

// group returns the properties of a mapping.
func (f *File) group(n *yaml.Node, prefix string) (map[string]any, error) {
	properties := make(map[string]any)
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := prefix + key.Value
		property, err := f.property(key, value, path)
		if err != nil {
			return nil, fmt.Errorf("values: line %d: %s: %w", key.Line, path, err)
		}
		properties[key.Value] = property
	}
	return properties, nil
}

func (f *File) property(key, value *yaml.Node, path string) (map[string]any, error) {
	text, schema, err := f.comment(key.HeadComment)
	if err != nil {
		return nil, err
	}
	if text == "" { // a group
		if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
			return nil, fmt.Errorf("no comment that begins with --")
		}
		properties, err := f.group(value, path+".")
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}, err
	}
	var decoded any
	if err := value.Decode(&decoded); err != nil {
		return nil, err
	}
	def, err := json.Marshal(decoded)
	if err != nil {
		return nil, err
	}
	f.Values = append(f.Values, Value{path, string(def), text})
	property := map[string]any{"type": jsonType(decoded), "description": text}
	maps.Copy(property, schema)
	return property, nil
}

// comment takes a comment apart.
func (f *File) comment(head string) (text string, schema map[string]any, err error) {
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		directive, rest, _ := strings.Cut(line, " ")
		switch directive {
		case "@schema":
			err = json.Unmarshal([]byte(rest), &schema)
		case "@schema-file":
			schema, err = f.schemaFile(rest)
		case "--":
			text = rest
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", directive, err)
		}
	}
	return text, schema, nil
}

// schemaFile reads a schema as a part of another one.
func (f *File) schemaFile(name string) (schema map[string]any, err error) {
	data, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(data, &schema)
	for _, key := range []string{"$schema", "title", "description"} { // of a whole
		delete(schema, key)
	}
	return schema, err
}

// jsonType is the name that JSON Schema has for a value's type.
func jsonType(v any) string {
	switch v.(type) {
	case bool:
		return "boolean"
	case int, int64:
		return "integer"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	default:
		return "object"
	}
}

// Table is the values as a table in Markdown.
func (f *File) Table() string {
	var s strings.Builder
	s.WriteString("| value | default | |\n|---|---|---|\n")
	cell := strings.NewReplacer("|", `\|`, "*", `\*`)
	for _, v := range f.Values {
		fmt.Fprintf(&s, "| `%s` | `%s` | %s |\n", v.Path, strings.ReplaceAll(v.Default, "|", `\|`), cell.Replace(v.Text))
	}
	return s.String()
}

// SchemaJSON is the schema as a file.
func (f *File) SchemaJSON() ([]byte, error) {
	text, err := json.MarshalIndent(f.Schema, "", "  ")
	return append(text, '\n'), err
}
