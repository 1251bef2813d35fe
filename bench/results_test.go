//go:build linux

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"capstan/bench/internal/report"
)

// TestResultsAreOfOneSession holds the files of the baseline and README's
// section together: all are made from the same JSON.
func TestResultsAreOfOneSession(t *testing.T) {
	const baseline, readme = "results/baseline.json", "../README.md"
	r, err := report.LoadFile(baseline)
	if err != nil {
		t.Fatal(err)
	}
	if err := updateSection(r, readme, baseline, true); err != nil {
		t.Error(err)
	}
	// No directory of the machine that it was measured on.
	private := regexp.MustCompile(`/(home|mnt|opt|private|root|srv|tmp|usr|var|work)/`)
	for name, format := range map[string]report.Format{
		"results/baseline.md": report.Markdown, "results/baseline.txt": report.Benchstat, baseline: report.JSON,
	} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := r.Write(&b, format); err != nil {
			t.Fatal(err)
		}
		if b.String() != string(data) {
			t.Errorf("%s is not what %s says: run bench report --format %s %s > %s", name, baseline, format, baseline, name)
		}
		if found := private.FindString(string(data)); found != "" {
			t.Errorf("%s names a directory of a machine: …%s…", name, found)
		}
	}
}
