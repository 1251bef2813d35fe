package capstan

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestLimitsOfDaemon holds the rows of docs/limits.md about rpcapd to its usage text and its
// metrics: what is bounded there has a row with its default, and what a row names is served.
func TestLimitsOfDaemon(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	limits, served := read("docs/limits.md"), read("docs/metrics.md")
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(--[a-z-]+)` \\| ([0-9]+)").FindAllStringSubmatch(limits, -1) {
		rows[m[1]] = m[2]
	}
	usage := regexp.MustCompile(`(?m)^ +(--(?:max-[a-z-]+|ring-size)) [A-Z]`)
	text := read("rpcapd/internal/config/usage.go")
	for _, m := range usage.FindAllStringSubmatchIndex(text, -1) {
		option := text[m[2]:m[3]]
		initial := regexp.MustCompile(`\(default: ([0-9]+)\)`).FindStringSubmatch(text[m[3]:])[1]
		if rows[option] != initial {
			t.Errorf("%s has the default %s, its row %q", option, initial, rows[option])
		}
		delete(rows, option)
	}
	for option := range rows {
		t.Errorf("%s has a row, and is no option", option)
	}
	named := regexp.MustCompile("`(rpcapd_\\w+)(?:\\{\\w+=\"(\\w+)\"\\})?`").FindAllStringSubmatch(limits, -1)
	if len(named) == 0 {
		t.Error("no metric is named")
	}
	for _, m := range named {
		_, row, ok := strings.Cut(served, "| `"+m[1]+"` |")
		row, _, _ = strings.Cut(row, "\n")
		if !ok || m[2] != "" && !strings.Contains(row, "`"+m[2]+"`") {
			t.Errorf("%s is not served", m[0])
		}
	}
}
