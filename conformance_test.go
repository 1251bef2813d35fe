package capstan

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// conformanceCases is how many cases docs/conformance.md has.
const conformanceCases = 142

var (
	conformanceRow = regexp.MustCompile(`(?m)^\| (\d+) \|.*\| ([^|]*) \|$`)
	backquoted     = regexp.MustCompile("`([^`]+)`")
	caseName       = regexp.MustCompile(`^(?:C(\d{3}) |TestCase(\d{3})[A-Z])`)
)

// TestConformanceIndex holds docs/conformance.md and the tests against each
// other: each case has a row, each row names the packages with a subtest
// "C<number> …" or a test TestCase<number>…, and each such test is in its row.
func TestConformanceIndex(t *testing.T) {
	text, err := os.ReadFile("docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := namedCases(t)
	rows := conformanceRow.FindAllStringSubmatch(string(text), -1)
	if len(rows) != conformanceCases {
		t.Errorf("%d rows, want %d", len(rows), conformanceCases)
	}
	for i, row := range rows {
		number := i + 1
		if row[1] != strconv.Itoa(number) {
			t.Fatalf("row %d is about case %s", number, row[1])
		}
		var packages []string
		for _, m := range backquoted.FindAllStringSubmatch(row[2], -1) {
			packages = append(packages, m[1])
		}
		slices.Sort(packages)
		if len(packages) == 0 {
			t.Errorf("case %d has no test", number)
		}
		if !slices.Equal(packages, tests[number]) {
			t.Errorf("case %d: the index says %v, subtests are in %v", number, packages, tests[number])
		}
		delete(tests, number)
	}
	if len(tests) > 0 {
		t.Errorf("subtests of cases that have no row: %v", tests)
	}
}

// namedCases finds, for each case, the packages that have a subtest of it.
func namedCases(t *testing.T) map[int][]string {
	t.Helper()
	found := map[int][]string{}
	testFiles(t, func(path string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if m := caseName.FindStringSubmatch(testName(n)); m != nil {
				number, _ := strconv.Atoi(m[1] + m[2]) // digits, by the expression
				if dir := filepath.ToSlash(filepath.Dir(path)); !slices.Contains(found[number], dir) {
					found[number] = append(found[number], dir)
				}
			}
			return true
		})
	})
	for _, packages := range found {
		slices.Sort(packages)
	}
	return found
}

// testName returns what may be the name of a test: a function's or a string.
func testName(n ast.Node) string {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return n.Name.Name
	case *ast.BasicLit:
		if n.Kind == token.STRING {
			name, _ := strconv.Unquote(n.Value) // the parser has checked it
			return name
		}
	}
	return ""
}

// testFiles calls f for each test file of the repository.
func testFiles(t *testing.T, f func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		f(path, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
