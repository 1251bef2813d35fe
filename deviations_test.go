package capstan

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	deviationRow     = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*\\| `(Test\\w+)` \\|$")
	deviationComment = regexp.MustCompile(`//.*[^"]Deviation:`) // in quotes it is a mention
)

// TestDeviationsAreListed holds the comments that start with "Deviation:",
// docs/deviations.md and the tests it names against each other.
func TestDeviationsAreListed(t *testing.T) {
	text, err := os.ReadFile("docs/deviations.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testFunctions(t)
	listed := map[string]int{}
	for _, row := range deviationRow.FindAllStringSubmatch(string(text), -1) {
		listed[row[1]]++
		if !tests[row[2]] {
			t.Errorf("%s: there is no test %s", row[1], row[2])
		}
	}
	found := deviations(t)
	for path, n := range found {
		if listed[path] != n {
			t.Errorf("%s has %d deviations, docs/deviations.md lists %d", path, n, listed[path])
		}
	}
	for path := range listed {
		if found[path] == 0 {
			t.Errorf("docs/deviations.md lists %s, which has none", path)
		}
	}
}

// testFunctions returns the names of the functions in test files.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	testFiles(t, func(_ string, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				names[fn.Name.Name] = true
			}
		}
	})
	return names
}

// deviations counts the comments in the code, by file.
func deviations(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		if n := len(deviationComment.FindAll(code, -1)); n > 0 {
			found[filepath.ToSlash(path)] = n
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
