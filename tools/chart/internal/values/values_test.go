package values

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "part.json"), []byte(`{"$schema": "x", "title": "y", "additionalProperties": false}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := parse([]byte(`
# Words about the file.

# -- A name.
name: x
group:
  # -- How many.
  # @schema {"minimum": 1}
  count: 3
  # -- Anything.
  # @schema-file part.json
  #
  # Such as
  #   free: {a: b}
  free: {}
`), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := "| value | default | |\n|---|---|---|\n| `name` | `\"x\"` | A name. |\n| `group.count` | `3` | How many. |\n| `group.free` | `{}` | Anything. |\n"
	if got := f.Table(); got != want {
		t.Errorf("table:\n%s", got)
	}
	schema, err := f.SchemaJSON()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		AdditionalProperties bool
		Properties           struct {
			Name  struct{ Type string }
			Group struct {
				AdditionalProperties *bool
				Properties           struct {
					Count struct {
						Type    string
						Minimum int
					}
					Free map[string]any
				}
			}
		}
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	g := s.Properties.Group
	if s.AdditionalProperties || s.Properties.Name.Type != "string" || g.AdditionalProperties == nil || *g.AdditionalProperties ||
		g.Properties.Count.Type != "integer" || g.Properties.Count.Minimum != 1 {
		t.Errorf("schema: %s", schema)
	}
	if want := map[string]any{"type": "object", "description": "Anything.", "additionalProperties": false}; !reflect.DeepEqual(g.Properties.Free, want) {
		t.Errorf("schema of a file: %v", g.Properties.Free)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"a: 1\n":                            "line 1: a: no comment",
		"# -- A.\n# @schema {\na: 1\n":      "@schema",
		"# -- A.\n# @schema-file b\na: 1\n": "@schema-file: open b",
		"- a\n":                             "not a mapping",
		"g:\n  # -- B.\n  b: 1\n  c: 2\n":   "g.c: no comment",
		"a: [\n":                            "yaml",
	} {
		if _, err := parse([]byte(text), ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
