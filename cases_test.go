package capstan

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// caseRooms are the rooms whose tests hold the numbered cases of the catalogue
// of reassembly and HTTP: what passive observers get wrong. A case is held by a
// function TestCaseNN… or by an entry of a table of tests whose name starts with
// its number.
var caseRooms = []struct {
	first, last int
	about       string
	dirs        []string // tests in any of them count
	owed        map[int]string
}{
	{1, 50, "TCP", []string{"pkg/packet", "pkg/defrag", "pkg/reassembly", "interceptor/internal/engine"}, nil},
	{51, 72, "HTTP/1, WebSocket", []string{"interceptor/internal/l7/http1", "interceptor/internal/content"}, nil},
	{73, 88, "HTTP/2, gRPC", []string{"interceptor/internal/l7/http2", "interceptor/internal/l7/grpc", "interceptor/internal/l7/hpack", "interceptor/internal/engine"}, nil},
}

// TestEveryCaseIsTested fails where the test of a numbered case is missing, and
// where one that is owed has come: then its line goes.
func TestEveryCaseIsTested(t *testing.T) {
	next := 1
	for _, r := range caseRooms {
		if r.first != next {
			t.Errorf("cases %d to %d are in no room", next, r.first-1)
		}
		next = r.last + 1
		held := heldCases(t, r.dirs)
		for n := r.first; n <= r.last; n++ {
			what, owed := r.owed[n]
			switch {
			case owed && held[n]:
				t.Errorf("case %d (%s) is tested now: take it off the list of those owed", n, what)
			case owed:
				t.Logf("case %d (%s: %s) is owed", n, r.about, what)
			case !held[n]:
				t.Errorf("case %d (%s) has no test in %s", n, r.about, strings.Join(r.dirs, ", "))
			}
		}
	}
}

// heldCases returns the numbers of the cases that the tests in dirs name.
func heldCases(t *testing.T, dirs []string) map[int]bool {
	t.Helper()
	named := regexp.MustCompile(`(?m)^func TestCase(\d+)|\bname: "(\d+) `)
	held := make(map[int]bool)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range named.FindAllStringSubmatch(string(text), -1) {
				var n int
				if _, err := fmt.Sscanf(m[1]+m[2], "%d", &n); err != nil {
					t.Fatalf("%s: %q", name, m[0])
				}
				held[n] = true
			}
		}
	}
	return held
}
