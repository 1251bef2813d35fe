package capstan

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var backquotedTest = regexp.MustCompile("`(Test\\w+)`")

// TestPromisesAreKept holds that each promise of the security page names a test
// that keeps it, and that there are all tests it names.
func TestPromisesAreKept(t *testing.T) {
	text, err := os.ReadFile("manifests/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testFunctions(t)
	for _, m := range backquotedTest.FindAllStringSubmatch(string(text), -1) {
		if !tests[m[1]] {
			t.Errorf("there is no test %s", m[1])
		}
	}
	promises, inTable := 0, false
	for line := range strings.Lines(string(text)) {
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case strings.HasPrefix(line, "| promise |"):
			inTable = true
		case inTable && !strings.HasPrefix(line, "|--"):
			promises++
			if !backquotedTest.MatchString(line) {
				t.Errorf("no test keeps: %s", line)
			}
		}
	}
	if promises < 10 {
		t.Errorf("%d promises were found", promises)
	}
}

// TestChartKnowsConfiguration holds that the chart checks interceptor.config by
// the schema that the interceptor's file has now.
func TestChartKnowsConfiguration(t *testing.T) {
	var file struct{ Properties map[string]any }
	var values struct {
		Properties struct {
			Interceptor struct {
				Properties struct {
					Config struct{ Properties map[string]any }
				}
			}
		}
	}
	for path, into := range map[string]any{"docs/config.schema.json": &file, "manifests/charts/capstan/values.schema.json": &values} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if len(file.Properties) == 0 || !reflect.DeepEqual(file.Properties, values.Properties.Interceptor.Properties.Config.Properties) {
		t.Error("the chart's schema is not current: make chart")
	}
}
