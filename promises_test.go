package capstan

import (
	"os"
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
